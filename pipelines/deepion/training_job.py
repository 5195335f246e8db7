"""``ms2img deepion train``, step by step: ion images, seeds, record, bundle, registry.

Everything that can be wrong with the images or the options is found before Ray or the tracking store is touched.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ms2img.deepion.objective import SPREAD
from ms2img.io.location import absolute
from ms2img.io.storage import folder, require_access
from pipelines.deepion.encoder_training import EncoderSeed
from pipelines.deepion.training_plan import Plan, plan_of, save_plan
from pipelines.progress import Steps
from pipelines.seeds.work import SeedTask, read_result

if TYPE_CHECKING:
    from ms2img.deepion.images import IonImages
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.seeds import SeedsRun
    from pipelines.deepion.train import TrainConfig


@dataclass(frozen=True, eq=False)
class TrainSummary:
    """What a training gave: its run, the registered version, and each seed; `best`: the seed of the weights."""

    run_id: str
    registration: Registration
    ions: IonImages
    name: str
    seeds: list[EncoderSeed]
    best: int
    retrieval_mean: float
    retrieval_sd: float | None
    seconds: float


def train(config: TrainConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None) -> TrainSummary:
    """Train the seeds, as far as they are not done, record them, register the best.

    Raises `UsageError` before any work for wrong input, and when the tracking store cannot be reached; `CollapseError`
    for a seed whose embeddings become the same, which is not kept.
    """
    from cluster.connect import connected
    from ms2img.tracking.entries import InputData
    from ms2img.tracking.seeds import track_seeds
    from ms2img.tracking.store import open_store
    from pipelines.seeds.on_ray import train_seeds

    started = time.monotonic()
    work = config.work or config.work_place()
    require_access([config.images, work, *([config.weights] if config.weights else [])])
    plan = plan_of(config)
    tasks = [_task(plan, config, seed, absolute(work)) for seed in config.seed_numbers()]
    store = open_store()
    left = [task for task in tasks if read_result(task, EncoderSeed) is None]
    if len(left) < len(tasks):
        notice(f"{len(tasks) - len(left)} of {len(tasks)} seeds are done already, in {work}")
    with track_seeds(
        store,
        name=f"{plan.section} {plan.preset}",
        config={
            **config.model_dump(mode="json"),
            "fit": plan.fit.to_dict(),
            "network": plan.training.model.to_dict(),
            "views": plan.training.views.to_dict(),
        },
        tags={
            "system": "deepion",
            "section": plan.section,
            "preset": plan.preset,
            "simulated": plan.ions.is_simulated,
        },
        inputs=[InputData("images", absolute(config.images), plan.ions.fingerprint)],
    ) as tracked:
        if left:
            with (
                connected(writes=[folder(work).location], is_tracked=True),
                Steps(len(left) * plan.fit.epochs, "train", quiet=quiet) as progress,
            ):
                train_seeds(plan.training, left, config.resources(), _tell(progress))
        seeds = [result for task in tasks if (result := read_result(task, EncoderSeed)) is not None]
        return _finish(tracked, plan, seeds, started)


def _task(plan: Plan, config: TrainConfig, seed: int, work: str) -> SeedTask:
    return SeedTask(
        seed=seed,
        fit=replace(plan.fit, seed=seed),
        max_seconds=config.max_seconds(),
        work=work,
        name=f"{plan.key(config.max_seconds())}-seed{seed}",
        checkpoint_seconds=config.checkpoint_seconds,
    )


def _finish(tracked: SeedsRun, plan: Plan, seeds: list[EncoderSeed], started: float) -> TrainSummary:
    """Log the seeds and register the best."""
    from ms2img.tracking.registry import register

    shares = [each.retrieval for each in seeds]
    mean, spread = statistics.fmean(shares), statistics.stdev(shares) if len(shares) > 1 else None
    best = max(seeds, key=lambda each: each.retrieval)
    metrics = {"retrieval_mean": mean, "retrieval_sd": spread}
    for each in seeds:
        tracked.log_seed(each.seed, each.history, each.to_dict())
    tracked.log_record(_record(plan, seeds, {**metrics, "best_seed": best.seed}))
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        _draw(tracked, plan, seeds, Path(scratch))
        bundle = f"{scratch}/bundle"
        save_plan(bundle, plan, best, n_seeds=len(seeds), metrics=metrics)
        registration = register(tracked.store, bundle, run_id=tracked.run_id)
    return TrainSummary(
        run_id=tracked.run_id,
        registration=registration,
        ions=plan.ions,
        name=plan.name,
        seeds=seeds,
        best=best.seed,
        retrieval_mean=mean,
        retrieval_sd=spread,
        seconds=time.monotonic() - started,
    )


def _draw(tracked: SeedsRun, plan: Plan, seeds: list[EncoderSeed], scratch: Path) -> None:
    """Keep the pictures of the training with its run."""
    from pipelines.deepion.training_figures import curves, views

    for name, content in {"curves.png": curves(seeds), "views.png": views(plan.ions, plan.training.views)}.items():
        (scratch / name).write_bytes(content)
        tracked.log_figure(scratch / name)


def _record(plan: Plan, seeds: list[EncoderSeed], summary: dict[str, Any]) -> Any:
    import pandas as pd

    from ms2img.tracking.seeds import SeedsRecord

    shares = np.mean([each.retrieved for each in seeds], axis=0)
    cases = pd.DataFrame({"ion": np.arange(len(plan.ions)), "retrieval": shares})
    about = {"system": "deepion", "fingerprints": plan.fingerprints(), "seeds": len(seeds)}
    return SeedsRecord(cases, {**summary, **about})


def _tell(progress: Steps) -> Callable[[int, Mapping[str, float]], None]:
    """A listener that counts epochs and shows what the latest one gave."""

    def on_epoch(seed: int, row: Mapping[str, float]) -> None:
        progress.advance(
            note=f"(seed {seed}, epoch {row['epoch']:.0f}: loss {row['train_loss']:.3f}, spread {row[SPREAD]:.3f})"
        )

    return on_epoch
