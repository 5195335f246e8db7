"""The work of ``ms2img deepion benchmark``: cells that are missing, on Ray; then scores, tables, figures, a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import ms2img
from ms2img.deepion.benchmark.labelled import Labelled
from ms2img.deepion.structure import WINDOW
from ms2img.errors import JobError, UsageError
from ms2img.io.storage import Folder, folder, join
from pipelines.deepion.benchmark_cells import CELLS, DONE, Cell, Plan, plan
from pipelines.deepion.benchmark_figures import curves, pair_curves, score_bars
from pipelines.deepion.benchmark_pairs import pair_table
from pipelines.deepion.benchmark_tables import difference_table, scored, summary_table
from pipelines.json_rows import plain_rows
from pipelines.progress import Steps
from pipelines.seeds.work import SeedResult, SeedTask, read_result

if TYPE_CHECKING:
    from pipelines.deepion.benchmark import BenchmarkConfig

RECORD_NAME = "benchmark.json"
FORMAT = "ms2img deepion benchmark 1"


@dataclass(frozen=True, eq=False)
class CellResult:
    """What a finished cell left: by space what the method made of all ion images, its history, seconds in all.

    failure: why there is none, for good.
    """

    cell: Cell
    spaces: Mapping[str, np.ndarray]
    history: list[dict[str, float]]
    train_seconds: float
    seconds: float
    failure: str

    def to_dict(self) -> dict[str, Any]:
        """What is told of it."""
        last = self.history[-1] if self.history else {}
        return {
            "cell": self.cell.name,
            "epochs": len(self.history),
            **{name: last.get(name) for name in ("train_loss", "embedding_spread")},
            "train_seconds": round(self.train_seconds, 1),
            "seconds": self.seconds,
            "failure": self.failure,
        }


@dataclass(frozen=True, eq=False)
class Benchmark:
    """All that was found; `data` says of each set what was scored and what was left out."""

    summary: pd.DataFrame
    differences: pd.DataFrame
    pairs: pd.DataFrame
    data: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    failures: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        tables = {name: plain_rows(getattr(self, name)) for name in ("summary", "differences", "pairs")}
        return {"data": self.data, **tables, "cells": self.cells, "failures": self.failures}


def benchmark(config: BenchmarkConfig, data: Sequence[Labelled], *, quiet: bool) -> Benchmark:
    """Do what is missing, score everything that is asked for, and write ``config.out``.

    Raises `UsageError` before any work for weights that do not fit, images too small for a method, a `top` too large;
    `JobError` when the job cannot go on (the same command goes on from the finished cells) or every network has failed.
    """
    out = folder(config.out)
    for each in data:
        _require_enough(config, each)
    cells = plan(config, data)
    do_missing(config, cells, quiet=quiet)
    results = [result for task in cells.tasks if (result := read_cell(cells, task)) is not None]
    if all(result.failure for result in results if result.cell.mode == "col"):  # ISO has no score of its own
        raise JobError(f"no method gave anything to score; {results[0].cell.name}: {results[0].failure}")
    found = _assembled(config, data, results)
    _write(out, config, found)
    return found


def read_cell(cells: Plan, task: SeedTask) -> CellResult | None:
    """What a cell left; None of one that is not done."""
    kept = read_result(task, SeedResult)
    if kept is None:
        return None
    spaces = {name: values.numpy() for name, values in kept.weights.items()}
    told = kept.measured
    return CellResult(
        cells.work.cells[task.name], spaces, kept.history, kept.seconds, told["cell_seconds"], told["failure"]
    )


def do_missing(config: BenchmarkConfig, cells: Plan, *, quiet: bool) -> None:
    """The cells that are not done yet, on Ray's workers: what needs no training first."""
    out = folder(join(config.out, CELLS))
    there = set(out.names())
    missing = [task for task in cells.tasks if not {f"{task.name}.json", f"{task.name}.safetensors"} <= there]
    if not missing:
        return
    from cluster.connect import connected
    from pipelines.seeds.on_ray import SeedResources, train_seeds

    with (
        connected(writes=[config.out]),
        Steps(len(missing), "benchmark", quiet=quiet) as progress,
    ):

        def on_epoch(seed: int, row: Mapping[str, float]) -> None:
            if DONE in row:
                progress.advance()
            else:
                progress.advance(0, note=f"(seed {seed}: epoch {row['epoch']:.0f}, loss {row['train_loss']:.3f})")

        trained = [task for task in missing if task.name in cells.work.networks]
        others = [task for task in missing if task.name not in cells.work.networks]
        for tasks, resources in ((others, SeedResources()), (trained, config.resources())):
            if tasks:
                train_seeds(cells.work, tasks, resources, on_epoch)


def _assembled(config: BenchmarkConfig, data: Sequence[Labelled], results: Sequence[CellResult]) -> Benchmark:
    scores = scored(data, results, top=config.top, weights=bool(config.weights))
    return Benchmark(
        summary=summary_table(scores, top=config.top),
        differences=difference_table(scores),
        pairs=pair_table(data, results, ppm=config.ppm) if config.isotopes else pd.DataFrame(),
        data=[_told(each) for each in data],
        cells=[each.to_dict() for each in results],
        failures={each.cell.name: each.failure for each in results if each.failure},
    )


def _told(data: Labelled) -> dict[str, Any]:
    ions = data.ions
    return {
        "name": data.name,
        "simulated": ions.is_simulated,
        "difficulty": data.difficulty,
        "images": ions.fingerprint,
        "shape": list(ions.mask.shape),
        "classes": data.n_classes,
        "missing": round(1 - float(ions.presence[data.rows].mean()), 4),
        **data.counts,
    }


def _write(out: Folder, config: BenchmarkConfig, found: Benchmark) -> None:
    """Tables and figures, and last the record."""
    for name, table in (("table", found.summary), ("differences", found.differences), ("pairs", found.pairs)):
        if len(table):
            out.write(f"{name}.csv", table.to_csv(index=False).encode())
    for each in found.data:
        rows = found.summary[found.summary["data"] == each["name"]]
        if len(rows):
            out.write(f"scores-{each['name']}.png", score_bars(rows, simulated=each["simulated"]))
    if len(set(found.summary["difficulty"].dropna())) > 1:
        out.write("curves.png", curves(found.summary))
        if len(found.pairs):
            out.write("pairs.png", pair_curves(found.pairs))
    how = {"preset": config.preset, "epochs": config.epochs, "minutes": config.max_minutes, "clock": config.clock}
    record = {
        "format": FORMAT,
        "ms2img_version": ms2img.__version__,
        "settings": {**how, "top": config.top, "ppm": config.ppm, "seeds": config.seed_numbers()},
        **found.to_dict(),
    }
    out.write(RECORD_NAME, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def _require_enough(config: BenchmarkConfig, data: Labelled) -> None:
    """`UsageError` for ion images that a method or measure cannot be had of."""
    if config.top >= len(data.rows):
        raise UsageError(f"--top {config.top}: {data.name} has {len(data.rows)} scored ions; expected fewer")
    if "ssim" in config.method_names() and min(data.ions.mask.shape) < WINDOW:
        shape = " x ".join(map(str, data.ions.mask.shape))
        raise UsageError(f"--methods ssim: {data.name} has images of {shape}; expected {WINDOW} pixels or more a side")


def require_ours(out: Folder) -> None:
    """`UsageError` for a folder that holds something else than a benchmark."""
    ours = ("images/", f"{CELLS}/", "scores-", "table.csv", "differences.csv", "pairs.", "curves.png", RECORD_NAME)
    if foreign := next((name for name in out.names() if not name.startswith(ours)), None):
        raise UsageError(
            f"{out.location}: not empty and not of a benchmark (it has {foreign}); give OUT another folder"
        )
