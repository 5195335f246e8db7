"""What is asked of any sweep: its options, and what its plan must tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pipelines.sweep_nodes import Share

if TYPE_CHECKING:
    from tune.schedule import Scheduler


class SweepOptions(Share, Protocol):
    """What is asked of any sweep."""

    @property
    def trials(self) -> int:
        """Most trials."""

    @property
    def scheduler(self) -> Scheduler:
        """Who is stopped early."""

    @property
    def checkpoint_seconds(self) -> float:
        """Seconds of training that an interruption may cost."""

    @property
    def resume(self) -> bool:
        """Whether to go on with a sweep that was begun."""

    def ledger_location(self) -> str:
        """Where the sweep is kept."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """All options."""


class Plan(Protocol):
    """A sweep before it starts."""

    @property
    def config(self) -> SweepOptions:
        """The options."""

    @property
    def epochs(self) -> int:
        """Of a whole trial."""

    @property
    def trainings(self) -> int:
        """How many trainings a trial is."""

    def identity(self) -> dict[str, Any]:
        """What another start of this sweep must agree with."""
