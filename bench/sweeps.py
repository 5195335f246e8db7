"""Running ``ms2img sweep`` in a measurement: the qemistree images, and a store that goes with the folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cohort import SHARED

if TYPE_CHECKING:
    from pipelines.sweep import SweepSummary

SHEET = SHARED / "data/qemistree/samples.csv"
LOW = HIGH = 0.01  # presence against absence of a constituent


def converted(out: Path, size: str) -> Path:
    """The qemistree runs as a data set of ``ms2img convert`` in `out`."""
    from pipelines.convert import ConvertConfig, convert

    convert(ConvertConfig(samples=str(SHEET), out=str(out), size=size), quiet=True)
    return out


def run_sweep(images: Path, assay: str, out: Path, **options: Any) -> SweepSummary:
    """A whole sweep: trials, refit, record and registration. `options`: fields of `SweepConfig`."""
    from pipelines.sweep import sweep
    from pipelines.sweep_config import SweepConfig

    out.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{out / 'mlflow.db'}"
    told: dict[str, Any] = {"samples": str(SHEET), "low": LOW, "high": HIGH} | options
    return sweep(SweepConfig(images=str(images), assay=assay, out=str(out / "ledger"), **told), quiet=True)
