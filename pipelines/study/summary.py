"""What a study's record says beside its tables: where from, how many, with what."""

from __future__ import annotations

import platform
from collections import Counter
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from ms2img import __version__
from ms2img.ms2toimg.labels import ACTIVE, BETWEEN, INACTIVE, Labels
from pipelines.study.config import StudyFile
from pipelines.study.plan import Planner
from pipelines.study.sources import Sources

RECORDED_PACKAGES = ("matchms", "mlflow", "ms_entropy", "numpy", "ray", "scikit-learn", "torch")


def summary_of(study: StudyFile, planner: Planner, sources: Sources, cells: pd.DataFrame) -> dict[str, Any]:
    """The summary of a `StudyRecord` whose table of cells is `cells`."""
    return {
        "name": study.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": float(np.nansum(cells["seconds"])),
        "simulated": is_simulated(study, planner),
        "versions": {"ms2img": __version__, "python": platform.python_version(), **_versions()},
        "folds": study.folds,
        "seeds": list(study.seeds),
        "main_task": study.main_task or next(iter(study.tasks)),
        "cells": dict(Counter(cells["status"])),
        "tasks": {name: _task(study, planner, sources, name) for name in study.tasks},
        "conditions": {
            name: {**condition.model_dump(), "simulated": _simulates(study, planner, condition.data.values())}
            for name, condition in study.conditions.items()
        },
        "config": study.model_dump(mode="json", exclude_defaults=True),
    }


def is_simulated(study: StudyFile, planner: Planner) -> bool:
    """Whether any data that is learned from or tested on is simulated, or has a simulated drift."""
    tested = [name for condition in study.conditions.values() for name in condition.data.values()]
    return _simulates(study, planner, [*(task.data for task in study.tasks.values()), *tested])


def _simulates(study: StudyFile, planner: Planner, names: Any) -> bool:
    return any(study.data[name].samples is None or planner.sheet(name).is_simulated() for name in names)


def _task(study: StudyFile, planner: Planner, sources: Sources, name: str) -> dict[str, Any]:
    spec = study.tasks[name]
    sheet = planner.sheet(spec.data)
    return {
        **spec.label_config().model_dump(),
        "data": spec.data,
        "samples": sources.sheet(spec.data),
        "simulated": sheet.is_simulated(),
        "counts": _counts(planner.all_labels(name)),
    }


def _counts(labels: Labels) -> dict[str, int]:
    accessions = np.array(labels.accessions, dtype=object)
    counts = {}
    for name, value in (("active", ACTIVE), ("inactive", INACTIVE), ("between", BETWEEN)):
        counts[f"{name}_runs"] = int(np.sum(labels.target == value))
        counts[f"{name}_accessions"] = len(set(accessions[labels.target == value]))
    return counts


def _versions() -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
