"""Damaged files of every kind: a sound table or a named refusal comes out, whatever the damage (`fuzz.contract`)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzz.contract
from fuzz.contract import BrokenContractError, check_spectra, outcomes
from fuzz.mutate import mutate
from fuzz.seeds import SEEDS
from ms2img.errors import Code, RunError
from ms2img.io.read import RunSpectra
from ms2img.io.schema import SPECTRA

ROOT = Path(__file__).resolve().parent.parent
REGRESSIONS = sorted((ROOT / "tests" / "hostile").iterdir())
OTHERS = [content for inputs in SEEDS.values() for content in inputs]
MINIATURE = 300  # inputs a reader

SLOW = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.name)
def test_what_once_broke_a_reader(tmp_path: Path, path: Path) -> None:
    reader = path.name.partition("--")[0]
    assert outcomes(reader, path.read_bytes(), tmp_path)


@pytest.mark.parametrize("reader", SEEDS)
def test_the_seeds_are_sound(tmp_path: Path, reader: str) -> None:
    for content in SEEDS[reader]:
        found = set(outcomes(reader, content, tmp_path))
        assert found & {"table", "sheet", "no-column"}
        assert not found & set(Code) - {"no-column"}


@pytest.mark.parametrize("reader", SEEDS)
def test_a_miniature_of_the_fuzzing(tmp_path: Path, reader: str) -> None:
    """Always the same damage, so that a failure can be repeated; the counts show that it reaches behind the parsers."""
    found: Counter[str] = Counter()
    for number in range(MINIATURE):
        rng = random.Random(number)  # noqa: S311 (not for secrets)
        found.update(outcomes(reader, mutate(rng.choice(SEEDS[reader]), rng, OTHERS), tmp_path))
    assert found["sheet" if reader.startswith("sheet") else "table"] >= MINIATURE // 30
    assert len(found) >= (2 if reader.startswith("sheet") else 5)


@pytest.mark.parametrize("reader", SEEDS)
@SLOW
@given(rng=st.randoms(use_true_random=False), number=st.integers(0, 1))
def test_any_damage(tmp_path: Path, reader: str, rng: random.Random, number: int) -> None:
    assert outcomes(reader, mutate(SEEDS[reader][number % len(SEEDS[reader])], rng, OTHERS), tmp_path)


@pytest.mark.parametrize("reader", SEEDS)
@SLOW
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, reader: str, content: bytes) -> None:
    assert outcomes(reader, content, tmp_path)


ROW = {
    "sample_id": "a", "spectrum_id": "1", "precursor_mz": 100.0, "precursor_intensity": None, "rt_seconds": 1.0,
    "charge": 1, "adduct": None, "polarity": "positive", "collision_energy": None, "mz": [50.0], "intensity": [1.0],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"sample_id": "b"}, {"precursor_mz": float("nan")}, {"precursor_mz": 0.0}, {"precursor_intensity": -1.0},
        {"rt_seconds": float("inf")}, {"charge": 0}, {"polarity": "both"}, {"mz": [float("nan")]}, {"mz": [-1.0]},
        {"mz": [1.0, 2.0]}, {"intensity": [float("inf")]},
    ],
)  # fmt: skip
def test_the_contract_sees_a_bad_table(change: dict[str, object]) -> None:
    check_spectra(pa.Table.from_pylist([ROW], SPECTRA), "a")
    with pytest.raises(BrokenContractError):
        check_spectra(pa.Table.from_pylist([{**ROW, **change}], SPECTRA), "a")


def test_the_contract_sees_a_bad_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "run")
    for answer in (
        RunError(Code.INTERNAL, "a defect", path=path),
        RunError(Code.BAD_VALUE, "", path=path),
        RunError(Code.BAD_VALUE, "of another file", path="/elsewhere"),
        RunSpectra(pa.Table.from_pylist([], SPECTRA), "own"),
        None,
    ):
        pairs = [] if answer is None else [answer]
        monkeypatch.setattr(
            fuzz.contract, "read_runs", lambda runs, pairs=pairs: ((run, answer) for run in runs for answer in pairs)
        )
        with pytest.raises(BrokenContractError):
            outcomes("mgf", b"x", tmp_path)


def test_the_fuzzer_counts_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz.readers", "--reader", "mgf", "--runs", "200", "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    first, last = ended.stdout.splitlines()
    report = json.loads(first)
    assert (report["reader"], report["inputs"], report["failure"]) == ("mgf", 200, "")
    assert report["outcomes"]["table"] > 0
    assert report["edges"] > 200
    assert last.startswith("200 inputs, 0 readers failed")


def test_the_fuzzer_keeps_what_breaks_a_reader(tmp_path: Path) -> None:
    """With a contract that no table meets the first sound file is a failure."""
    script = (
        "import sys, fuzz.contract, fuzz.readers\n"
        "fuzz.contract.SPECTRA = None\n"
        "sys.exit(fuzz.readers.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "--child", "mgf", "--runs", "50", "--out", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    kept = [path.read_bytes() for path in tmp_path.glob("crash-*")]
    assert len(kept) == 1
    assert outcomes("mgf", kept[0], tmp_path) == ["table"]
