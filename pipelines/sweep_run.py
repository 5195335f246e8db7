"""One run of a sweep, whatever it trains: ledger -> trials -> choice, under the lease of its folder.

Whatever ends it early, the ledger holds what was done, and the next run goes on from there: no trial is lost, none is
trained twice.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.lease import Lease
from ms2img.io.storage import folder, is_remote
from pipelines.sweep_nodes import Node, gpus_per_trial, slots
from pipelines.sweep_resume import go_on

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.tracking.entries import InputData
    from ms2img.tracking.store import Store
    from ms2img.tracking.sweeps import TrackedSweep
    from pipelines.sweep_log import SweepLog
    from tune.ledger import Ledger
    from tune.settings import Proposing
    from tune.training import Form, Subject
    from tune.trial import Trial, TrialResult

Notice = Callable[[str], None]
SummaryT = TypeVar("SummaryT")


@dataclass(frozen=True)
class ParentRun:
    """How a sweep is entered in the tracking store."""

    name: str
    tags: Mapping[str, Any]
    inputs: Sequence[InputData]


@contextmanager
def held_ledger(location: str, notice: Notice, form: Form | None = None) -> Iterator[tuple[Ledger, Lease]]:
    """The ledger at a place, which nobody else writes to meanwhile. `UsageError` for a file or another writer."""
    from tune.forms import FOLDS
    from tune.ledger import Ledger

    if not is_remote(location) and Path(location).exists() and not Path(location).is_dir():
        raise UsageError(f"{location}: is a file; --out must be a folder")
    out = folder(location)
    with Lease(out, notice) as lease:
        yield Ledger(out, notice, form or FOLDS), lease


@dataclass
class SweepRun(ABC, Generic[SummaryT]):
    """One run of a sweep, under the lease of its ledger. `about`: what the ledger says of it, None for a new one."""

    plan: Any  # a `pipelines.sweep_asked.Plan`; each kind of sweep has one of its own
    ledger: Ledger
    lease: Lease
    about: dict[str, Any] | None
    store: Store
    started: float
    quiet: bool
    notice: Notice
    workers: int = field(default=0, init=False)
    cluster: ExitStack = field(default_factory=ExitStack, init=False)  # Ray is started for work alone, see `nodes`

    measure: ClassVar[str]  # column of the histories that decides between trials

    @abstractmethod
    def parent_run(self) -> ParentRun:
        """How the sweep is entered in the tracking store."""

    @abstractmethod
    def subject(self) -> Subject:
        """What the trials learn from."""

    @abstractmethod
    def trials(self, nodes: list[Node]) -> tuple[list[Trial] | Proposing, Callable[[Trial], int]]:
        """The trials, or how they come about, and the memory to ask Ray for."""

    @abstractmethod
    def measured(self, result: TrialResult) -> tuple[pd.DataFrame, dict[str, float]]:
        """What the tracking store is told of a trial: its history (fold, epoch, ...) and its final numbers."""

    @abstractmethod
    def conclude(
        self, run: TrackedSweep, log: SweepLog, results: list[TrialResult], tracked: dict[str, Any]
    ) -> SummaryT:
        """From the trials to the registered model; `tracked`: what an earlier run of the sweep had got done."""

    def run(self) -> SummaryT:
        """Everything from the trials to the registered model."""
        from ms2img.tracking.store import StoreError
        from ms2img.tracking.sweeps import track_sweep
        from tune.ledger import TRACKING_NAME

        tracked = self.ledger.read_json(TRACKING_NAME)
        entered = self.parent_run()
        with self.cluster:
            if self.about is None:
                self._begin()
            try:
                with track_sweep(
                    self.store,
                    name=entered.name,
                    config=self.plan.config.model_dump(mode="json"),
                    tags=entered.tags,
                    inputs=entered.inputs,
                    run_id=tracked.get("run_id"),
                ) as run:
                    if tracked.get("run_id") != run.run_id:
                        tracked = {"run_id": run.run_id}
                        self.ledger.write_json(TRACKING_NAME, tracked)
                    return self._tracked(run, tracked)
            except StoreError as error:
                raise JobError(f"{error}; nothing that was trained is lost; {go_on(self.plan.config)}") from None

    def _tracked(self, run: TrackedSweep, tracked: dict[str, Any]) -> SummaryT:
        """What is done with a run open in the store."""
        from pipelines.sweep_log import SweepLog

        log = SweepLog(run, self.measured, self.notice)
        try:
            self._search(log)
        except JobError as error:
            raise JobError(f"{error}; {go_on(self.plan.config)}") from None
        self.lease.require()  # a machine that slept may have lost it: the winner is the other job's then
        return self.conclude(run, log, self.results(), tracked)

    def _begin(self) -> None:
        """Write what the sweep is. How much memory a trial may take is part of it: it decides on micro-batches."""
        nodes = self.nodes()
        slots(self.plan.config, nodes)  # a trial that has no room anywhere is refused before there is a sweep
        limit = max(node.memory for node in nodes)
        self.about = {"identity": self.plan.identity(), "memory_limit": limit}
        self.ledger.begin(self.about)

    def memory_limit(self) -> int:
        """Bytes that a trial may take."""
        if self.about is None:
            raise RuntimeError("the sweep was not begun")
        limit: int = self.about["memory_limit"]
        return limit

    def nodes(self) -> list[Node]:
        """The machines that Ray offers; connects to it at the first call. A resumed sweep may need none."""
        from cluster.connect import connected

        self.cluster.enter_context(connected(writes=[self.plan.config.ledger_location()], is_tracked=True))
        return Node.connected()

    def gpus(self) -> float:
        """GPUs of a trial."""
        return gpus_per_trial(self.plan.config, self.nodes())

    def seconds(self) -> float:
        """Since this run of the sweep was started."""
        return time.monotonic() - self.started

    def has_trials_left(self) -> bool:
        """Whether any trial is to be trained."""
        entries = self.ledger.entries(self.plan.trainings).values()
        return sum(entry.has_ended for entry in entries) < self.plan.config.trials

    def results(self) -> list[TrialResult]:
        """All trials that have ended."""
        entries = self.ledger.entries(self.plan.trainings, again=False).values()
        return [self.ledger.result(entry, self.plan.trainings) for entry in entries]

    def _search(self, log: SweepLog) -> None:
        """Run the trials that are left."""
        from pipelines.sweep_live import SweepView
        from pipelines.sweep_log import Told
        from tune.search import run_search
        from tune.settings import Search

        config, plan = self.plan.config, self.plan
        with SweepView(config.trials, plan.trainings, plan.epochs, quiet=self.quiet, measure=self.measure) as view:
            listener = Told(view, log)
            if not self.has_trials_left():
                for result in self.results():
                    listener.ended(result)
                return
            nodes = self.nodes()
            trials, request = self.trials(nodes)
            search = Search(
                cpus_per_trial=config.cpus_per_trial,
                gpus_per_trial=gpus_per_trial(config, nodes),
                concurrent=slots(config, nodes),
                scheduler=config.scheduler,
                epochs=plan.epochs,
                checkpoint_seconds=config.checkpoint_seconds,
                request=request,
            )
            spent = run_search(trials, self.subject(), self.ledger, search, listener)
            self.workers = len(spent.workers)
