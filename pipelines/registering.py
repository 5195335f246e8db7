"""From a refitted network to a registered model, and what a record says of how it came about."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ms2img import __version__
from ms2img.io.location import absolute
from ms2img.ms2toimg.crossvalidate import FoldTask, folds_fingerprint
from ms2img.ms2toimg.labels import LabelConfig
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.cohort import Cohort

if TYPE_CHECKING:
    from torch import Tensor

    from ms2img.ms2toimg.cnn import CnnConfig
    from ms2img.ms2toimg.record import CvRecord
    from ms2img.tracking.entries import InputData
    from ms2img.tracking.registry import Registration
    from ms2img.tracking.store import Store

RECORDED_PACKAGES = ("torch", "numpy", "ray", "mlflow")
METRICS_ON_THE_CARD = ("auc_mean", "auc_sd", "accession_accuracy_mean", "accession_f1_mean", "run_roc_auc_mean")


def fingerprints(cohort: Cohort, tasks: Sequence[FoldTask]) -> dict[str, str]:
    """What must be equal before the AUCs of two models may be compared."""
    return {
        "samples": cohort.fingerprint(),
        "labels": cohort.labels.fingerprint(),
        "folds": folds_fingerprint(cohort.labels, tasks),
    }


def inputs(cohort: Cohort, samples: str, images: str) -> list[InputData]:
    """The sheet and the image data set, for the tracking store."""
    from ms2img.tracking.entries import InputData

    return [
        InputData("samples", absolute(samples), cohort.sheet.digest),
        InputData("images", absolute(images), cohort.image_set.fingerprint),
    ]


def about(
    cohort: Cohort, prints: Mapping[str, str], *, samples: str, images: str, seconds: float, **more: Any
) -> dict[str, Any]:
    """What a record's summary says of the job beside its numbers; `more`: what only this kind of job says."""
    versions = {"ms2img": __version__, "python": platform.python_version()}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "samples": absolute(samples),
        "images": absolute(images),
        "render": cohort.image_set.render,
        "simulated": cohort.simulated,
        "not_labelled": cohort.other_kinds(),
        "fingerprints": dict(prints),
        "versions": versions | {package: metadata.version(package) for package in RECORDED_PACKAGES},
        **more,
    }


def register_model(
    store: Store,
    run_id: str,
    label: LabelConfig,
    cohort: Cohort,
    cnn: CnnConfig,
    weights: Mapping[str, Tensor],
    record: CvRecord,
    *,
    preset: str,
) -> Registration:
    """Make a bundle of the refitted network and register it as a model of the run; `record`: what it is judged by."""
    from ms2img.ms2toimg.bundle import save_bundle
    from ms2img.tracking.registry import register

    summary = record.summary
    card = {
        **label.model_dump(),
        "value_min": cohort.labels.value_min,
        "value_max": cohort.labels.value_max,
        "threshold": summary["threshold"],
        "preset": preset,
        "simulated": cohort.simulated,
        "fingerprints": summary["fingerprints"],
        "metrics": {name: summary[name] for name in METRICS_ON_THE_CARD},
    }
    with tempfile.TemporaryDirectory(prefix="ms2img-") as folder:
        render = RenderConfig.model_validate(cohort.image_set.render)
        save_bundle(folder, model_state=weights, cnn=cnn, render=render, card=card)
        return register(store, folder, run_id=run_id)
