"""Leaving a training at a rung, to go on later from the state that was saved there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ms2img.errors import JobError, UsageError
from ms2img.learn.checkpoint import TrainingState


class RungReached(Exception):  # noqa: N818 (no error)
    """Raised out of the training loop at a rung: the training goes on later, and its test part waits for the end."""

    def __init__(self, history: Sequence[Mapping[str, float]]) -> None:
        self.history = history


@contextmanager
def no_fault_of_the_trial() -> Iterator[None]:
    """A ledger that this worker may not read or write ends the job; as a `UsageError` it would be the trial's own."""
    try:
        yield
    except UsageError as error:
        raise JobError(str(error)) from None


class RungReporter:
    """Tells epochs, saves the state when it is time, and leaves the training at the rung (None: there is none).

    `seconds`: of the training, over all processes that had a part in it, as of its latest epoch.
    """

    def __init__(
        self,
        *,
        rung: int | None,
        every_seconds: float,
        save: Callable[[TrainingState], None],
        on_epoch: Callable[[Mapping[str, float]], None],
    ) -> None:
        self._rung = rung
        self._every_seconds = every_seconds
        self._save = save
        self._on_epoch = on_epoch
        self._saved = time.monotonic()
        self.seconds = 0.0

    def resume(self, history: Sequence[Mapping[str, float]]) -> None:
        """Told of the state that a training is to go on from; raises `RungReached` when there is nothing to train."""
        if self._rung is not None and len(history) >= self._rung:
            raise RungReached(history)

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        self._on_epoch(metrics)

    def checkpoint(self, state: TrainingState) -> None:
        """See `ms2img.learn.reporter.Reporter`. At a rung it raises `RungReached`: the test part waits for the end."""
        self.seconds = state.seconds
        at_rung = self._rung is not None and state.epoch >= self._rung
        if at_rung or (time.monotonic() - self._saved >= self._every_seconds and state.epoch < state.config.epochs):
            self._save(state)
            self._saved = time.monotonic()
        if at_rung:
            raise RungReached(list(state.history))

    def should_stop(self) -> bool:
        """See `ms2img.learn.reporter.Reporter`."""
        return False


def best_epoch(history: Sequence[Mapping[str, float]], keep: str) -> int:
    """The epoch whose weights count so far: the last, or the first with the lowest validation loss."""
    best = history[-1] if keep == "last" else min(history, key=lambda row: row["validation_loss"])
    return int(best["epoch"])
