"""How far a sweep is: what runs, what ended how, the best trials so far, how fast it goes and how long it will take."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tune.choose import ACCURACY, winner

if TYPE_CHECKING:
    from tune.trial import Trial, TrialResult

BEST_SHOWN = 5
SPEED_OVER_EPOCHS = 200  # the latest epochs that the speed is taken from (ours)
FORECAST_FROM = 0.5  # trials' worth of work done before the time left is told (ours)


@dataclass
class RunningTrial:
    """A trial under way: what it is, where, its latest epoch row and how far each fold is."""

    trial: Trial
    worker: str
    fold: int | None = None
    row: Mapping[str, float] = field(default_factory=dict)
    epoch_of: dict[int, int] = field(default_factory=dict)


class Tally:
    """Counts of a sweep of `trials` trials of `folds` folds of `epochs` epochs; the best have most of `measure`."""

    def __init__(
        self,
        trials: int,
        folds: int,
        epochs: int,
        *,
        measure: str = ACCURACY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trials, self.folds, self.epochs = trials, folds, epochs
        self.measure = measure
        self.running: dict[int, RunningTrial] = {}
        self.counts: Counter[str] = Counter()
        self.best: list[TrialResult] = []
        self._clock = clock
        self._started = clock()
        self._first: tuple[float, float] | None = None  # when this run began to compute, and the work done before
        self._epochs_at: deque[float] = deque(maxlen=SPEED_OVER_EPOCHS)

    def started(self, trial: Trial, worker: str) -> None:
        """A trial begins, or goes on."""
        self._first = self._first or (self._clock(), float(self.ended_trials))
        self.running[trial.number] = RunningTrial(trial, worker)

    def epoch(self, number: int, fold: int, row: Mapping[str, float]) -> None:
        """A running trial trained an epoch; a repeated one, after a retry, is no progress."""
        self._epochs_at.append(self._clock())
        running = self.running.get(number)
        if running is not None:
            running.fold, running.row = fold, row
            running.epoch_of[fold] = max(int(row["epoch"]), running.epoch_of.get(fold, 0))

    def ended(self, result: TrialResult) -> None:
        """A trial ended, now or in an earlier run of the sweep."""
        self.running.pop(result.number, None)
        self.counts[result.status] += 1
        if result.status == "finished":
            pool, self.best = [*self.best, result], []
            while pool and len(self.best) < BEST_SHOWN:
                self.best.append(winner(pool, self.measure))
                pool.remove(self.best[-1])

    @property
    def ended_trials(self) -> int:
        """Trials that ended, however."""
        return sum(self.counts.values())

    @property
    def seconds(self) -> float:
        """Since this run of the sweep started."""
        return self._clock() - self._started

    def done(self) -> float:
        """Trials' worth of work done: running ones count by their epochs."""
        under_way = sum(sum(each.epoch_of.values()) for each in self.running.values())
        return self.ended_trials + under_way / (self.folds * self.epochs)

    def epochs_a_second(self) -> float | None:
        """Over the latest epochs of all trials; None before there are two."""
        if len(self._epochs_at) < 2:
            return None
        return len(self._epochs_at) / max(self._clock() - self._epochs_at[0], 1e-9)

    def seconds_left(self) -> float | None:
        """By the speed of this run of the sweep; None before enough is done."""
        if self._first is None:
            return None
        since, before = self._first
        gained = self.done() - before
        if gained < min(FORECAST_FROM, (self.trials - before) / 2):
            return None
        return (self._clock() - since) / gained * (self.trials - self.done())
