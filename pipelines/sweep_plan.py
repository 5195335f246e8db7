"""What a sweep is going to do: the folds, the room on the machines, and the trials with their memory."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cluster.placement import role_for, role_of
from ms2img.errors import UsageError
from ms2img.ms2toimg.crossvalidate import FoldTask, plan_folds
from pipelines.cohort import Cohort
from pipelines.registering import fingerprints
from pipelines.sweep_config import GPU_SHARE, SweepConfig
from tune.memory import memory_requests, plan_trial
from tune.space import Space
from tune.trial import Trial

RAY_SHARE = 0.7  # of a machine's free memory that Ray gives to workers, the rest is its object store's


@dataclass(frozen=True)
class Node:
    """A machine's room for trials; `memory` in bytes, `role` as `cluster.placement` has it."""

    cpus: int
    gpus: float
    memory: int
    role: str | None = None

    @classmethod
    def connected(cls) -> list[Self]:
        """The machines of the Ray we are connected to."""
        import ray

        alive = [(node["Resources"], role_of(node)) for node in ray.nodes() if node["Alive"]]
        return [
            cls(int(has.get("CPU", 0)), float(has.get("GPU", 0)), int(has.get("memory", 0)), role)
            for has, role in alive
            if has.get("CPU", 0) >= 1
        ]

    @classmethod
    def this_machine(cls) -> Self:
        """This machine, as a private Ray would see it (but for GPUs, which Ray finds)."""
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(len(os.sched_getaffinity(0)), 0.0, int(RAY_SHARE * free))


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """A sweep before it starts. `tasks`: the folds, with the base preset in place of a trial's own network."""

    config: SweepConfig
    cohort: Cohort
    space: Space
    tasks: list[FoldTask]
    prints: dict[str, str]
    epochs: int

    @classmethod
    def make(cls, config: SweepConfig) -> Self:
        """Load and check everything; raises `UsageError` for what is wrong with options, sheet, images or space."""
        if config.searcher == "optuna" and importlib.util.find_spec("optuna") is None:
            raise UsageError("--searcher optuna needs Optuna: pip install 'ms2img[cluster]'")
        space = Space.load(config.space)
        cohort = Cohort.load(config.images, config.samples, config.label_config(), allow_outside=config.allow_outside)
        cnn, fit = space.configure(
            {}, epochs=config.epochs, seed=config.seed, threads=config.cpus_per_trial, precision=config.precision
        )
        tasks = plan_folds(cohort.labels, config.folds, cnn, fit)
        return cls(config, cohort, space, tasks, fingerprints(cohort, tasks), fit.epochs)

    def identity(self) -> dict[str, Any]:
        """What another start of this sweep must agree with."""
        return {
            **self.config.identity(),
            "space": self.space.to_dict(),
            "base": {"cnn": self.tasks[0].cnn.to_dict(), "fit": self.tasks[0].fit.to_dict()},
            "epochs": self.epochs,
            "fingerprints": self.prints,
        }

    def trial(self, number: int, values: Mapping[str, Any], limit: int | None) -> Trial:
        """A trial with its memory; `limit`: bytes of the largest machine."""
        cnn, fit = self.space.configure(
            values,
            epochs=self.epochs,
            seed=self.config.seed,
            threads=self.config.cpus_per_trial,
            precision=self.config.precision,
        )
        height, width = self.cohort.images.shape[1:]
        folds = [task.fold for task in self.tasks]
        return plan_trial(number, dict(values), cnn, fit, height=height, width=width, folds=folds, limit=limit)

    def random_trials(self, limit: int | None) -> list[Trial]:
        """All trials of a random search, in order."""
        return [
            self.trial(number, self.space.sample(self.config.seed, number), limit)
            for number in range(self.config.trials)
        ]

    def trial_tasks(self, trial: Trial) -> list[FoldTask]:
        """The folds as this trial trains them."""
        return plan_folds(self.cohort.labels, self.config.folds, trial.cnn, trial.fit)

    def gpus_per_trial(self, nodes: Sequence[Node]) -> float:
        """As asked for; else a share of a GPU where there is one."""
        if self.config.gpus_per_trial is not None:
            return self.config.gpus_per_trial
        return GPU_SHARE if any(node.gpus for node in nodes) else 0.0

    def slots(self, nodes: Sequence[Node]) -> int:
        """Trials at a time by cores, GPUs and ``--concurrent``. `UsageError` when not even one has room."""
        cpus, gpus = self.config.cpus_per_trial, self.gpus_per_trial(nodes)
        room = sum(
            min(node.cpus // cpus, int(node.gpus / gpus + 1e-9) if gpus else node.cpus) for node in self._used(nodes)
        )
        if not room:
            has = " + ".join(f"{node.cpus} CPUs, {node.gpus:g} GPUs" for node in nodes)
            raise UsageError(
                f"a trial takes {cpus} CPUs, {gpus:g} GPUs, but the Ray cluster has {has}; "
                "lower --cpus-per-trial or --gpus-per-trial"
            )
        return min(room, self.config.concurrent or room)

    def requests(self, trials: Sequence[Trial], nodes: Sequence[Node]) -> dict[int, int]:
        """Memory to ask Ray for, by trial number: so much that trials on one machine fit beside each other."""
        available, at_once = self._memory(nodes)
        return memory_requests(trials, available, at_once)

    def request(self, trial: Trial, nodes: Sequence[Node]) -> int:
        """As `requests`, of a trial whose followers are not known: an equal share for all that are content with it."""
        available, at_once = self._memory(nodes)
        share = available // at_once
        return share if trial.memory <= share else memory_requests([trial], available, at_once)[trial.number]

    def _memory(self, nodes: Sequence[Node]) -> tuple[int, int]:
        """Bytes of the smallest machine, and how many trials it may have at a time."""
        used = self._used(nodes)
        return min(node.memory for node in used), -(-self.slots(nodes) // len(used))

    def _used(self, nodes: Sequence[Node]) -> Sequence[Node]:
        """The machines that `cluster.placement.for_groups` gives the trials: those of their role, else all."""
        cpus, gpus = self.config.cpus_per_trial, self.gpus_per_trial(nodes)
        ours = [node for node in nodes if node.role == role_for(gpus)]
        return ours if any(node.cpus >= cpus and node.gpus >= gpus for node in ours) else nodes
