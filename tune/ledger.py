"""A sweep's folder: what survives anything. JSON and safetensors, every file written whole or not at all.

``sweep.json``                              what the sweep is; written once
``tracking.json``                           the runs in the tracking store that hold it
``trials/0007/trial.json``                  a trial: its values, its status, the rungs it has reached
``trials/0007/fold2.json``                  the result of a finished fold
``trials/0007/fold2.state.safetensors``     a fold's training in progress
``refit/result.json, weights.safetensors``  the winner's final training

The driver alone writes trials; the worker that trains a trial writes its folds and states.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import Tensor

from ms2img.errors import JobError, UsageError
from ms2img.io.storage import Folder
from ms2img.learn.checkpoint import TrainingState
from tune.forms import FOLDS
from tune.training import Form
from tune.trial import Status, TrialResult

SWEEP_NAME = "sweep.json"
TRACKING_NAME = "tracking.json"
FORMAT = "ms2img sweep 1"
STATE_SUFFIX = ".state.safetensors"
REFIT_NAME, WEIGHTS_NAME = "refit/result.json", "refit/weights.safetensors"


@dataclass
class Entry:
    """``trial.json``. `status` None: running, or waiting to go on.

    `lasting`: whether a failure would come again, as a loss that is not finite does and a killed worker does not.
    `rungs`: what the scheduler was told, in order: ``epochs``, ``accuracy`` (the score that decides, whatever it is of)
    and ``loss`` (means over the folds of the inner validation part), ``at``. `folds`: of a stopped trial its histories.
    Times are the sweep's, in seconds.
    """

    number: int
    values: dict[str, Any]
    n_weights: int
    started: float
    status: Status | None = None
    reason: str | None = None
    lasting: bool = True
    rungs: list[dict[str, float]] = field(default_factory=list)
    folds: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    ended: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to do for it."""
        return self.status is not None

    @property
    def latest(self) -> float:
        """The last moment, in the sweep's time, that it knows of."""
        return max([self.started, self.ended, *(rung["at"] for rung in self.rungs)])


class Ledger:
    """The ledger in a folder (local or S3).

    `notice` is told, once, of a damaged file: what it held is then done again. `form`: of the results it keeps.
    """

    def __init__(self, out: Folder, notice: Callable[[str], None] = lambda _: None, form: Form = FOLDS) -> None:
        self.out = out
        self.notice = notice
        self._form = form
        self._damaged: set[str] = set()

    def about(self) -> dict[str, Any] | None:
        """What ``sweep.json`` says; None where there is no sweep. Raises `UsageError` for another format or damage."""
        content = self.out.read(SWEEP_NAME)
        if content is None:
            return None
        place = f"{self.out.location}: {SWEEP_NAME}"
        try:
            told = json.loads(content)
        except ValueError:
            raise UsageError(f"{place}: is damaged; give --out another folder") from None
        found = told.get("format") if isinstance(told, dict) else None
        if found != FORMAT:
            raise UsageError(f"{place}: has format {found!r}, expected '{FORMAT}'; give --out another folder")
        return told

    def begin(self, about: Mapping[str, Any]) -> None:
        """Write ``sweep.json``: from here on there is a sweep."""
        self.out.write(SWEEP_NAME, _json({"format": FORMAT, **about}))

    def entries(self, folds: int, *, again: bool = True) -> dict[int, Entry]:
        """Every trial that was begun, by number.

        One that is marked as finished, yet whose folds are not all whole, is running again; and so is, with `again`,
        one whose failure may not come again.
        """
        found: dict[int, Entry] = {}
        for name in self.out.names("trials/"):
            number = name.removeprefix("trials/").removesuffix("/trial.json")
            entry = self.entry(int(number)) if number.isdecimal() else None
            if entry is None:
                continue
            if (entry.status == "finished" and None in self._folds(entry, folds)) or (again and not entry.lasting):
                entry.status, entry.reason, entry.lasting = None, None, True
            found[entry.number] = entry
        return dict(sorted(found.items()))

    def entry(self, number: int) -> Entry | None:
        """A trial's entry; None where it was not begun."""
        name = f"{_trial(number)}/trial.json"
        content = self.out.read(name)
        if content is None:
            return None
        try:
            entry = Entry(**json.loads(content))
        except (ValueError, TypeError):
            entry = None
        if entry is None or entry.number != number:
            self._tell_damaged(name, "this trial is begun again")
            return None
        return entry

    def write_entry(self, entry: Entry) -> None:
        """Create or replace a trial's entry."""
        self.out.write(f"{_trial(entry.number)}/trial.json", _json(asdict(entry)))

    def result(self, entry: Entry, folds: int) -> TrialResult:
        """The result of a trial that has ended. `JobError` when the folds of a finished one are not all here."""
        kept = [self._form.from_json(told) for told in entry.folds] or self._folds(entry, folds)
        if entry.status is None or (entry.status == "finished" and None in kept):
            raise JobError(
                f"{self.out.location}: trial {entry.number} has not ended here; can all machines reach this folder?"
            )
        return TrialResult(
            number=entry.number,
            values=entry.values,
            status=entry.status,
            reason=entry.reason,
            n_weights=entry.n_weights,
            folds=[result for result in kept if result is not None],
            seconds=entry.seconds,
            started=entry.started,
            ended=entry.ended,
        )

    def fold(self, number: int, fold: int, values: Mapping[str, Any]) -> Any:
        """The result of a finished fold of the trial with these values; None where there is none that counts."""
        name = f"{_trial(number)}/fold{fold}.json"
        content = self.out.read(name)
        if content is None:
            return None
        try:
            told = json.loads(content)
            result = self._form.from_json(told["result"])
            sound = told["values"] == dict(values) and self._form.is_sound(result)
        except (ValueError, TypeError, LookupError):
            sound = False
        if not sound:
            self._tell_damaged(name, "this fold is trained again")
            return None
        return result

    def write_fold(self, number: int, result: Any, values: Mapping[str, Any]) -> None:
        """A fold is finished: write its result, then remove its state."""
        name = f"{_trial(number)}/fold{result.fold}"
        self.out.write(f"{name}.json", _json({"values": dict(values), "result": self._form.to_json(result)}))
        self.out.delete([name + STATE_SUFFIX])

    def save_state(self, number: int, fold: int, state: TrainingState, scratch: str | Path) -> None:
        """Keep a training in progress, replacing the one before; `scratch` is a local folder."""
        local = Path(scratch) / "save.safetensors"
        state.save(local)
        with pa.memory_map(str(local)) as mapped:
            self.out.write(f"{_trial(number)}/fold{fold}{STATE_SUFFIX}", mapped.read_buffer())
        local.unlink()

    def fetch_state(self, number: int, fold: int, scratch: str | Path) -> Path | None:
        """A kept training as a file in the local folder `scratch`; None where there is none."""
        content = self.out.read(f"{_trial(number)}/fold{fold}{STATE_SUFFIX}")
        if content is None:
            return None
        local = Path(scratch) / "resume.safetensors"
        local.write_bytes(content)
        return local

    def clear(self, number: int) -> None:
        """Remove all that is kept of a trial."""
        self.out.delete(self.out.names(f"{_trial(number)}/"))

    def drop_states(self, number: int) -> None:
        """Remove what a trial that has ended would have gone on from."""
        names = self.out.names(f"{_trial(number)}/fold")
        self.out.delete([name for name in names if name.endswith(STATE_SUFFIX)])

    def refit(self, number: int) -> tuple[Any, dict[str, Tensor]] | None:
        """Result and weights of the final training of this trial; None where there is none."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        told, weights = self.read_json(REFIT_NAME), self.out.read(WEIGHTS_NAME)
        if told.get("trial") != number or weights is None:
            return None
        try:
            return self._form.from_json(told["result"]), load(weights)
        except (SafetensorError, ValueError, TypeError, LookupError):
            self._tell_damaged(WEIGHTS_NAME, "the winner is trained again")
            return None

    def write_refit(self, number: int, result: Any, weights: Mapping[str, Tensor]) -> None:
        """Keep the final training of a trial: the weights first, then the result that makes them count."""
        from safetensors.torch import save

        self.out.write(WEIGHTS_NAME, save({name: value.contiguous() for name, value in weights.items()}))
        self.out.write(REFIT_NAME, _json({"trial": number, "result": self._form.to_json(result)}))

    def read_json(self, name: str) -> dict[str, Any]:
        """A small file beside the trials; empty where there is none, or a damaged one, which is told."""
        content = self.out.read(name)
        try:
            return json.loads(content) if content is not None else {}
        except ValueError:
            self._tell_damaged(name, "it is made anew")
            return {}

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Create or replace a small file beside the trials."""
        self.out.write(name, _json(content))

    def _tell_damaged(self, name: str, then: str) -> None:
        if name not in self._damaged:
            self._damaged.add(name)
            self.notice(f"{self.out.location}: {name} is damaged; {then}")

    def _folds(self, entry: Entry, folds: int) -> list[Any]:
        return [self.fold(entry.number, index, entry.values) for index in range(folds)]


def _trial(number: int) -> str:
    return f"trials/{number:04}"


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
