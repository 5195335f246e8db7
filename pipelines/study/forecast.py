"""How long a study will take, told before it starts: cells times seconds that were measured on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ms2img.learn.splits import Fold
from ms2img.ms2toimg.baselines.models import make_baseline
from ms2img.ms2toimg.cnn import PRESETS, TRAINING
from ms2img.ms2toimg.labels import Labels
from pipelines.study.cell import preprocessing_of
from pipelines.study.config import StudyFile
from pipelines.study.grid import Cell, cells_of
from pipelines.study.plan import Planner

#: Of a table that is not made yet, and of word counts (ours): what the simulated study of 545 accessions has, about.
ASSUMED_COLUMNS = {"cosine": 1500, "entropy": 1500, "aligned": 2500, "memo": 30_000}
ASSUMED_FILL = {"memo": 0.03}  # share of the columns that a run has
LIT = 0.08  # share of an image's pixels that are not black (ours, of real runs)
PROBE_EPOCHS = 2  # timed


@dataclass(frozen=True)
class Forecast:
    """`seconds` of each cell on one worker; `done` ran, `probed` are by a probe; `slots` run at a time."""

    cells: tuple[Cell, ...]
    seconds: dict[str, float]
    probed: frozenset[str]
    done: frozenset[str]
    slots: int

    @property
    def left(self) -> float:
        """Seconds until all is done, with all slots busy; longest first, so that they end together."""
        waiting = [self.seconds[cell.name] for cell in self.cells if cell.name not in self.done]
        return max(sum(waiting) / self.slots, max(waiting, default=0.0))


def forecast(
    study: StudyFile,
    cells: Sequence[Cell],
    planner: Planner,
    *,
    ran: Mapping[str, float],
    slots: int,
    threads: int,
) -> Forecast:
    """Seconds of every cell: its own where it ran, else those of its like, else those of a probe.

    ran: name -> seconds of cells that are done. A cell's likes have the same rows and model at another seed or assay;
    a probe trains the model once on random rows of the same shape: a fold of a baseline, an epoch of a network.
    """
    grid = cells_of(study)
    labels = {name: planner.all_labels(name) for name in dict.fromkeys(cell.task for cell in grid)}
    of_like: dict[tuple[Any, ...], list[float]] = {}
    for cell in grid:
        if cell.name in ran:
            of_like.setdefault(_like(study, cell), []).append(ran[cell.name] / _labelled(labels[cell.task]))
    probed: dict[tuple[Any, ...], float] = {}
    seconds, by_probe = {}, set()
    for cell in cells:
        like, n = _like(study, cell), _labelled(labels[cell.task])
        if cell.name in ran:
            seconds[cell.name] = ran[cell.name]
        elif like in of_like:
            seconds[cell.name] = float(np.mean(of_like[like])) * n
        else:
            if like not in probed:
                probed[like] = _probe(study, cell, n, threads) / n
            seconds[cell.name] = probed[like] * n
            by_probe.add(cell.name)
    return Forecast(tuple(cells), seconds, frozenset(by_probe), frozenset(ran) & set(seconds), slots)


def _labelled(labels: Labels) -> int:
    return int(np.count_nonzero(labels.target >= 0))


def _like(study: StudyFile, cell: Cell) -> tuple[Any, ...]:
    return study.tasks[cell.task].data, cell.representation, cell.resolution, cell.model


def _probe(study: StudyFile, cell: Cell, n: int, threads: int) -> float:
    """Seconds of a whole cell on `n` labelled runs, from one short training on random rows."""
    random = np.random.default_rng(0)
    target = np.arange(n) % 2
    n_train = round(n * (1 - 1 / study.folds))
    if cell.is_network:
        return _probe_network(study, cell, random, target, n_train, threads)
    rows = _random_rows(cell, n, random)
    model = make_baseline(cell.model, seed=0, preprocessing=preprocessing_of(cell.representation, cell.model))
    started = time.perf_counter()
    model.fit(rows[:n_train], target[:n_train], groups=np.arange(n_train).astype(str))
    model.probability(rows[n_train:])
    return (time.perf_counter() - started) * study.folds


def _probe_network(
    study: StudyFile, cell: Cell, random: np.random.Generator, target: np.ndarray, n_train: int, threads: int
) -> float:
    from ms2img.ms2toimg.crossvalidate import FoldTask, run_fold

    preset = cell.model.removeprefix("cnn-")
    height, width = (int(side) for side in cell.resolution.split("x"))
    images = _random_images(random, len(target), height, width)
    nothing = np.empty(0, dtype=np.int64)
    times = []
    for epochs in (1, 1, PROBE_EPOCHS + 1):  # the first one warms up
        fit = replace(TRAINING[preset], epochs=epochs, threads=threads, device="cpu", keep="last", seed=0)
        task = FoldTask(Fold(0, np.arange(n_train), nothing, np.arange(n_train, len(target))), PRESETS[preset], fit)
        started = time.perf_counter()
        run_fold(images, target, task)
        times.append(time.perf_counter() - started)
    _, one, more = times
    epoch = max(more - one, 1e-3) / PROBE_EPOCHS
    return (one + epoch * ((study.epochs or TRAINING[preset].epochs) - 1)) * study.folds


def _random_images(random: np.random.Generator, n: int, height: int, width: int) -> np.ndarray:
    """Images lit as real ones are: a few columns, and below the diagonal."""
    images = random.integers(1, 256, (n, height, width), dtype=np.uint8)
    below = np.arange(height)[:, None] / height < np.arange(width)[None, :] / width
    columns = random.random((n, 1, width)) < LIT * 4
    return np.where(below & columns & (random.random(images.shape) < 0.5), images, 0).astype(np.uint8)


def _random_rows(cell: Cell, n: int, random: np.random.Generator) -> Any:
    if cell.representation == "image":
        height, width = (int(side) for side in cell.resolution.split("x"))
        return _random_images(random, n, height, width).reshape(n, -1) / 255.0
    columns = ASSUMED_COLUMNS[cell.representation]
    fill = ASSUMED_FILL.get(cell.representation, 0.5)
    if cell.representation == "memo":
        import scipy.sparse as sp

        return sp.random(n, columns, density=fill, format="csr", rng=random)
    return np.where(random.random((n, columns)) < fill, np.exp(random.normal(10, 2, (n, columns))), 0.0)
