"""What a sweep is going to do: the folds, the room on the machines, and the trials with their memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ms2img.errors import UsageError
from ms2img.ms2toimg.crossvalidate import FoldTask, plan_folds
from pipelines.cohort import Cohort
from pipelines.registering import fingerprints
from pipelines.sweep_config import SweepConfig
from pipelines.sweep_nodes import Node, slots, used
from tune.memory import memory_requests, plan_trial
from tune.space import Space
from tune.trial import Trial


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

    @property
    def trainings(self) -> int:
        """How many trainings a trial is: the folds."""
        return len(self.tasks)

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
        return plan_folds(self.cohort.labels, self.config.folds, trial.model, trial.fit)

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
        machines = used(self.config, nodes)
        return min(node.memory for node in machines), -(-slots(self.config, nodes) // len(machines))
