"""One seed in its worker: trained from where its last state stands, its result kept. Free of Ray.

All is kept in a folder that every worker reaches, under the training's fingerprint: a training that is started again
does only what is missing.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar

from ms2img.errors import JobError
from ms2img.io.storage import folder

if TYPE_CHECKING:
    from torch import Tensor

    from ms2img.learn.checkpoint import TrainingState
    from ms2img.learn.fit import FitResult
    from ms2img.learn.fit_config import FitConfig
    from ms2img.learn.reporter import Reporter

OnEpoch = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class SeedTask:
    """One training. `name`: of its files in the folder `work`.

    `clock`: whether `max_seconds` are those of a wall clock or of the processor.
    """

    seed: int
    fit: FitConfig
    max_seconds: float | None
    work: str
    name: str
    checkpoint_seconds: float
    clock: Literal["wall", "cpu"] = "wall"

    @property
    def state_name(self) -> str:
        """The file of the state that an interrupted training goes on from."""
        return f"{self.name}.state.safetensors"

    def watch(self) -> Callable[[], float]:
        """What measures the budget."""
        return time.process_time if self.clock == "cpu" else time.perf_counter


class Outcome(NamedTuple):
    """What a training gave.

    fit: its loop's answer. weights: those of the model that is kept. measured: what they were measured by, ready for
    JSON, under names other than those of `SeedResult`.
    """

    fit: FitResult
    weights: Mapping[str, Tensor]
    measured: dict[str, Any]


class Training(Protocol):
    """What a system trains, and what on; it is sent to each worker once.

    futile: errors beside `UsageError` and `FloatingPointError` that meet all workers of a seed alike, and every try.
    """

    futile: ClassVar[tuple[type[JobError], ...]] = ()

    def run(self, task: SeedTask, reporter: Reporter, resume: Path | None) -> Outcome:
        """Train one seed, from a state that the reporter has kept where there is one; on each of its workers alike."""


@dataclass(frozen=True, eq=False)
class SeedResult:
    """A seed that is done: its weights, its history (a row an epoch), and what was measured, see `Outcome`."""

    seed: int
    weights: Mapping[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    precision: str
    measured: Mapping[str, Any]


ResultT = TypeVar("ResultT", bound=SeedResult)


class KeepingReporter:
    """Tells of epochs, and keeps a state every so many seconds; only the first worker keeps one."""

    def __init__(self, task: SeedTask, on_epoch: OnEpoch, *, first: bool) -> None:
        self._task, self._on_epoch, self._first = task, on_epoch, first
        self._kept = time.monotonic()

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        if self._first:
            self._on_epoch(metrics)

    def checkpoint(self, state: TrainingState) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        if not self._first or time.monotonic() - self._kept < self._task.checkpoint_seconds:
            return
        with tempfile.TemporaryDirectory(prefix="ms2img-state-") as scratch:
            path = Path(scratch) / "state"
            state.save(path)
            folder(self._task.work).write(self._task.state_name, path.read_bytes())
        self._kept = time.monotonic()

    def should_stop(self) -> bool:
        """Never: the budget is the loop's own."""
        return False


def train_seed(training: Training, task: SeedTask, on_epoch: OnEpoch, *, first: bool = True) -> None:
    """Train one seed and keep its result.

    first: whether this is the first of the workers that share the training.
    """
    with _state_of(task) as resume:
        outcome = training.run(task, KeepingReporter(task, on_epoch, first=first), resume)
    if first:
        _keep(task, outcome)


def read_result(task: SeedTask, kind: type[ResultT]) -> ResultT | None:
    """The result of a seed that is done, as `kind`; None of one that is not."""
    from safetensors.torch import load

    out = folder(task.work)
    told, weights = out.read(f"{task.name}.json"), out.read(f"{task.name}.safetensors")
    if told is None or weights is None:
        return None
    values = json.loads(told)
    known = {name: values.pop(name) for name in ("history", "best_epoch", "seconds", "precision")}
    return kind(seed=task.seed, weights=load(weights), measured=values, **known)


@contextmanager
def _state_of(task: SeedTask) -> Iterator[Path | None]:
    """The last state of a training as a local file, for the length of the block; None where there is none."""
    state = folder(task.work).read(task.state_name)
    if state is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ms2img-resume-") as scratch:
        path = Path(scratch) / "state"
        path.write_bytes(state)
        yield path


def _keep(task: SeedTask, outcome: Outcome) -> None:
    """The weights first, what tells of them last: it is the commit. The state has had its day."""
    from safetensors.torch import save

    out, fit = folder(task.work), outcome.fit
    out.write(f"{task.name}.safetensors", save({k: v.contiguous() for k, v in outcome.weights.items()}))
    told = {
        **outcome.measured,
        "history": fit.history,
        "best_epoch": fit.best_epoch,
        "seconds": fit.seconds,
        "precision": fit.precision,
    }
    out.write(f"{task.name}.json", json.dumps(told).encode())
    out.delete([task.state_name])
