"""From Ray Tune's callbacks to the ledger: when a trial begins, reaches a rung, ends or fails."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from ray.tune import Callback

from ms2img.errors import JobError, Ms2imgError
from tune.ledger import Entry, Ledger
from tune.trainable import EPOCHS, LOSS, SCORE
from tune.trial import Trial

Tell = Callable[[tuple[str, Any]], None]


class Closed(BaseException):
    """The sweep has ended, been interrupted, or cannot go on, for its ``__cause__``. Ends Tune's thread.

    No `Exception`: of those Tune makes its own, a traceback in their text, and waits for its workers to end their
    epochs.
    """


@contextmanager
def closing() -> Iterator[None]:
    """Around what Tune calls and the ledger may refuse: the job ends, by `Closed`, with the reason as it was."""
    try:
        yield
    except Ms2imgError as error:
        raise Closed from error


class Recorder:
    """Keeps the ledger's entries up to date, and tells of every trial that ended.

    Its methods are called by Tune's thread; `close` by the driver's.
    """

    def __init__(self, ledger: Ledger, folds: int, tell: Tell) -> None:
        self._ledger = ledger
        self._tell = tell
        self._entries = ledger.entries(folds)
        self._errors: dict[int, list[str]] = {}  # of this run of the sweep
        self._lock = threading.Lock()
        self._closed = False
        # The sweep's time goes on where the last run of it was heard of.
        self._offset = max((entry.latest for entry in self._entries.values()), default=0.0) - time.monotonic()

    def entries(self) -> list[Entry]:
        """All trials that were begun."""
        return list(self._entries.values())

    def ended(self) -> list[Entry]:
        """Those with nothing left to do."""
        return sorted((each for each in self._entries.values() if each.has_ended), key=lambda entry: entry.number)

    def unfinished(self) -> list[Entry]:
        """Those that were begun and are to go on."""
        return [entry for entry in self._entries.values() if not entry.has_ended]

    def next_number(self) -> int:
        """The number of the next trial that is proposed."""
        return next(number for number in itertools.count() if number not in self._entries)

    def seconds(self) -> float:
        """The sweep's time: since its first start, without the gaps between its runs."""
        return self._offset + time.monotonic()

    def close(self) -> None:
        """Record nothing from here on."""
        with self._lock:
            self._closed = True

    def require_open(self) -> None:
        """Raise `Closed` after `close`."""
        if self._closed:
            raise Closed

    def progress(self) -> tuple[int, int]:
        """How many trials have ended, and how many attempts failed: one of them rises, or nothing goes on."""
        return len(self.ended()), sum(map(len, self._errors.values()))

    def begin(self, number: int, values: Mapping[str, Any], n_weights: int, *, clear: bool = False) -> Entry:
        """A trial begins or goes on; `clear`: what is kept of an unknown trial of this number is of other values."""
        entry = self._entries.get(number)
        if entry is None:
            if clear:
                self._ledger.clear(number)
            entry = Entry(number, dict(values), n_weights, started=self.seconds())
            self._keep(entry)
        return entry

    def refuse(self, trial: Trial) -> None:
        """A trial that is not even begun."""
        entry = self.begin(trial.number, trial.values, trial.n_weights)
        self._end(entry, "failed", (trial.refused or "").removeprefix(f"trial {trial.number}: "))

    def rung(self, number: int, result: Mapping[str, Any]) -> None:
        """A trial has reached a rung; ``done``: it ends there."""
        entry = self._entries[number]
        if "job_error" in result:
            raise JobError(result["job_error"])
        if "failed" in result:
            self._end(entry, "failed", result["failed"])
            return
        epochs = result[EPOCHS]
        entry.seconds = result["seconds"]
        if not entry.rungs or entry.rungs[-1][EPOCHS] < epochs:
            rung = {EPOCHS: epochs, "accuracy": result[SCORE], "loss": result[LOSS], "at": self.seconds()}
            entry.rungs.append(rung)
        if not result["done"]:
            self._keep(entry)
        elif result["finished"]:
            self._end(entry, "finished")
        else:
            entry.folds = result["folds"]
            self._end(entry, "stopped")

    def failed(self, number: int, reason: str, times: int) -> None:
        """A trial failed so many times, because its worker died or an unforeseen error was raised there."""
        self._errors.setdefault(number, []).extend([reason] * times)

    def gave_up(self, number: int, retries: int) -> bool:
        """Whether a trial has failed more often than it is tried again; it is then recorded, as not lasting."""
        errors = self._errors.get(number, [])
        if len(errors) <= retries:
            return False
        entry = self._entries[number]
        if entry.status is None:
            entry.lasting = False
            self._end(entry, "failed", f"{errors[-1]} ({len(errors)} attempts)")
        return True

    def _end(self, entry: Entry, status: Any, reason: str | None = None) -> None:
        entry.status, entry.reason, entry.ended = status, reason, self.seconds()
        self._keep(entry)
        self._ledger.drop_states(entry.number)
        self._tell(("ended", entry))

    def _keep(self, entry: Entry) -> None:
        with self._lock:
            if self._closed:
                raise Closed
            self._entries[entry.number] = entry
            self._ledger.write_entry(entry)


class Unpickled:
    """Part of what Ray Tune is given: it pickles all of that, for a restore that is never asked for, and copies it."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself."""
        return self


class Progress(Unpickled, Callback):
    """Ray Tune's callback."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """See `ray.tune.Callback`; some ten times a second."""
        self._recorder.require_open()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `ray.tune.Callback`."""
        told = trial.config["trial"]
        with closing():
            self._recorder.begin(told["number"], told["values"], told["n_weights"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """See `ray.tune.Callback`; the scheduler has decided, and ``done`` is set where it stops the trial."""
        with closing():
            self._recorder.rung(trial.config["trial"]["number"], result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `ray.tune.Callback`: a trial that Tune does not try again."""
        error = trial.get_error()
        self._recorder.failed(trial.config["trial"]["number"], _reason(str(error)), trial.num_failures)


def _reason(text: str) -> str:
    """One line of an error's text as Ray gives it: the first, or of a traceback the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
