"""No secret stands in a tracked file, as far as detect-secrets can see; what was looked at is in .secrets.baseline."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from detect_secrets import SecretsCollection
from detect_secrets.core import baseline
from detect_secrets.settings import default_settings

ROOT = Path(__file__).parent.parent
BASELINE = ".secrets.baseline"
NOT_TEXT = (".png", ".npz")


def scan(names: list[str]) -> SecretsCollection:
    """What looks like a secret in these files, nothing asked of any server."""
    found = SecretsCollection()
    with default_settings():
        for name in names:
            found.scan_file(name)
    return found


def test_nothing_looks_like_a_secret_that_was_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    names = [name for name in tracked if not name.endswith(NOT_TEXT) and name != BASELINE and os.path.isfile(name)]  # noqa: PTH113
    assert len(names) > 500
    known = baseline.load(json.loads(Path(BASELINE).read_text(encoding="utf-8")), BASELINE)
    assert [str(secret) for _, secret in scan(names) - known] == []


def test_a_planted_key_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.py").write_text("key = '" + "AKIA" + "Q4JZ7P2X5V3N8W6T" + "'\n")
    assert {secret.type for _, secret in scan(["settings.py"])} == {"AWS Access Key"}
