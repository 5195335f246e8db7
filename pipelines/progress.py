"""Time is shown: a bar with an ETA on a terminal, a sparse line elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Eta

LINE_EVERY_SECONDS = 15.0  # away from a terminal: at most one line in this time (ours)
FORECAST_FROM = 0.05  # share of the steps done, after the first, before a line tells the time left (ours)


class Steps:
    """Progress over a known number of steps, on standard error.

    A context manager; `advance` is called from one thread. Lines and bar go to standard error, so that standard output
    holds results only. `total` may be set later, by who learns it late.
    """

    def __init__(self, total: int, what: str, *, quiet: bool = False) -> None:
        self.total = total
        self.what = what
        self.done = 0
        self._started = self._last_line = time.monotonic()
        # When how many were done: what came first carries the start of workers, or was done by an earlier job.
        self._first: tuple[float, int] | None = None
        self._lines = not quiet and not sys.stderr.isatty()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if not quiet and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                Eta(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(what, total=total, note="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` as done; `note` is shown behind the bar or at the end of the line."""
        self.done += steps
        self._first = self._first or (time.monotonic(), self.done)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, total=self.total, note=note)
        elif self._lines and (self.done >= self.total or time.monotonic() - self._last_line > LINE_EVERY_SECONDS):
            self._last_line = time.monotonic()
            tail = f" in {self._last_line - self._started:.0f} s" if self.done >= self.total else self._forecast()
            print(f"{self.what}: {self.done}/{self.total}{tail} {note}".rstrip(), file=sys.stderr, flush=True)

    def _forecast(self) -> str:
        """The time left by the speed since the first steps; nothing before there is one."""
        since, first = self._first or (self._last_line, self.done)
        if self.done - first < max(1, FORECAST_FROM * self.total):
            return ""
        left = (self._last_line - since) / (self.done - first) * (self.total - self.done)
        return f", about {left:.0f} s left"
