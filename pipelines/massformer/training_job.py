"""``ms2img massformer train`` and ``finetune``, step by step: data, seeds, record, bundle, registry.

Everything that can be wrong with the library or the options is found before Ray or the tracking store is touched.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ms2img.io.location import absolute
from ms2img.io.storage import require_access
from pipelines.massformer.seed_work import SpectrumSeed, SpectrumTraining
from pipelines.progress import Steps
from pipelines.seeds.work import SeedTask, read_result

if TYPE_CHECKING:
    from ms2img.learn.fit_config import FitConfig
    from ms2img.massformer.dataset import TrainingSet
    from ms2img.massformer.model import ModelConfig
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.seeds import SeedsRun
    from pipelines.massformer.train import DataOptions, TrainConfig

#: Of a training's config: what another machine, or another number of seeds, may have otherwise.
NOT_THE_TRAINING = ("seed", "threads", "device")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is trained. `preset`: its name. `parent`: what the weights came from, "" where they are drawn anew."""

    data: TrainingSet
    model: ModelConfig
    fit: FitConfig
    preset: str
    parent: str = ""
    initial: bytes = b""

    def training(self) -> SpectrumTraining:
        """What the workers are given."""
        return SpectrumTraining(self.data, self.model, self.initial)

    def fingerprint(self, max_seconds: float | None) -> str:
        """A hash of all that the result follows from, but for the seed."""
        fit = {name: value for name, value in self.fit.to_dict().items() if name not in NOT_THE_TRAINING}
        told = [
            self.data.fingerprints,
            self.data.settings.to_dict(),
            self.model.to_dict(),
            fit,
            max_seconds,
            self.parent,
        ]
        return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, eq=False)
class TrainSummary:
    """What a training gave: its run, the registered version, and each seed; `best`: the seed of the weights."""

    run_id: str
    registration: Registration
    data: TrainingSet
    library: str
    seeds: list[SpectrumSeed]
    best: int
    cosine_mean: float | None
    cosine_sd: float | None
    seconds: float


def train(config: TrainConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None) -> TrainSummary:
    """Train the seeds, record, register the best by validation.

    Raises `UsageError` before any work for wrong input, and when the tracking store cannot be reached.
    """
    from ms2img.massformer.training import TRAINING
    from pipelines.massformer.training_inputs import training_set

    started = time.monotonic()
    data = training_set(config.library, config.data_settings(), config.spectrum_config(), name=config.name)
    plan = Plan(data, config.network_config(), config.fit_config(TRAINING[config.preset]), config.preset)
    return run(plan, config, started=started, quiet=quiet, notice=notice)


def run(plan: Plan, config: DataOptions, *, started: float, quiet: bool, notice: Callable[[str], None]) -> TrainSummary:
    """Train a plan's seeds, as far as they are not done, and register the best of them."""
    from cluster.connect import connected
    from ms2img.io.storage import folder
    from ms2img.massformer.training import require_batches
    from ms2img.tracking.entries import InputData
    from ms2img.tracking.seeds import track_seeds
    from ms2img.tracking.store import open_store
    from pipelines.seeds.on_ray import train_seeds

    data, work = plan.data, config.work or config.work_place()
    require_batches(data, plan.model, plan.fit, workers=config.workers_per_seed)
    require_access([work])
    tasks = [_task(plan, config, seed, absolute(work)) for seed in config.seed_numbers()]
    store = open_store()
    left = [task for task in tasks if read_result(task, SpectrumSeed) is None]
    if len(left) < len(tasks):
        notice(f"{len(tasks) - len(left)} of {len(tasks)} seeds are done already, in {work}")
    with track_seeds(
        store,
        name=f"{data.library} {plan.model.kind} {plan.preset}",
        config={**config.model_dump(mode="json"), "fit": plan.fit.to_dict(), "network": plan.model.to_dict()},
        tags={"system": "massformer", "library": data.library, "preset": plan.preset, "simulated": data.simulated},
        inputs=[InputData("library", absolute(config.library), data.fingerprint)],
    ) as tracked:
        if left:
            with (
                connected(writes=[folder(work).location], is_tracked=True),
                Steps(len(left) * plan.fit.epochs, "train", quiet=quiet) as progress,
            ):
                train_seeds(plan.training(), left, config.resources(), _tell(progress))
        seeds = [result for task in tasks if (result := read_result(task, SpectrumSeed)) is not None]
        return _finish(tracked, plan, config, seeds, started)


def _task(plan: Plan, config: DataOptions, seed: int, work: str) -> SeedTask:
    return SeedTask(
        seed=seed,
        fit=replace(plan.fit, seed=seed),
        max_seconds=config.max_seconds(),
        work=work,
        name=f"{plan.fingerprint(config.max_seconds())}-seed{seed}",
        checkpoint_seconds=config.checkpoint_seconds,
    )


def _finish(
    tracked: SeedsRun, plan: Plan, config: DataOptions, seeds: list[SpectrumSeed], started: float
) -> TrainSummary:
    """Log the seeds and register the best."""
    from ms2img.tracking.registry import register

    cosines = [each.cosine for each in seeds]
    mean = statistics.fmean(cosines) if np.isfinite(cosines).all() else None
    spread = statistics.stdev(cosines) if mean is not None and len(cosines) > 1 else None
    # Where nothing was set aside to validate on, the first seed: no figure tells one from another.
    best = max(seeds, key=lambda each: each.cosine) if mean is not None else seeds[0]
    for each in seeds:
        tracked.log_seed(each.seed, each.history, {**each.to_dict(), "validation_cosine": each.cosine})
    tracked.log_record(_record(plan.data, seeds, {"cosine_mean": mean, "cosine_sd": spread, "best_seed": best.seed}))
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        save_plan(scratch, plan, best, n_seeds=len(seeds), metrics={"cosine_mean": mean, "cosine_sd": spread})
        registration = register(tracked.store, scratch, run_id=tracked.run_id)
    return TrainSummary(
        run_id=tracked.run_id,
        registration=registration,
        data=plan.data,
        library=config.library,
        seeds=seeds,
        best=best.seed,
        cosine_mean=mean,
        cosine_sd=spread,
        seconds=time.monotonic() - started,
    )


def save_plan(
    folder: str, plan: Plan, result: SpectrumSeed, *, n_seeds: int, metrics: Mapping[str, float | None]
) -> None:
    """The bundle of one trained seed."""
    from ms2img.massformer.bundle import save_bundle

    data = plan.data
    card = {
        "library": data.library,
        "kind": plan.model.kind,
        "preset": plan.preset,
        "seed": result.seed,
        "seeds": n_seeds,
        "epoch": result.best_epoch,
        "molecules": data.n_molecules,
        "spectra": len(data.train),
        "licences": data.licences,
        "parent": plan.parent,
        "simulated": data.simulated,
        "fingerprints": data.fingerprints,
        "metrics": {**metrics, "validation_cosine": result.cosine},
    }
    save_bundle(
        folder,
        model_state=result.weights,
        model=plan.model,
        spectrum=data.spectrum,
        vocabulary=data.vocabulary,
        selfies=data.selfies,
        data=data.settings,
        part=data.part,
        structures=data.structures,
        card=card,
    )


def _record(data: TrainingSet, seeds: list[SpectrumSeed], summary: dict[str, Any]) -> Any:
    import pandas as pd

    from ms2img.tracking.seeds import SeedsRecord

    molecules = pd.DataFrame(
        {
            "molecule_id": data.validation_molecules,
            "cosine": np.mean([each.cosines for each in seeds], axis=0),
        }
    )
    about = {"system": "massformer", "fingerprints": data.fingerprints, "seeds": len(seeds)}
    return SeedsRecord(molecules, {**summary, **about})


def _tell(progress: Steps) -> Callable[[int, Mapping[str, float]], None]:
    """A listener that counts epochs and shows what the latest one gave."""

    def on_epoch(seed: int, row: Mapping[str, float]) -> None:
        shown = f", validation cosine {row['validation_cosine']:.3f}" if "validation_cosine" in row else ""
        progress.advance(note=f"(seed {seed}, epoch {row['epoch']:.0f}: loss {row['train_loss']:.3f}{shown})")

    return on_epoch
