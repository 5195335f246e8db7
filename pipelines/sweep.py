"""``ms2img sweep``: a hyper-parameter search on Ray Tune, to a winner that is refitted, tracked and registered.

plan -> ledger -> trials -> choice -> refit -> records -> registry. Whatever ends it early, the ledger in ``--out``
holds what was done, and ``--resume`` goes on from there: no trial is lost, none is trained twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.lease import Lease
from ms2img.io.storage import folder, is_remote
from pipelines.sweep_config import SweepConfig
from pipelines.sweep_resume import checked, go_on

if TYPE_CHECKING:
    from ms2img.ms2toimg.record import CvRecord
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.store import Store
    from ms2img.tracking.sweeps import TrackedSweep
    from pipelines.sweep_log import SweepLog
    from pipelines.sweep_plan import Node, SweepPlan
    from tune.ledger import Ledger
    from tune.record import SweepRecord
    from tune.settings import Proposing
    from tune.trial import Trial, TrialResult

Notice = Callable[[str], None]


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep gave: its parent run, the registered winner, the search's record, and the nested cross-validation.

    `workers`: processes that trained in this run of it, each of which fetched the images once.
    """

    run_id: str
    registration: Registration
    sweep: SweepRecord
    record: CvRecord
    location: str
    workers: int
    seconds: float


def sweep(config: SweepConfig, *, quiet: bool = False, notice: Notice = lambda _: None) -> SweepSummary:
    """Search, choose, refit, record, register; or go on with a sweep that was interrupted.

    `notice` is told what a person should know though all is well, such as a damaged file whose trial is done again.

    Raises `UsageError` before any work for wrong input, an ``--out`` that holds another sweep, or one that another job
    is writing; `JobError` when no trial finished or the job cannot go on.
    """
    from ms2img.tracking.store import open_store
    from pipelines.sweep_plan import SweepPlan
    from tune.ledger import Ledger

    started = time.monotonic()
    plan = SweepPlan.make(config)
    location = config.ledger_location()
    if not is_remote(location) and Path(location).exists() and not Path(location).is_dir():
        raise UsageError(f"{location}: is a file; --out must be a folder")
    out = folder(location)
    with Lease(out, notice) as lease:
        ledger = Ledger(out, notice)
        about = checked(plan, ledger)
        store = open_store()
        return _Sweep(plan, ledger, lease, about, store, started, quiet, notice).run()


@dataclass
class _Sweep:
    """One run of a sweep, under the lease of its ledger. `about`: what the ledger says of it, None for a new one."""

    plan: SweepPlan
    ledger: Ledger
    lease: Lease
    about: dict[str, Any] | None
    store: Store
    started: float
    quiet: bool
    notice: Notice
    workers: int = field(default=0, init=False)
    cluster: ExitStack = field(default_factory=ExitStack, init=False)  # Ray is started for work alone, see `_nodes`

    @property
    def config(self) -> SweepConfig:
        """The options."""
        return self.plan.config

    def run(self) -> SweepSummary:
        """Everything from the trials to the registered model."""
        from ms2img.tracking.store import StoreError
        from ms2img.tracking.sweeps import track_sweep
        from pipelines.registering import inputs
        from tune.ledger import TRACKING_NAME

        config, cohort = self.config, self.plan.cohort
        tracked = self.ledger.read_json(TRACKING_NAME)
        with self.cluster:
            if self.about is None:
                self._begin()
            try:
                with track_sweep(
                    self.store,
                    name=f"{config.assay} sweep {self.plan.space.name}",
                    config=config.model_dump(mode="json"),
                    tags={"assay": config.assay, "space": self.plan.space.name, "simulated": cohort.simulated},
                    inputs=inputs(cohort, config.samples, config.images),
                    run_id=tracked.get("run_id"),
                ) as run:
                    if tracked.get("run_id") != run.run_id:
                        tracked = {"run_id": run.run_id}
                        self.ledger.write_json(TRACKING_NAME, tracked)
                    return self._tracked(run, tracked)
            except StoreError as error:
                raise JobError(f"{error}; nothing that was trained is lost; {go_on(self.config)}") from None

    def _tracked(self, run: TrackedSweep, tracked: dict[str, Any]) -> SweepSummary:
        """What is done with a run open in the store; `tracked`: what an earlier run of the sweep had got done there."""
        from ms2img.tracking.registry import Registration
        from pipelines.registering import register_model
        from pipelines.sweep_log import SweepLog
        from pipelines.sweep_winner import final_training, told
        from tune.choose import winner
        from tune.ledger import TRACKING_NAME
        from tune.record import nested_record, sweep_record

        config, plan = self.config, self.plan
        cohort, tasks = plan.cohort, plan.tasks
        log = SweepLog(run, cohort.labels, tasks, self.notice)
        try:
            self._search(log)
        except JobError as error:
            raise JobError(f"{error}; {go_on(self.config)}") from None
        self.lease.require()  # a machine that slept may have lost it: the winner is the other job's then
        results = self._results()
        best = winner(results)
        trial = self.plan.trial(best.number, best.values, self._memory_limit())
        refit, weights = final_training(plan, self.ledger, trial, best, gpus=self._gpus, quiet=self.quiet)
        log.finish(results)
        about = told(plan, trial, seconds=time.monotonic() - self.started)
        record = sweep_record(cohort.labels, tasks, results, about)
        nested = nested_record(
            cohort.labels,
            cohort.images,
            self.plan.trial_tasks(trial),
            results,
            refit=refit,
            refit_epochs=len(refit.history),
            about=about,
        )
        if "model" in tracked:
            registration = Registration(**tracked["model"])
        else:
            run.log_sweep(record)
            run.log_record(nested)
            run.tag_best(run.logged[best.number], best.number)
            registration = register_model(
                self.store,
                run.run_id,
                config.label_config(),
                cohort,
                trial.cnn,
                weights,
                nested,
                preset=f"sweep {self.plan.space.name}",
            )
            self.ledger.write_json(TRACKING_NAME, {**tracked, "model": asdict(registration)})
        return SweepSummary(
            run_id=run.run_id,
            registration=registration,
            sweep=record,
            record=nested,
            location=self.ledger.out.location,
            workers=self.workers,
            seconds=time.monotonic() - self.started,
        )

    def _begin(self) -> None:
        """Write what the sweep is. How much memory a trial may take is part of it: it decides on micro-batches."""
        nodes = self._nodes()
        self.plan.slots(nodes)  # a trial that has no room anywhere is refused before there is a sweep
        limit = max(node.memory for node in nodes)
        self.about = {"identity": self.plan.identity(), "memory_limit": limit}
        self.ledger.begin(self.about)

    def _memory_limit(self) -> int:
        if self.about is None:
            raise RuntimeError("the sweep was not begun")
        limit: int = self.about["memory_limit"]
        return limit

    def _nodes(self) -> list[Node]:
        """The machines that Ray offers; connects to it at the first call. A resumed sweep may need none."""
        from cluster.connect import connected
        from pipelines.sweep_plan import Node

        self.cluster.enter_context(connected(writes=[self.config.ledger_location()], is_tracked=True))
        return Node.connected()

    def _gpus(self) -> float:
        return self.plan.gpus_per_trial(self._nodes())

    def _search(self, log: SweepLog) -> None:
        """Run the trials that are left."""
        from pipelines.sweep_live import SweepView
        from pipelines.sweep_log import Told
        from tune.search import run_search
        from tune.settings import Search
        from tune.worker import Cohort

        config, plan = self.config, self.plan
        entries = self.ledger.entries(config.folds)
        with SweepView(config.trials, config.folds, plan.epochs, quiet=self.quiet) as view:
            listener = Told(view, log)
            if sum(entry.has_ended for entry in entries.values()) == config.trials:
                for result in self._results():
                    listener.ended(result)
                return
            nodes = self._nodes()
            trials, request = self._trials(nodes)
            search = Search(
                cpus_per_trial=config.cpus_per_trial,
                gpus_per_trial=plan.gpus_per_trial(nodes),
                concurrent=plan.slots(nodes),
                scheduler=config.scheduler,
                epochs=plan.epochs,
                checkpoint_seconds=config.checkpoint_seconds,
                request=request,
            )
            cohort = Cohort(plan.cohort.images, plan.cohort.labels.target, plan.tasks)
            spent = run_search(trials, cohort, self.ledger, search, listener)
            self.workers = len(spent.workers)

    def _trials(self, nodes: list[Node]) -> tuple[list[Trial] | Proposing, Callable[[Trial], int]]:
        """The trials, or how they come about, and the memory to ask Ray for."""
        from tune.settings import Proposing

        config, plan, limit = self.config, self.plan, self._memory_limit()
        if config.searcher == "optuna":
            source = Proposing(
                plan.space, config.seed, config.trials, lambda number, values: plan.trial(number, values, limit)
            )
            return source, lambda trial: plan.request(trial, nodes)
        trials = plan.random_trials(limit)
        requests = plan.requests(trials, nodes)
        return trials, lambda trial: requests[trial.number]

    def _results(self) -> list[TrialResult]:
        entries = self.ledger.entries(self.config.folds, again=False).values()
        return [self.ledger.result(entry, self.config.folds) for entry in entries]
