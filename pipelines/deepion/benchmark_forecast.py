"""How long a benchmark takes, told before it runs: cells that are done by what they took, others by those like them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ms2img.deepion.benchmark.labelled import Labelled
from ms2img.learn.reporter import Silent
from pipelines.command import Output
from pipelines.deepion.benchmark_cells import Cell, Plan, plan
from pipelines.deepion.benchmark_job import read_cell

if TYPE_CHECKING:
    from ms2img.deepion.augment import Views
    from ms2img.deepion.benchmark.networks import Network
    from pipelines.deepion.benchmark import BenchmarkConfig

#: Seconds of a cell that nothing is known of, beside its training: UMAP and the slowest of the similarities take about
#: as long (ours: 600 images of 64x64 on one core).
ASSUMED = 20.0


def forecast(config: BenchmarkConfig, data: Sequence[Labelled]) -> pd.DataFrame:
    """A row a cell: whether it is done, its seconds, and where these come from.

    Nothing is kept. A training that no cell tells of is measured by a batch of each network.
    """
    cells = plan(config, data)
    done = {task.name: found.seconds for task in cells.tasks if (found := read_cell(cells, task)) and not found.failure}
    measured: dict[str, tuple[float, str]] = {}
    rows = []
    for task, cell in zip(cells.tasks, cells.cells, strict=True):
        if task.name in done:
            seconds, source = done[task.name], "measured"
        else:
            kind = f"{cell.method} {cell.mode}"
            if kind not in measured:
                measured[kind] = _expected(config, cells, cell, task.name, done)
            seconds, source = measured[kind]
        told = {"cell": cell.name, "method": cell.method, "mode": cell.mode, "data": cell.data}
        rows.append({**told, "done": task.name in done, "seconds": round(seconds, 1), "from": source})
    return pd.DataFrame(rows)


def show_forecast(expected: pd.DataFrame, config: BenchmarkConfig, output: Output) -> None:
    """A line a method of what is to be done, and their sum."""
    waiting = expected[~expected["done"]]
    for (method, mode, source), rows in waiting.groupby(["method", "mode", "from"], sort=False):
        name = f"{method} ({mode})" if method == "deepion" else method
        output.say(f"  {name}: {len(rows)} x {rows['seconds'].mean():.0f} s ({source})")
    output.say(
        f"{len(expected)} cells, {len(waiting)} to do: {waiting['seconds'].sum() / 3600:.2f} h of one worker with "
        f"{config.cpus_per_worker} CPU"
    )


def _expected(config: BenchmarkConfig, cells: Plan, cell: Cell, task: str, done: dict[str, float]) -> tuple[float, str]:
    """Seconds of a cell that is not done, and why so many."""
    like = [seconds for name, seconds in done.items() if _alike(cells.work.cells[name], cell)]
    if like:
        return statistics.fmean(like), "cells like it"
    network = cells.work.networks.get(task)
    if network is None or network.views is None:
        return ASSUMED, "assumed"
    seconds = network.fit.epochs * _epoch_seconds(network, network.views, cells.work.ions[cell.data].images)
    budget = config.max_seconds()
    if budget is not None and budget < seconds:
        return budget + ASSUMED, "the budget"
    return seconds + ASSUMED, "one batch, measured"


def _alike(one: Cell, other: Cell) -> bool:
    return (one.method, one.mode) == (other.method, other.mode)


class _Stopwatch(Silent):
    """Measures the last epoch."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ended = time.perf_counter()

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        now = time.perf_counter()
        self.seconds, self._ended = now - self._ended, now


def _epoch_seconds(network: Network, views: Views, images: np.ndarray) -> float:
    """An epoch over all images, by one over a batch of them: the second of two, for the first warms up."""
    from ms2img.deepion.training import train_encoder

    batch = images[: network.fit.batch_size]
    watch = _Stopwatch()
    train_encoder(batch, views, network.model, replace(network.fit, epochs=2, warmup=0), watch)
    return watch.seconds * len(images) / len(batch)
