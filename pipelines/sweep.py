"""``ms2img sweep``: a hyper-parameter search on Ray Tune, to a winner that is refitted, tracked and registered.

plan -> ledger -> trials -> choice -> refit -> records -> registry. Whatever ends it early, the ledger in ``--out``
holds what was done, and ``--resume`` goes on from there: no trial is lost, none is trained twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.sweep_config import SweepConfig
from pipelines.sweep_nodes import Node
from pipelines.sweep_resume import checked
from pipelines.sweep_run import Notice, ParentRun, SweepRun, held_ledger

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.ms2toimg.record import CvRecord
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.sweeps import TrackedSweep
    from pipelines.sweep_log import SweepLog
    from pipelines.sweep_plan import SweepPlan
    from tune.record import SweepRecord
    from tune.settings import Proposing
    from tune.training import Subject
    from tune.trial import Trial, TrialResult


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

    started = time.monotonic()
    plan = SweepPlan.make(config)
    with held_ledger(config.ledger_location(), notice) as (ledger, lease):
        about = checked(plan, ledger)
        return CnnSweep(plan, ledger, lease, about, open_store(), started, quiet, notice).run()


@dataclass
class CnnSweep(SweepRun[SweepSummary]):
    """The sweep of the CNN over the folds of an assay."""

    plan: SweepPlan
    measure: ClassVar[str] = "validation_accuracy"

    def parent_run(self) -> ParentRun:
        """See `SweepRun`."""
        from pipelines.registering import inputs

        config, cohort = self.plan.config, self.plan.cohort
        return ParentRun(
            name=f"{config.assay} sweep {self.plan.space.name}",
            tags={"assay": config.assay, "space": self.plan.space.name, "simulated": cohort.simulated},
            inputs=inputs(cohort, config.samples, config.images),
        )

    def subject(self) -> Subject:
        """See `SweepRun`."""
        from tune.worker import Cohort

        return Cohort(self.plan.cohort.images, self.plan.cohort.labels.target, self.plan.tasks)

    def measured(self, result: TrialResult) -> tuple[pd.DataFrame, dict[str, float]]:
        """See `SweepRun`."""
        from pipelines.sweep_log import of_folds

        return of_folds(result, self.plan.cohort.labels, self.plan.tasks)

    def trials(self, nodes: list[Node]) -> tuple[list[Trial] | Proposing, Callable[[Trial], int]]:
        """See `SweepRun`."""
        from tune.settings import Proposing

        config, plan, limit = self.plan.config, self.plan, self.memory_limit()
        if config.searcher == "optuna":
            source = Proposing(
                plan.space, config.seed, config.trials, lambda number, values: plan.trial(number, values, limit)
            )
            return source, lambda trial: plan.request(trial, nodes)
        trials = plan.random_trials(limit)
        requests = plan.requests(trials, nodes)
        return trials, lambda trial: requests[trial.number]

    def conclude(
        self, run: TrackedSweep, log: SweepLog, results: list[TrialResult], tracked: dict[str, Any]
    ) -> SweepSummary:
        """See `SweepRun`."""
        from ms2img.tracking.registry import Registration
        from pipelines.registering import register_model
        from pipelines.sweep_winner import final_training, told
        from tune.choose import winner
        from tune.ledger import TRACKING_NAME
        from tune.record import nested_record, sweep_record

        config, plan = self.plan.config, self.plan
        cohort, tasks = plan.cohort, plan.tasks
        best = winner(results)
        trial = plan.trial(best.number, best.values, self.memory_limit())
        refit, weights = final_training(plan, self.ledger, trial, best, gpus=self.gpus, quiet=self.quiet)
        log.finish(results)
        about = told(plan, trial, seconds=self.seconds())
        record = sweep_record(cohort.labels, tasks, results, about)
        nested = nested_record(
            cohort.labels,
            cohort.images,
            plan.trial_tasks(trial),
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
                trial.model,
                weights,
                nested,
                preset=f"sweep {plan.space.name}",
            )
            self.ledger.write_json(TRACKING_NAME, {**tracked, "model": asdict(registration)})
        return SweepSummary(
            run_id=run.run_id,
            registration=registration,
            sweep=record,
            record=nested,
            location=self.ledger.out.location,
            workers=self.workers,
            seconds=self.seconds(),
        )
