"""``ms2img train``: images and an assay to a cross-validated, tracked and registered model.

labels -> folds (in parallel on Ray Train) -> refit on everything labelled -> record -> bundle -> registry. Everything
that can be wrong with the sheet, the images or the options is found before Ray or the tracking store is touched.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ms2img import __version__
from ms2img.io.location import absolute
from ms2img.ms2toimg.labels import LabelConfig
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.cohort import Cohort
from pipelines.progress import Steps

if TYPE_CHECKING:
    from torch import Tensor

    from ms2img.learn.fit_config import FitConfig
    from ms2img.ms2toimg.cnn import CnnConfig
    from ms2img.ms2toimg.record import CvRecord
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.runs import TrackedRun
    from ms2img.tracking.store import Store

RECORDED_PACKAGES = ("torch", "numpy", "ray", "mlflow")
METRICS_ON_THE_CARD = ("auc_mean", "auc_sd", "accession_accuracy_mean", "accession_f1_mean", "run_roc_auc_mean")


class TrainConfig(LabelConfig):
    """Options of ``ms2img train``."""

    images: str = Field(description="image data set: the OUT folder of ms2img convert (local or s3://)")
    samples: str = Field(description="sample sheet with the assay column (local or s3://)")
    folds: int = Field(5, ge=2, description="folds of the cross-validation over accessions")
    preset: Literal["paper", "small"] = Field(
        "paper", description="network: 'paper' is MS2toImg's, 'small' is for some tens of accessions"
    )
    epochs: int = Field(80, ge=1, description="epochs at most; the best one by an inner validation split is kept")
    batch_size: int | None = Field(None, ge=1, description="images a step [default: the preset's]")
    learning_rate: float | None = Field(None, gt=0, description="step size of Adam [default: the preset's]")
    patience: int | None = Field(
        None, ge=1, description="stop a fold after so many epochs without improvement [default: never, as the paper]"
    )
    seed: int = Field(0, ge=0, description="seed of folds, initial weights, batch order and dropout")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic; 'auto' is bfloat16 where the hardware multiplies it natively"
    )
    workers_per_fold: int = Field(1, ge=1, description="workers that share each batch of a fold")
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores, and torch threads, of a worker")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs of a worker; a fraction shares one")
    allow_outside: bool = Field(False, description="let paths in the sheet climb above the sheet's folder by '..'")

    def label_config(self) -> LabelConfig:
        """The part that decides labels."""
        return LabelConfig(**{name: getattr(self, name) for name in LabelConfig.model_fields})

    def fit_config(self) -> FitConfig:
        """The preset's way of training with what the user changed."""
        from dataclasses import replace

        from ms2img.ms2toimg.cnn import TRAINING

        preset = TRAINING[self.preset]
        return replace(
            preset,
            epochs=self.epochs,
            batch_size=self.batch_size or preset.batch_size,
            learning_rate=self.learning_rate or preset.learning_rate,
            patience=self.patience,
            seed=self.seed,
            threads=self.cpus_per_worker,
            precision=self.precision,
            device="cuda" if self.gpus_per_worker else "auto",
        )


@dataclass(frozen=True)
class TrainSummary:
    """What a training gave: its run in the store, the registered version, and the record of the cross-validation."""

    run_id: str
    registration: Registration
    record: CvRecord
    unused_sample_ids: list[str]
    seconds: float


def train(config: TrainConfig, *, quiet: bool = False) -> TrainSummary:
    """Cross-validate, refit, record, register.

    Raises `UsageError` before any work for wrong input, and when the tracking store cannot be reached.
    """
    from cluster.connect import connected
    from ms2img.ms2toimg.cnn import PRESETS
    from ms2img.ms2toimg.crossvalidate import folds_fingerprint, plan_folds, plan_refit
    from ms2img.ms2toimg.summarise import summarise
    from ms2img.tracking.runs import InputData, track_cross_validation
    from ms2img.tracking.store import open_store
    from pipelines.folds import FoldResources, train_folds

    started = time.monotonic()
    cohort = Cohort.load(config.images, config.samples, config.label_config(), allow_outside=config.allow_outside)
    cnn, fit = PRESETS[config.preset], config.fit_config()
    tasks = plan_folds(cohort.labels, config.folds, cnn, fit)
    prints = {
        "samples": cohort.fingerprint(),
        "labels": cohort.labels.fingerprint(),
        "folds": folds_fingerprint(cohort.labels, tasks),
    }
    store = open_store()
    resources = FoldResources(config.workers_per_fold, config.cpus_per_worker, config.gpus_per_worker)
    with (
        connected(),
        track_cross_validation(
            store,
            name=f"{config.assay} {config.preset}",
            config=config.model_dump(mode="json"),
            tags={"assay": config.assay, "preset": config.preset, "simulated": cohort.simulated},
            inputs=[
                InputData("samples", absolute(config.samples), cohort.sheet.digest),
                InputData("images", absolute(config.images), cohort.image_set.fingerprint),
            ],
        ) as run,
    ):
        with Steps(config.folds * config.epochs, "train", quiet=quiet) as progress:
            trained = train_folds(cohort.images, cohort.labels.target, tasks, resources, on_epoch=_tell(progress))
        results = [result for result, _ in trained]
        refit_task = plan_refit(cohort.labels, results, cnn, fit)
        with Steps(refit_task.fit.epochs, "refit", quiet=quiet) as progress:
            [(refit, weights)] = train_folds(
                cohort.images, cohort.labels.target, [refit_task], resources, on_epoch=_tell(progress)
            )
        about = _about(config, cohort, prints, seconds=time.monotonic() - started)
        record = summarise(
            cohort.labels, cohort.images, tasks, results, refit=refit, refit_epochs=refit_task.fit.epochs, about=about
        )
        run.log_record(record)
        registration = _register(store, run, config, cohort, cnn, weights, record, prints)
    return TrainSummary(
        run_id=run.run_id,
        registration=registration,
        record=record,
        unused_sample_ids=cohort.between(),
        seconds=time.monotonic() - started,
    )


def _tell(progress: Steps) -> Callable[[int, Mapping[str, float]], None]:
    """A listener that counts epochs and shows what the latest one gave."""

    def on_epoch(fold: int, metrics: Mapping[str, float]) -> None:
        which = f"fold {fold + 1}, " if fold >= 0 else ""
        shown = metrics.get("validation_loss", metrics["train_loss"])
        kind = "validation" if "validation_loss" in metrics else "training"
        progress.advance(note=f"({which}epoch {metrics['epoch']:.0f}: {kind} loss {shown:.3f})")

    return on_epoch


def _about(config: TrainConfig, cohort: Cohort, prints: Mapping[str, str], *, seconds: float) -> dict[str, Any]:
    """What the record's summary says of the run beside its numbers."""
    versions = {"ms2img": __version__, "python": platform.python_version()}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "samples": absolute(config.samples),
        "images": absolute(config.images),
        "preset": config.preset,
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "fit": config.fit_config().to_dict(),
        "render": cohort.image_set.render,
        "simulated": cohort.simulated,
        "not_labelled": cohort.other_kinds(),
        "fingerprints": dict(prints),
        "versions": versions | {package: metadata.version(package) for package in RECORDED_PACKAGES},
    }


def _register(
    store: Store,
    run: TrackedRun,
    config: TrainConfig,
    cohort: Cohort,
    cnn: CnnConfig,
    weights: Mapping[str, Tensor],
    record: CvRecord,
    prints: Mapping[str, str],
) -> Registration:
    """Make a bundle of the refitted network and register it."""
    from ms2img.ms2toimg.bundle import save_bundle
    from ms2img.tracking.registry import register

    summary = record.summary
    card = {
        **config.label_config().model_dump(),
        "value_min": cohort.labels.value_min,
        "value_max": cohort.labels.value_max,
        "threshold": summary["threshold"],
        "preset": config.preset,
        "simulated": cohort.simulated,
        "fingerprints": dict(prints),
        "metrics": {name: summary[name] for name in METRICS_ON_THE_CARD},
    }
    with tempfile.TemporaryDirectory(prefix="ms2img-") as folder:
        render = RenderConfig.model_validate(cohort.image_set.render)
        save_bundle(folder, model_state=weights, cnn=cnn, render=render, card=card)
        return register(store, folder, run_id=run.run_id)
