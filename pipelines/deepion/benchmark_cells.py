"""The cells of a benchmark: a method with its seed on one set of ion images, done in a worker and kept by key.

A cell is a training of `pipelines.seeds`, also where nothing is trained: what it keeps are not weights but what the
method made of the ion images, so that scores can be counted anew without it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ms2img.deepion.benchmark.labelled import Labelled
from ms2img.deepion.benchmark.methods import METHODS
from ms2img.io.storage import join
from pipelines.deepion.weights import read_weights, weights_file
from pipelines.seeds.work import Outcome, SeedTask, Training
from pipelines.study.ledger import key_of

if TYPE_CHECKING:
    from pathlib import Path

    from ms2img.deepion.benchmark.methods import Spaces
    from ms2img.deepion.benchmark.networks import Network
    from ms2img.deepion.images import IonImages
    from ms2img.learn.reporter import Reporter
    from pipelines.deepion.benchmark import BenchmarkConfig

#: Raised by hand when a method makes something else of equal images; networks' settings are in the key.
STAGE = 1
CELLS = "cells"
DONE = "cell_done"  # in the row that ends a cell: see `CellWork`


@dataclass(frozen=True)
class Cell:
    """One method on one set of ion images. mode: "col" | "iso" of DeepION. seed: 0 where chance has no part."""

    data: str
    method: str
    mode: str
    seed: int

    @property
    def name(self) -> str:
        """What its files begin with."""
        return f"{self.data}_{self.method}{'_iso' if self.mode == 'iso' else ''}_seed{self.seed}"

    @property
    def is_network(self) -> bool:
        """Whether a network makes it."""
        return METHODS[self.method].kind == "network"


def cells_of(config: BenchmarkConfig, data: Sequence[Labelled]) -> list[Cell]:
    """Every cell that is asked for: all data and methods of a seed before the next seed."""
    cells: dict[Cell, None] = {}
    for seed in config.seed_numbers():
        for each in data:
            for name in config.method_names():
                cells[Cell(each.name, name, "col", seed if METHODS[name].is_seeded else 0)] = None
            if config.isotopes and each.truth is not None and "deepion" in config.method_names():
                cells[Cell(each.name, "deepion", "iso", seed)] = None
    return list(cells)


@dataclass(frozen=True, eq=False)
class CellWork(Training):
    """What workers need to do cells: the ion images by the name of their data, and by the name of a task its cell.

    The row that a cell posts last has `DONE`; those before it are epochs. weights: the content of a file, or none.
    """

    ions: Mapping[str, IonImages]
    cells: Mapping[str, Cell]
    networks: Mapping[str, Network]
    weights: bytes

    def run(self, task: SeedTask, reporter: Reporter, resume: Path | None) -> Outcome:
        """Do a cell: see `pipelines.seeds.work.Training`. A network that fails for good is an answer too."""
        import numpy as np
        import torch

        from ms2img.learn.fit import FitResult

        started = time.perf_counter()
        spaces, history, seconds, failure = self._made(task, reporter, resume)
        made = {name: torch.from_numpy(np.array(values, np.float32)) for name, values in spaces.items()}
        reporter.epoch({DONE: 1.0})
        told = {"cell_seconds": round(time.perf_counter() - started, 2), "failure": failure}
        return Outcome(FitResult({}, len(history), history, seconds, "float32"), made, told)

    def _made(
        self, task: SeedTask, reporter: Reporter, resume: Path | None
    ) -> tuple[Spaces, list[dict[str, float]], float, str]:
        from ms2img.deepion.benchmark.methods import unlearned
        from ms2img.deepion.benchmark.networks import learned
        from ms2img.deepion.objective import CollapseError

        cell = self.cells[task.name]
        ions = self.ions[cell.data]
        if not cell.is_network:
            return unlearned(cell.method, ions, seed=cell.seed), [], 0.0, ""
        try:
            with weights_file(self.weights) as weights:
                found = learned(
                    self.networks[task.name],
                    ions,
                    weights=weights,
                    reporter=reporter,
                    resume=resume,
                    max_seconds=task.max_seconds,
                    clock=task.watch(),
                )
        except (CollapseError, FloatingPointError) as error:
            return {}, [], 0.0, str(error)
        return found.spaces, found.history, found.seconds, ""


@dataclass(frozen=True, eq=False)
class Plan:
    """The cells of a benchmark as tasks, in one order, and what workers need to do them."""

    cells: list[Cell]
    tasks: list[SeedTask]
    work: CellWork


def plan(config: BenchmarkConfig, data: Sequence[Labelled]) -> Plan:
    """All cells, with the keys of everything each follows from. Raises `UsageError` for weights that do not fit."""
    ions = {each.name: each.ions for each in data}
    cells = cells_of(config, data)
    made = {cell: _network(config, cell) for cell in cells if cell.is_network}
    weights = _weights(config, {network.model.base for network in made.values()})
    tasks = [_task(config, cell, made.get(cell), ions[cell.data].fingerprint, weights) for cell in cells]
    networks = {task.name: made[cell] for task, cell in zip(tasks, cells, strict=True) if cell in made}
    by_task = {task.name: cell for task, cell in zip(tasks, cells, strict=True)}
    return Plan(cells, tasks, CellWork(ions, by_task, networks, weights))


def _weights(config: BenchmarkConfig, bases: Collection[int]) -> bytes:
    """The content of the weights' file once it fits every network; empty without one.

    bases: of the networks, see `ResNet18`; a preset's may be narrower than ResNet18, which is a row of its own.
    """
    content = b""
    for base in sorted(bases) if config.weights else ():
        content = read_weights(config.weights, base=base)
    return content


def _network(config: BenchmarkConfig, cell: Cell) -> Network:
    from ms2img.deepion.benchmark.networks import network_of
    from ms2img.deepion.presets import TRAINING

    fit = config.changed(TRAINING[config.preset], {"seed": cell.seed})
    return network_of(cell.method, cell.mode, config.preset, fit)


def _task(config: BenchmarkConfig, cell: Cell, network: Network | None, images: str, weights: bytes) -> SeedTask:
    from ms2img.learn.fit_config import FitConfig

    follows: dict[str, Any] = {"stage": STAGE, "images": images}
    if network is None:
        follows |= {"method": cell.method, "seed": cell.seed}
    else:
        follows |= network.follows_from() | {"weights": hashlib.blake2b(weights, digest_size=8).hexdigest()}
        if network.views is not None:
            follows |= {"minutes": config.max_minutes, "clock": config.clock if config.max_minutes else None}
    return SeedTask(
        seed=cell.seed,
        fit=network.fit if network is not None else FitConfig(),
        max_seconds=config.max_seconds(),
        work=join(config.out, CELLS),
        name=f"{cell.name}-{key_of(follows)}",
        checkpoint_seconds=config.checkpoint_seconds,
        clock=config.clock,
    )
