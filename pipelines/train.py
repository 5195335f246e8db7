"""``ms2img train``: images and an assay to a cross-validated, tracked and registered model.

labels -> folds (in parallel on Ray Train) -> refit on everything labelled -> record -> bundle -> registry. Everything
that can be wrong with the sheet, the images or the options is found before Ray or the tracking store is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ms2img.ms2toimg.labels import LabelConfig
from ms2img.places import Reads
from pipelines.cohort import Cohort
from pipelines.progress import Steps

if TYPE_CHECKING:
    from ms2img.learn.fit_config import FitConfig
    from ms2img.ms2toimg.record import CvRecord
    from ms2img.tracking.registry import Registration


class TrainConfig(LabelConfig):
    """Options of ``ms2img train``."""

    images: Annotated[str, Reads()] = Field(
        description="image data set: the OUT folder of ms2img convert (local or s3://)"
    )
    samples: Annotated[str, Reads("sheet")] = Field(description="sample sheet with the assay column (local or s3://)")
    folds: int = Field(5, ge=2, description="folds of the cross-validation over accessions")
    preset: Literal["paper", "small"] = Field(
        "small", description="network and training: 'small' is for some tens of accessions, 'paper' is MS2toImg's"
    )
    epochs: int | None = Field(
        None,
        ge=1,
        description="epochs; 'paper' keeps the best of them by an inner validation split, 'small' the last "
        "[default: the preset's]",
    )
    batch_size: int | None = Field(None, ge=1, description="images a step [default: the preset's]")
    learning_rate: float | None = Field(None, gt=0, description="step size of Adam [default: the preset's]")
    patience: int | None = Field(
        None, ge=1, description="stop a fold after so many epochs without a better one [default: never, as the paper]"
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
            epochs=self.epochs or preset.epochs,
            keep=preset.keep if self.patience is None else "best",
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
    from ms2img.ms2toimg.cnn import PRESETS, require_size
    from ms2img.ms2toimg.crossvalidate import plan_folds, plan_refit
    from ms2img.ms2toimg.summarise import summarise
    from ms2img.tracking.runs import track_cross_validation
    from ms2img.tracking.store import open_store
    from pipelines.folds import FoldResources, train_folds
    from pipelines.registering import about, fingerprints, inputs, register_model

    started = time.monotonic()
    cohort = Cohort.load(config.images, config.samples, config.label_config(), allow_outside=config.allow_outside)
    cnn, fit = PRESETS[config.preset], config.fit_config()
    require_size(cnn, *cohort.images.shape[1:])
    tasks = plan_folds(cohort.labels, config.folds, cnn, fit, validation=fit.keep == "best")
    prints = fingerprints(cohort, tasks)
    store = open_store()
    resources = FoldResources(config.workers_per_fold, config.cpus_per_worker, config.gpus_per_worker)
    with (
        connected(is_tracked=True),
        track_cross_validation(
            store,
            name=f"{config.assay} {config.preset}",
            config=config.model_dump(mode="json"),
            tags={"assay": config.assay, "preset": config.preset, "simulated": cohort.simulated},
            inputs=inputs(cohort, config.samples, config.images),
        ) as run,
    ):
        with Steps(config.folds * fit.epochs, "train", quiet=quiet) as progress:
            trained = train_folds(cohort.images, cohort.labels.target, tasks, resources, on_epoch=_tell(progress))
        results = [result for result, _ in trained]
        refit_task = plan_refit(cohort.labels, results, cnn, fit)
        with Steps(refit_task.fit.epochs, "refit", quiet=quiet) as progress:
            [(refit, weights)] = train_folds(
                cohort.images, cohort.labels.target, [refit_task], resources, on_epoch=_tell(progress)
            )
        told = about(
            cohort,
            prints,
            samples=config.samples,
            images=config.images,
            seconds=time.monotonic() - started,
            preset=config.preset,
            seed=config.seed,
            config=config.model_dump(mode="json"),
            fit=fit.to_dict(),
        )
        record = summarise(
            cohort.labels, cohort.images, tasks, results, refit=refit, refit_epochs=refit_task.fit.epochs, about=told
        )
        run.log_record(record)
        registration = register_model(
            store, run.run_id, config.label_config(), cohort, cnn, weights, record, preset=config.preset
        )
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
