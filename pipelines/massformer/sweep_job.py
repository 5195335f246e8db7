"""``ms2img massformer sweep``, step by step: plan, ledger, trials, choice, the winner's training, registry.

MassFormer, section 4.3: a Bayesian search of 100 trials for each model, judged by the validation part alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from ms2img.io.location import absolute
from ms2img.io.storage import join
from pipelines.massformer.sweep_config import SweepConfig
from pipelines.massformer.sweep_plan import SweepPlan
from pipelines.massformer.sweep_record import SweepRecord, history, numbers, sweep_record
from pipelines.massformer.sweep_winner import final_training, log_search, log_seed, register_winner
from pipelines.sweep_nodes import Node
from pipelines.sweep_resume import checked
from pipelines.sweep_run import Notice, ParentRun, SweepRun, held_ledger
from tune.choose import winner
from tune.forms import SPLIT
from tune.ledger import TRACKING_NAME
from tune.molecules import COSINE, Molecules
from tune.settings import Proposing
from tune.trial import Trial, TrialResult

if TYPE_CHECKING:
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.sweeps import TrackedSweep
    from pipelines.sweep_log import SweepLog


@dataclass(frozen=True, eq=False)
class SweepSummary:
    """What a sweep gave: its parent run, the registered winner and the record; `workers`: processes that trained."""

    run_id: str
    registration: Registration
    record: SweepRecord
    library: str
    location: str
    workers: int
    seconds: float


def sweep(config: SweepConfig, *, quiet: bool = False, notice: Notice = lambda _: None) -> SweepSummary:
    """Search, choose, train the winner again, register; or go on with a sweep that was interrupted.

    Raises `UsageError` before any work for wrong input, an ``--out`` that holds another sweep, or one that another job
    is writing; `JobError` when no trial finished or the job cannot go on.
    """
    from ms2img.tracking.store import open_store

    started = time.monotonic()
    plan = SweepPlan.make(config)
    with held_ledger(config.ledger_location(), notice, SPLIT) as (ledger, lease):
        about = checked(plan, ledger)
        return SpectrumSweep(plan, ledger, lease, about, open_store(), started, quiet, notice).run()


@dataclass
class SpectrumSweep(SweepRun[SweepSummary]):
    """The sweep of a spectrum model on one split."""

    plan: SweepPlan
    measure: ClassVar[str] = COSINE

    def parent_run(self) -> ParentRun:
        """See `SweepRun`."""
        from ms2img.tracking.entries import InputData

        data, space = self.plan.data, self.plan.space
        return ParentRun(
            name=f"{data.library} sweep {space.name}",
            tags={"system": "massformer", "library": data.library, "space": space.name, "simulated": data.simulated},
            inputs=[InputData("library", absolute(self.plan.config.library), data.fingerprint)],
        )

    def subject(self) -> Molecules:
        """See `SweepRun`."""
        return Molecules(self.plan.data, self.plan.config.max_seconds())

    def measured(self, result: TrialResult) -> tuple[pd.DataFrame, dict[str, float]]:
        """See `SweepRun`."""
        return history(result), numbers(result)

    def trials(self, nodes: list[Node]) -> tuple[list[Trial] | Proposing, Callable[[Trial], int]]:
        """See `SweepRun`; no memory is asked for."""
        plan, config = self.plan, self.plan.config
        source = Proposing(
            plan.space,
            config.seed,
            config.trials,
            plan.trial,
            max_seconds=self._budget(),
            random=config.searcher == "random",
        )
        return source, lambda _: 0

    def has_trials_left(self) -> bool:
        """See `SweepRun`; a trial that was begun is finished, whatever the time."""
        entries = self.ledger.entries(1).values()
        if any(not entry.has_ended for entry in entries):
            return True
        spent = max((entry.latest for entry in entries), default=0.0)
        return len(entries) < self.plan.config.trials and spent < self._budget()

    def _budget(self) -> float:
        hours = self.plan.config.max_hours
        return float("inf") if hours is None else 3600 * hours

    def conclude(
        self, run: TrackedSweep, log: SweepLog, results: list[TrialResult], tracked: dict[str, Any]
    ) -> SweepSummary:
        """See `SweepRun`. A sweep that was given more trials since is concluded again."""
        from ms2img.tracking.registry import Registration

        best = winner(results, COSINE)
        trial = self.plan.trial(best.number, best.values)
        place = join(self.ledger.out.location, "refit")
        refit = final_training(self.plan, trial, place, gpus=self.gpus, quiet=self.quiet)
        log.finish(results)
        record = sweep_record(results, self._about(refit.to_dict()))
        if tracked.get("trials") == len(results):
            registration = Registration(**tracked["model"])
        else:
            log_search(run, record)
            log_seed(run, self.plan, refit)
            run.tag_best(run.logged[best.number], best.number)
            if tracked.get("winner") == best.number:
                registration = Registration(**tracked["model"])
            else:
                registration = register_winner(self.store, run.run_id, self.plan, trial, refit)
            told = {"model": asdict(registration), "winner": best.number, "trials": len(results)}
            self.ledger.write_json(TRACKING_NAME, {**tracked, **told})
        return SweepSummary(
            run_id=run.run_id,
            registration=registration,
            record=record,
            library=self.plan.config.library,
            location=self.ledger.out.location,
            workers=self.workers,
            seconds=self.seconds(),
        )

    def _about(self, refit: dict[str, Any]) -> dict[str, Any]:
        """What the summary says of the sweep."""
        plan, config, data = self.plan, self.plan.config, self.plan.data
        return {
            "library": data.library,
            "kind": config.model,
            "simulated": data.simulated,
            "space": plan.space.to_dict(),
            "searcher": config.searcher,
            "scheduler": config.scheduler,
            "seed": config.seed,
            "epochs": plan.epochs,
            "split": data.settings.to_dict(),
            "spectrum": data.spectrum.to_dict(),
            "molecules": data.n_molecules,
            "spectra": len(data.train),
            "validation_spectra": len(data.validation),
            "fingerprints": data.fingerprints,
            "refit": refit,
            "config": config.model_dump(mode="json"),
        }
