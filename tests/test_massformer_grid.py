"""The grid of the MassFormer comparison: which runs there are, and that a miniature of it is resumable. SIMULATED."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from massformer_bundles import library_folder

from bench.massformer_cells import GridFile, Run, chosen, runs_of
from bench.massformer_grid import Grid, forecast, main
from ms2img.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of one model, one split, one cell and two seeds, of which the first is done; its YAML."""
    folder = tmp_path_factory.mktemp("grid")
    grid = {
        "library": str(library_folder(folder / "library", compounds=24)),
        "out": str(folder / "out"),
        "models": ["fp"],
        "splits": ["inchikey"],
        "cells": ["HCD"],
        "seeds": [0, 1],
        "minutes": 0.001,
        "mz_max": 400.0,
        "threads": 1,
        "device": "cpu",
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(grid))
    assert _run(path, "--only", "seed=0") == 0
    return path


def _run(path: Path, *options: str) -> int:
    before, sys.argv = sys.argv, ["massformer_grid", str(path), *options]
    try:
        return main()
    finally:
        sys.argv = before


def test_the_committed_grid_is_the_papers_comparison_and_a_learning_curve() -> None:
    grid = GridFile.resolve({}, ROOT / "bench" / "massformer_grid.yaml")
    runs = runs_of(grid)
    full = [run for run in runs if run.fraction == 1]
    assert len(full) == 4 * 2 * 2 * 5
    assert {run.fraction for run in runs} == {0.1, 0.3, 1.0}
    assert len({run.name for run in runs}) == len(runs)
    assert grid.held_out
    assert len({run.settings(grid).split_seed for run in runs}) == 1  # seeds differ in weights, not in molecules


def test_chosen_runs_have_all_keys_and_any_of_a_keys_values() -> None:
    runs = runs_of(GridFile(library="a", out="b", minutes=1))
    some = chosen(runs, ["model=fp,split=scaffold", "seed=0", "seed=3"])
    assert {(run.model, run.split) for run in some} == {("fp", "scaffold")}
    assert {run.seed for run in some} == {0, 3}
    assert len(some) == 2 * 2
    assert chosen(runs, []) == runs
    with pytest.raises(UsageError, match="model=gnn: there is no such run; expected one of cnn, fp, massformer, wln"):
        chosen(runs, ["model=gnn"])
    with pytest.raises(UsageError, match="keys model, split, cell, fraction, seed"):
        chosen(runs, ["kind=fp"])


def test_a_dry_run_counts_what_is_measured_and_runs_nothing(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = Grid(GridFile.resolve({}, small))
    expected = forecast(grid, runs_of(grid.file)).set_index("run")
    done, waiting = (expected.loc[f"fp_inchikey_HCD_100_seed{seed}"] for seed in (0, 1))
    result = grid.result(Run("fp", "inchikey", "HCD", 1.0, 0))
    assert result is not None
    assert (done["done"], done["seconds"], done["from"]) == (True, result["seconds"], "measured")
    assert (waiting["done"], waiting["seconds"], waiting["from"]) == (False, result["seconds"], "of like runs")
    assert _run(small, "--dry-run") == 0
    assert "2 runs, 1 to do" in capsys.readouterr().out
    assert not (Path(grid.file.out) / "runs" / "fp_inchikey_HCD_100_seed1.json").exists()


def test_tables_say_what_is_not_run(small: Path) -> None:
    assert _run(small, "--tables") == 0
    out = Path(GridFile.resolve({}, small).out)
    text = (out / "tables.md").read_text()
    assert "Not run: fp_inchikey_HCD_100_seed1." in text
    for said in (
        "inchikey split (seed 0), HCD, test part",
        "1 Da bins, log transform",
        "nearest neighbour",
        "| fp | 1 |",
    ):
        assert said in text
    summary = pd.read_csv(out / "summary.csv")
    told = json.loads((out / "runs" / "fp_inchikey_HCD_100_seed0.json").read_text())["result"]["scores"][0]
    row = summary[(summary["source"] == "fp (small)") & (summary["measure"] == "cosine")].iloc[0]
    assert row["mean"] == pytest.approx(sum(told["measures"]["cosine"].values()) / told["n_molecules"])


def test_a_finished_run_is_not_repeated_and_a_changed_grid_repeats_it(small: Path) -> None:
    grid = Grid(GridFile.resolve({}, small))
    ledger = Path(grid.file.out) / "runs" / "fp_inchikey_HCD_100_seed0.json"
    before = ledger.stat().st_mtime_ns
    assert _run(small, "--only", "seed=0") == 0
    assert ledger.stat().st_mtime_ns == before
    longer = Grid(grid.file.model_copy(update={"minutes": 0.002}))
    assert longer.result(Run("fp", "inchikey", "HCD", 1.0, 0)) is None
    ledger.write_text(ledger.read_text()[:50])  # as a disk may leave it
    assert grid.result(Run("fp", "inchikey", "HCD", 1.0, 0)) is None
    assert _run(small, "--only", "seed=0") == 0  # the training is kept; scored again
    assert grid.result(Run("fp", "inchikey", "HCD", 1.0, 0)) is not None


def test_a_wrong_file_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("library: nowhere\nout: out\nminuets: 3\n")
    assert _run(path) == 2
    assert "did you mean 'minutes'?" in capsys.readouterr().err
