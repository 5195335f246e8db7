"""What a search is given: how trials are run, how they are proposed, and who is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tune.space import Space
from tune.trial import Trial, TrialResult

if TYPE_CHECKING:
    from tune.schedule import Scheduler


class Listener(Protocol):
    """Who is told of a search as it runs, from the thread that called `run_search`."""

    def started(self, trial: Trial, worker: str) -> None:
        """A trial begins, or goes on, on a worker (host:process)."""

    def epoch(self, number: int, fold: int, row: Mapping[str, float]) -> None:
        """A trial trained an epoch of a fold."""

    def ended(self, result: TrialResult) -> None:
        """A trial has ended, and the ledger holds it."""

    def note(self, text: str) -> None:
        """What a person should know though the search goes on."""


@dataclass(frozen=True)
class Search:
    """How trials are run.

    `concurrent`: trials at a time; more than there is room for would cost Tune its reuse of workers.
    `request`: bytes of memory that Ray sets aside for a trial; 0 for none.
    """

    cpus_per_trial: int
    gpus_per_trial: float
    concurrent: int
    scheduler: Scheduler
    epochs: int
    checkpoint_seconds: float
    request: Callable[[Trial], int] = lambda _: 0


@dataclass(frozen=True)
class Proposing:
    """A search in which `trials` trials are made one after the other, by Optuna or (`random`) by chance.

    `propose` makes a trial of its number and values. `max_seconds`: of the sweep's own time, after which none is begun.
    """

    space: Space
    seed: int
    trials: int
    propose: Callable[[int, Mapping[str, Any]], Trial]
    max_seconds: float = math.inf
    random: bool = False


@dataclass
class Spent:
    """What a search took beside training: `workers`, each of which fetched the images once, and seconds."""

    workers: list[str] = field(default_factory=list)
    seconds: float = 0.0


def described(trial: Trial, search: Search) -> dict[str, Any]:
    """What Ray Tune carries to a worker: plain values, see `tune.trainable.SweepTrainable`."""
    return {
        "number": trial.number,
        "values": trial.values,
        "n_weights": trial.n_weights,
        "model": trial.model.to_dict(),
        "fit": trial.fit.to_dict(),
        "cpus": search.cpus_per_trial,
        "gpus": search.gpus_per_trial,
        "memory": search.request(trial),
    }
