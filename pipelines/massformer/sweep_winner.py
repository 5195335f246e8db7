"""The winner of a sweep of a spectrum model: trained as ``ms2img massformer train`` trains one seed, and registered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from pipelines.massformer.seed_work import SpectrumSeed, SpectrumTraining
from pipelines.massformer.sweep_plan import SweepPlan
from pipelines.massformer.sweep_record import SweepRecord
from pipelines.massformer.training_job import Plan, save_plan
from pipelines.progress import Steps
from pipelines.seeds.work import SeedTask, read_result
from tune.trial import Trial

if TYPE_CHECKING:
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.store import Store
    from ms2img.tracking.sweeps import TrackedSweep


def final_training(
    plan: SweepPlan, trial: Trial, place: str, *, gpus: Callable[[], float], quiet: bool
) -> SpectrumSeed:
    """The winner's training, with the trial's own seed and limits: kept in the folder `place`, so that it is done once.

    A trial keeps no weights; this gives those that it was judged by, and their cosine of each validation molecule.
    gpus: called, which may start Ray, when there is something to train: the GPUs it takes.
    """
    from pipelines.seeds.on_ray import SeedResources, train_seeds

    def task(device: str) -> SeedTask:
        return SeedTask(
            seed=trial.fit.seed,
            fit=replace(trial.fit, device=device),
            max_seconds=plan.config.max_seconds(),
            work=place,
            name=f"trial{trial.number:04}",
            checkpoint_seconds=plan.config.checkpoint_seconds,
        )

    kept = read_result(task("cpu"), SpectrumSeed)
    if kept is not None:
        return kept
    share = gpus()
    asked = task("cuda" if share else "cpu")
    resources = SeedResources(1, plan.config.cpus_per_trial, share)
    with Steps(plan.epochs, "winner", quiet=quiet) as progress:
        train_seeds(
            SpectrumTraining(plan.data, trial.model),
            [asked],
            resources,
            lambda _, row: progress.advance(note=f"(validation cosine {row['validation_cosine']:.3f})"),
        )
    found = read_result(asked, SpectrumSeed)
    if found is None:
        raise RuntimeError(f"{place}: {asked.name} was trained, yet is not there")
    return found


def log_search(run: TrackedSweep, record: SweepRecord) -> None:
    """Log the search: its numbers, those of the winner as ``winner.<name>``, and its record's files."""
    from ms2img.tracking.entries import log_folder, log_points, single_points
    from ms2img.tracking.sweeps import SWEEP_PATH

    summary = record.summary
    parts = {f"{part}.{key}": value for part in ("winner", "counts") for key, value in summary[part].items()}
    with run.reporting():
        log_points(run.client, run.run_id, single_points({**summary, **parts}))
        log_folder(run.store, run.run_id, SWEEP_PATH, record.save)


def log_seed(run: TrackedSweep, plan: SweepPlan, refit: SpectrumSeed) -> None:
    """Log what a comparison of models looks for, as ``ms2img massformer train`` does."""
    from ms2img.tracking.entries import log_folder
    from ms2img.tracking.seeds import SEEDS_PATH, SeedsRecord

    molecules = pd.DataFrame({"molecule_id": plan.data.validation_molecules, "cosine": refit.cosines})
    told = {"system": "massformer", "cosine_mean": refit.cosine, "cosine_sd": None, "best_seed": refit.seed, "seeds": 1}
    record = SeedsRecord(molecules, {**told, "fingerprints": plan.data.fingerprints})
    with run.reporting():
        log_folder(run.store, run.run_id, SEEDS_PATH, record.save)


def register_winner(store: Store, run_id: str, plan: SweepPlan, trial: Trial, refit: SpectrumSeed) -> Registration:
    """Make a bundle of the winner and register it as a model of the sweep's run."""
    from ms2img.tracking.registry import register

    told = Plan(plan.data, trial.model, trial.fit, preset=f"sweep {plan.space.name}")
    with tempfile.TemporaryDirectory(prefix="ms2img-") as folder:
        save_plan(folder, told, refit, n_seeds=1, metrics={"cosine_mean": refit.cosine, "cosine_sd": None})
        return register(store, folder, run_id=run_id)
