"""Configuration is closed: nothing unknown is accepted, and every refusal says what would be right."""

from __future__ import annotations

import pytest
from pydantic import Field

from ms2img.config import Config, load_yaml
from ms2img.errors import UsageError


class Oven(Config):
    temperature: float = Field(180.0, gt=0)
    fan_speed: int = 3


def test_command_line_wins_over_yaml_wins_over_default(tmp_path):
    (tmp_path / "oven.yaml").write_text("temperature: 200\nfan-speed: 5\n")
    assert Oven.resolve({}) == Oven(temperature=180, fan_speed=3)
    assert Oven.resolve({}, tmp_path / "oven.yaml") == Oven(temperature=200, fan_speed=5)
    assert Oven.resolve({"temperature": 220.0}, tmp_path / "oven.yaml") == Oven(temperature=220, fan_speed=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("temprature: 200", r"oven\.yaml: unknown key 'temprature'; did you mean 'temperature'\?"),
        ("temperature: hot", r"oven\.yaml: temperature: .*number.*; got 'hot'"),
        ("temperature: -4", r"oven\.yaml: temperature: .*greater than 0; got -4"),
        ("- a\n- b", r"oven\.yaml: expected 'option: value' lines, found a list"),
        ("temperature: [1", r"oven\.yaml, line \d+: not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", r"oven\.yaml, line 1: not valid YAML"),
    ],
)
def test_yaml_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "oven.yaml").write_text(text)
    with pytest.raises(UsageError, match=message) as refusal:
        Oven.resolve({}, tmp_path / "oven.yaml")
    assert "\n" not in str(refusal.value)


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(UsageError, match="absent.yaml: cannot read"):
        load_yaml(tmp_path / "absent.yaml")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(UsageError, match="byte 3"):
        load_yaml(tmp_path / "b.yaml")


def test_fingerprint_follows_values_only():
    assert Oven().fingerprint() == Oven(fan_speed=3, temperature=180.0).fingerprint()
    assert Oven().fingerprint() != Oven(fan_speed=4).fingerprint()
