"""``ms2img sweep``: a hyper-parameter search on Ray Tune, to a winner that is refitted, tracked and registered.

plan -> ledger -> trials -> choice -> refit -> records -> registry. Whatever ends it early, the ledger in ``--out``
holds what was done, and ``--resume`` goes on from there: no trial is lost, none is trained twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
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
    with Lease(out, notice):
        ledger = Ledger(out, notice)
        about = checked(plan, ledger)
        store = open_store()
        return _Sweep(plan, ledger, about, store, started, quiet=quiet, notice=notice).run()


class _Sweep:
    """One run of a sweep, under the lease of its ledger."""

    def __init__(
        self,
        plan: SweepPlan,
        ledger: Ledger,
        about: dict[str, Any] | None,
        store: Store,
        started: float,
        *,
        quiet: bool,
        notice: Notice,
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._about = about
        self._store = store
        self._started = started
        self._quiet = quiet
        self._notice = notice
        self._config = plan.config
        self._workers = 0
        self._cluster = ExitStack()  # Ray is started for work alone, see `_nodes`

    def run(self) -> SweepSummary:
        """Everything from the trials to the registered model."""
        from ms2img.tracking.store import StoreError
        from ms2img.tracking.sweeps import track_sweep
        from pipelines.registering import inputs
        from tune.ledger import TRACKING_NAME

        config, cohort = self._config, self._plan.cohort
        tracked = self._ledger.read_json(TRACKING_NAME)
        with self._cluster:
            if self._about is None:
                self._begin()
            try:
                with track_sweep(
                    self._store,
                    name=f"{config.assay} sweep {self._plan.space.name}",
                    config=config.model_dump(mode="json"),
                    tags={"assay": config.assay, "space": self._plan.space.name, "simulated": cohort.simulated},
                    inputs=inputs(cohort, config.samples, config.images),
                    run_id=tracked.get("run_id"),
                ) as run:
                    if tracked.get("run_id") != run.run_id:
                        tracked = {"run_id": run.run_id}
                        self._ledger.write_json(TRACKING_NAME, tracked)
                    return self._tracked(run, tracked)
            except StoreError as error:
                raise JobError(f"{error}; nothing that was trained is lost; {go_on(self._config)}") from None

    def _tracked(self, run: TrackedSweep, tracked: dict[str, Any]) -> SweepSummary:
        """What is done with a run open in the store; `tracked`: what an earlier run of the sweep had got done there."""
        from ms2img.tracking.registry import Registration
        from pipelines.registering import register_model
        from pipelines.sweep_log import SweepLog
        from pipelines.sweep_winner import final_training, told
        from tune.choose import winner
        from tune.ledger import TRACKING_NAME
        from tune.record import nested_record, sweep_record

        config, plan = self._config, self._plan
        cohort, tasks = plan.cohort, plan.tasks
        log = SweepLog(run, cohort.labels, tasks, self._notice)
        try:
            self._search(log)
        except JobError as error:
            raise JobError(f"{error}; {go_on(self._config)}") from None
        results = self._results()
        best = winner(results)
        trial = self._plan.trial(best.number, best.values, self._memory_limit())
        refit, weights = final_training(plan, self._ledger, trial, best, gpus=self._gpus, quiet=self._quiet)
        log.finish(results)
        about = told(plan, trial, seconds=time.monotonic() - self._started)
        record = sweep_record(cohort.labels, tasks, results, about)
        nested = nested_record(
            cohort.labels,
            cohort.images,
            self._plan.trial_tasks(trial),
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
                self._store,
                run.run_id,
                config.label_config(),
                cohort,
                trial.cnn,
                weights,
                nested,
                preset=f"sweep {self._plan.space.name}",
            )
            self._ledger.write_json(TRACKING_NAME, {**tracked, "model": asdict(registration)})
        return SweepSummary(
            run_id=run.run_id,
            registration=registration,
            sweep=record,
            record=nested,
            location=self._ledger.out.location,
            workers=self._workers,
            seconds=time.monotonic() - self._started,
        )

    def _begin(self) -> None:
        """Write what the sweep is. How much memory a trial may take is part of it: it decides on micro-batches."""
        nodes = self._nodes()
        self._plan.slots(nodes)  # a trial that has no room anywhere is refused before there is a sweep
        limit = max(node.memory for node in nodes)
        self._about = {"identity": self._plan.identity(), "memory_limit": limit}
        self._ledger.begin(self._about)

    def _memory_limit(self) -> int:
        if self._about is None:
            raise RuntimeError("the sweep was not begun")
        limit: int = self._about["memory_limit"]
        return limit

    def _nodes(self) -> list[Node]:
        """The machines that Ray offers; connects to it at the first call. A resumed sweep may need none."""
        from cluster.connect import connected
        from pipelines.sweep_plan import Node

        self._cluster.enter_context(connected())
        return Node.connected()

    def _gpus(self) -> float:
        return self._plan.gpus_per_trial(self._nodes())

    def _search(self, log: SweepLog) -> None:
        """Run the trials that are left."""
        from pipelines.sweep_live import SweepView
        from pipelines.sweep_log import Told
        from tune.search import run_search
        from tune.settings import Search
        from tune.worker import Cohort

        config, plan = self._config, self._plan
        entries = self._ledger.entries(config.folds)
        with SweepView(config.trials, config.folds, plan.epochs, quiet=self._quiet) as view:
            listener = Told(view, log)
            if sum(entry.has_ended for entry in entries.values()) == config.trials:
                for result in self._results():
                    listener.ended(result)
                return
            nodes = self._nodes()
            if len(nodes) > 1 and not is_remote(config.ledger_location()):
                self._notice(f"{self._ledger.out.location}: must be a folder that all {len(nodes)} machines reach")
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
            spent = run_search(trials, cohort, self._ledger, search, listener)
            self._workers = len(spent.workers)

    def _trials(self, nodes: list[Node]) -> tuple[list[Trial] | Proposing, Callable[[Trial], int]]:
        """The trials, or how they come about, and the memory to ask Ray for."""
        from tune.settings import Proposing

        config, plan, limit = self._config, self._plan, self._memory_limit()
        if config.searcher == "optuna":
            source = Proposing(
                plan.space, config.seed, config.trials, lambda number, values: plan.trial(number, values, limit)
            )
            return source, lambda trial: plan.request(trial, nodes)
        trials = plan.random_trials(limit)
        requests = plan.requests(trials, nodes)
        return trials, lambda trial: requests[trial.number]

    def _results(self) -> list[TrialResult]:
        entries = self._ledger.entries(self._config.folds, again=False).values()
        return [self._ledger.result(entry, self._config.folds) for entry in entries]
