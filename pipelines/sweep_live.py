"""A sweep as it runs: a live table of trials on a terminal, a sparse line elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from pipelines.progress import LINE_EVERY_SECONDS
from pipelines.sweep_tally import BEST_SHOWN, Tally
from tune.choose import ACCURACY, scored

if TYPE_CHECKING:
    from tune.trial import Trial, TrialResult

FRAMES_A_SECOND = 4
NAMED_FAILURES = 5  # whose reason is told as they come
#: Shorter names of the paper's hyper-parameters, so that all of them fit into 120 columns.
SHORT = {"conv_layers": "conv", "dense_layers": "dense", "learning_rate": "rate"}
OTHER_LINES = 9 + BEST_SHOWN  # of the picture beside the running trials: headings, the bar, the best


class SweepView:
    """Shows a sweep of `trials` trials of `folds` folds of `epochs` epochs, on standard error.

    `measure`: the column of the histories that decides. A context manager, fed from one thread. Results of an earlier
    run of a resumed sweep are told by `ended` before the first `started`, so that they do not count as speed.
    """

    def __init__(self, trials: int, folds: int, epochs: int, *, quiet: bool = False, measure: str = ACCURACY) -> None:
        self._tally = Tally(trials, folds, epochs, measure=measure)
        self._measure, self._measure_name = measure, measure.removeprefix("validation_").replace("_", " ")
        self._quiet = quiet
        self._last_line = time.monotonic()
        self._lock = threading.Lock()  # the terminal is drawn by a thread of its own
        self._live: Live | None = None
        if not quiet and sys.stderr.isatty():
            console = Console(stderr=True)
            self._live = Live(console=console, refresh_per_second=FRAMES_A_SECOND, get_renderable=self._picture)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._say(f"sweep: {self._counts()} in {_duration(self._tally.seconds)}")

    def started(self, trial: Trial, worker: str) -> None:
        """A trial begins, or goes on, on `worker`."""
        with self._lock:
            self._tally.started(trial, worker)

    def epoch(self, number: int, fold: int, row: Mapping[str, float]) -> None:
        """Trial `number` trained an epoch of `fold` (from 0); `row` is that of its history."""
        with self._lock:
            self._tally.epoch(number, fold, row)
        self._line_if_due()

    def ended(self, result: TrialResult) -> None:
        """A trial ended, in this run of the sweep or in an earlier one; the first failures are told with reasons."""
        with self._lock:
            self._tally.ended(result)
        failures = self._tally.counts["failed"]
        if result.status == "failed" and failures <= NAMED_FAILURES + 1:
            more = "more trials failed; the report has their reasons"
            self.note(f"trial {result.number} failed: {result.reason}" if failures <= NAMED_FAILURES else more)
        self._line_if_due()

    def note(self, text: str) -> None:
        """A line that stays, such as a store that no longer answers."""
        if self._live is not None:
            self._live.console.print(Text(text))
        else:
            self._say(f"sweep: {text}")

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def _line_if_due(self) -> None:
        now = time.monotonic()
        if self._live is None and now - self._last_line > LINE_EVERY_SECONDS:
            self._last_line = now
            left = self._tally.seconds_left()
            forecast = f", about {_duration(left)} left" if left is not None else ""
            self._say(f"sweep: {self._counts()}, {len(self._tally.running)} running{forecast}{self._best_in_words()}")

    def _counts(self) -> str:
        """``41/120 trials (33 finished, 6 stopped, 2 failed)``."""
        tally = self._tally
        parts = ", ".join(f"{tally.counts[status]} {status}" for status in ("finished", "stopped", "failed"))
        return f"{tally.ended_trials}/{tally.trials} trials ({parts})"

    def _best_in_words(self) -> str:
        if not self._tally.best:
            return ""
        best = self._tally.best[0]
        value = scored(best, self._measure).value
        return f"; best is trial {best.number}, inner validation {self._measure_name} {value:.3f}"

    def _picture(self) -> RenderableType:
        with self._lock:
            height = self._live.console.height if self._live is not None else 0
            running = [self._running(max(3, height - OTHER_LINES))] if self._tally.running else []
            return Group(self._head(), *running, self._best())

    def _head(self) -> RenderableType:
        tally = self._tally
        left, speed = tally.seconds_left(), tally.epochs_a_second()
        told = [self._counts(), _duration(tally.seconds)]
        told += [f"ETA {_duration(left)}"] if left is not None else ["ETA -"]
        told += [f"{speed:.3g} epochs/s"] if speed is not None else []
        line = Table.grid(Column(width=7), Column(ratio=1))
        line.add_row("sweep", ProgressBar(total=tally.trials, completed=tally.done()))
        return Group(line, Text(" · ".join(told)))

    def _running(self, most: int) -> RenderableType:
        table = _table("running", "worker", "fold", "epoch", "loss", self._measure_name)
        shown = list(self._tally.running.values())
        for each in shown[:most]:
            done = f"{each.fold + 1}/{self._tally.folds}" if each.fold is not None else "-"
            epoch = f"{each.row['epoch']:.0f}/{self._tally.epochs}" if each.row else "-"
            loss, value = (_number(each.row, name) for name in ("validation_loss", self._measure))
            row = (str(each.trial.number), each.worker, done, epoch, loss, value)
            table.add_row(*map(Text, row), values_text(each.trial.values))
        if len(shown) > most:
            table.add_row(f"+ {len(shown) - most}", *[""] * 6)
        return table

    def _best(self) -> RenderableType:
        table = _table("best so far", self._measure_name, "loss", "weights", "time")
        for each in self._tally.best:
            score = scored(each, self._measure)
            row = (
                str(each.number),
                f"{score.value:.3f}",
                f"{score.loss:.3f}",
                f"{each.n_weights / 1e6:.2f} M",
                _duration(each.seconds),
            )
            table.add_row(*map(Text, row), values_text(each.values))
        if not self._tally.best:
            table.add_row("-", *[""] * 5)
        return table


def values_text(values: Mapping[str, Any]) -> Text:
    """``units 128, rate 3.1e-05``: hyper-parameters in one line, cut where the window ends."""
    told = (
        f"{SHORT.get(name, name)} {value:.2g}" if isinstance(value, float) else f"{SHORT.get(name, name)} {value}"
        for name, value in values.items()
    )
    return Text(", ".join(told), no_wrap=True, overflow="ellipsis")


def _table(*headings: str) -> Table:
    """A table whose first column names a trial, whose last one takes what is left of the width."""
    columns = [Column(heading, justify="right", no_wrap=True) for heading in headings]
    columns.append(Column("hyper-parameters", ratio=1, no_wrap=True, overflow="ellipsis"))
    return Table(*columns, box=None, header_style="bold", expand=True, padding=(0, 2, 0, 0), pad_edge=False)


def _number(row: Mapping[str, float], name: str) -> str:
    return f"{row[name]:.3f}" if name in row else "-"


def _duration(seconds: float) -> str:
    """``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
