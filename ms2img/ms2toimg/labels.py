"""From an assay column to classes: which runs are active, which inactive, which lie between and stay unused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.io.sheet import Run, Sheet

ACTIVE, INACTIVE, BETWEEN = 1, 0, -1
SHOWN = 5  # names in an error message (ours)


class LabelConfig(Config):
    """Which assay is learned, and where its classes begin (MS2toImg, "CNN Architecture and Training Procedure")."""

    assay: str = Field(min_length=1, description="column of the sample sheet to predict")
    low: float = Field(
        default=0.4, ge=0, le=1, description="accessions below this, on the 0-1 scale of the assay, are low"
    )
    high: float = Field(
        default=0.6, ge=0, le=1, description="accessions above this, on the 0-1 scale of the assay, are high"
    )
    active: Literal["high", "low"] = Field(
        default="high", description="which class is the active one, whose probability is told"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} exceeds high {self.high:g}")
        return self


@dataclass(frozen=True, eq=False)
class Labels:
    """The labelled runs, sorted by sample_id; arrays are [n], in the order of `sample_ids`.

    `value` is the mean of the run's accession in the assay's unit, `scaled` the same on the 0-1 scale between the
    lowest and the highest accession (`value_min`, `value_max`), `target` `ACTIVE`, `INACTIVE` or `BETWEEN`.
    `without_image` names the runs that have a value but no image: they are nowhere else.
    """

    config: LabelConfig
    sample_ids: tuple[str, ...]
    accessions: tuple[str, ...]
    value: np.ndarray
    scaled: np.ndarray
    target: np.ndarray
    value_min: float
    value_max: float
    without_image: tuple[str, ...]

    def fingerprint(self) -> str:
        """A short hash of which sample of which accession carries which label."""
        rows = zip(self.sample_ids, self.accessions, self.target.tolist(), strict=True)
        text = "\n".join("\0".join(map(str, row)) for row in rows)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def make_labels(sheet: Sheet, config: LabelConfig, with_image: Iterable[str]) -> Labels:
    """Label the runs of `sheet` that are samples, have a value of the assay, and are among `with_image`.

    Blanks and QCs are never labelled, whatever number they carry. The scale is set by all accessions with a value,
    so that it does not move when a run's file fails. Equal `low` and `high` leave only values right on them between.

    Raises `UsageError`: unknown assay, no values, one value everywhere, a class without an accession (with counts).
    """
    measured = sheet.assay(config.assay)
    values = {
        run.sample_id: float(value)
        for run, value in zip(sheet.runs, measured, strict=True)
        if run.kind == "sample" and np.isfinite(value)
    }
    runs = sorted((run for run in sheet.runs if run.sample_id in values), key=lambda run: run.sample_id)
    mean_of = _accession_means(runs, values)
    if not mean_of:
        raise UsageError(f"{sheet.path}: no row of kind 'sample' has a value of '{config.assay}'")
    bottom, top = min(mean_of.values()), max(mean_of.values())
    if bottom == top:
        raise UsageError(f"{sheet.path}: '{config.assay}' is {bottom:g} for every accession; nothing to tell apart")
    has_image = set(with_image)
    used = [run for run in runs if run.sample_id in has_image]
    value = np.array([mean_of[run.accession] for run in used], dtype=np.float64)
    scaled = (value - bottom) / (top - bottom)
    labels = Labels(
        config=config,
        sample_ids=tuple(run.sample_id for run in used),
        accessions=tuple(run.accession for run in used),
        value=value,
        scaled=scaled,
        target=_targets(scaled, config),
        value_min=bottom,
        value_max=top,
        without_image=tuple(run.sample_id for run in runs if run.sample_id not in has_image),
    )
    _require_both_classes(labels, sheet)
    return labels


def _accession_means(runs: list[Run], values: dict[str, float]) -> dict[str, float]:
    of_accession: dict[str, list[float]] = {}
    for run in runs:
        of_accession.setdefault(run.accession, []).append(values[run.sample_id])
    return {accession: float(np.mean(found)) for accession, found in of_accession.items()}


def _targets(scaled: np.ndarray, config: LabelConfig) -> np.ndarray:
    target = np.full(scaled.shape, BETWEEN, dtype=np.int8)
    target[scaled < config.low] = INACTIVE if config.active == "high" else ACTIVE
    target[scaled > config.high] = ACTIVE if config.active == "high" else INACTIVE
    return target


def _require_both_classes(labels: Labels, sheet: Sheet) -> None:
    config = labels.config
    accessions = np.array(labels.accessions, dtype=object)
    low = len(set(accessions[labels.scaled < config.low]))
    high = len(set(accessions[labels.scaled > config.high]))
    if low and high:
        return
    missing = ""
    if labels.without_image:
        shown = ", ".join(labels.without_image[:SHOWN]) + (", ..." if len(labels.without_image) > SHOWN else "")
        missing = f"; {len(labels.without_image)} runs with a value have no image: {shown}"
    between = len(set(accessions)) - low - high
    raise UsageError(
        f"{sheet.path}: '{config.assay}' gives {low} low, {high} high and {between} accessions between "
        f"(--low {config.low:g}, --high {config.high:g}); expected some of both classes{missing}"
    )
