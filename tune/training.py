"""What trains a trial: all that the search asks of a system, be it the folds of a CNN or one split of molecules.

Light to import: a worker reads it before it has set what torch reads once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from tune.ledger import Ledger

#: Told of every epoch: which of the trial's trainings (from 0), and the row of its history.
OnEpoch = Callable[[int, Mapping[str, float]], None]


class Reached(NamedTuple):
    """A trial at a rung.

    `score`: what decides between trials, higher is better. `epochs`: trained so far. `results`: of the trial's
    trainings, see `Form.to_json`. `finished`: whether it has come to its own end, so that nothing is left to train.
    """

    score: float
    loss: float
    epochs: int
    results: list[dict[str, Any]]
    seconds: float
    finished: bool


class Training(Protocol):
    """A trial as a worker trains it."""

    def reach(self, epochs: int) -> Reached:
        """Train to so many epochs, from where the ledger says it stands.

        Raises `FloatingPointError` where it diverges, `UsageError` where it cannot be trained at all: both are the
        trial's own failure; `JobError` when the ledger cannot be used, which ends the search.
        """


class Form(Protocol):
    """How the result of one training is kept in the ledger. Every result has ``fold`` (from 0), history, best_epoch."""

    def to_json(self, result: Any) -> dict[str, Any]:
        """As plain lists and numbers, exact."""

    def from_json(self, told: dict[str, Any]) -> Any:
        """The inverse of `to_json`; raises `ValueError`, `TypeError` or `LookupError` for what is none."""

    def is_sound(self, result: Any) -> bool:
        """Whether a result that was read may be that of a training which came to its end."""


class Subject(Protocol):
    """What every trial of a sweep learns from; Ray carries it to the workers, once each."""

    @property
    def trainings(self) -> int:
        """How many trainings a trial is: the folds of a cross-validation, or one."""

    @property
    def form(self) -> Form:
        """How their results are kept."""

    def training(
        self, trial: Mapping[str, Any], ledger: Ledger, *, device: str, checkpoint_seconds: float, on_epoch: OnEpoch
    ) -> Training:
        """The trial that `tune.settings.described` has described, on this device ("cpu" or "cuda")."""
