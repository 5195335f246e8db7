"""How the training loop speaks to whoever runs it: a progress bar, Ray Train, a tuner, a tracking store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ms2img.learn.checkpoint import TrainingState


class Reporter(Protocol):
    """What `ms2img.learn.fit` calls, in this order, at the end of every epoch."""

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """One row of the history: ``epoch`` (from 1), ``train_loss``, ``train_accuracy``, and the validation part's."""

    def checkpoint(self, state: TrainingState) -> None:
        """The moment to call ``state.save(path)``; the state is live, so not after returning."""

    def should_stop(self) -> bool:
        """Whether to end training here; with several workers, the first one's answer counts."""


class Silent:
    """A reporter that listens to nothing and never stops the training."""

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Ignore the metrics."""

    def checkpoint(self, state: TrainingState) -> None:
        """Save nothing."""

    def should_stop(self) -> bool:
        """Never."""
        return False
