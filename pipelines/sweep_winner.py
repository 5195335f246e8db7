"""The winner of a sweep: trained on everything labelled, and what the records say of how it came about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayError

from ms2img.errors import JobError
from ms2img.ms2toimg.crossvalidate import FoldResult, plan_refit
from ms2img.tracking.store import first_line
from pipelines.folds import FoldResources, train_folds
from pipelines.progress import Steps
from pipelines.registering import about
from pipelines.sweep_plan import SweepPlan
from pipelines.sweep_resume import go_on
from tune.ledger import Ledger
from tune.trial import Trial, TrialResult

if TYPE_CHECKING:
    from torch import Tensor


def final_training(
    plan: SweepPlan, ledger: Ledger, trial: Trial, best: TrialResult, *, gpus: Callable[[], float], quiet: bool
) -> tuple[FoldResult, dict[str, Tensor]]:
    """The winner's final training: kept in the ledger, so that it is done once.

    `gpus`: called, which may start Ray, when there is something to train: the GPUs it takes.
    """
    kept = ledger.refit(trial.number)
    if kept is not None:
        return kept
    cohort = plan.cohort
    task = plan_refit(cohort.labels, best.folds, trial.model, trial.fit)
    resources = FoldResources(1, plan.config.cpus_per_trial, gpus())
    with Steps(task.fit.epochs, "refit", quiet=quiet) as progress:
        try:
            [(refit, weights)] = train_folds(
                cohort.images,
                cohort.labels.target,
                [task],
                resources,
                on_epoch=lambda _, row: progress.advance(note=f"(training loss {row['train_loss']:.3f})"),
            )
        except RayError as error:
            raise JobError(f"Ray has stopped the refit: {first_line(error)}; {go_on(plan.config)}") from None
    ledger.write_refit(trial.number, refit, weights)
    return refit, weights


def told(plan: SweepPlan, trial: Trial, *, seconds: float) -> dict[str, Any]:
    """What the summaries of both records say of the sweep; `trial`: the winner."""
    config = plan.config
    return about(
        plan.cohort,
        plan.prints,
        samples=config.samples,
        images=config.images,
        seconds=seconds,
        assay=config.assay,
        preset=f"sweep {plan.space.name}",
        space=plan.space.to_dict(),
        seed=config.seed,
        searcher=config.searcher,
        scheduler=config.scheduler,
        epochs=plan.epochs,
        config=config.model_dump(mode="json"),
        fit=trial.fit.to_dict(),
    )
