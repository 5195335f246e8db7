"""Sweeps in a tracking store, opened and filled as a job does it; nothing here is a test."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pandas as pd

from ms2img.tracking.store import Store
from ms2img.tracking.sweeps import TrackedSweep, track_sweep

VALUES = {"filters": 16, "pool": "each", "learning_rate": 1e-5}


def open_sweep(store: Store, run_id: str | None = None) -> AbstractContextManager[TrackedSweep]:
    config = {"assay": "dpph", "trials": 6}
    return track_sweep(store, name="dpph sweep", config=config, tags={"assay": "dpph"}, run_id=run_id)


def log_trial(run: TrackedSweep, number: int, history: pd.DataFrame | None = None, status: str = "finished") -> str:
    table = history if history is not None else pd.DataFrame()
    return run.log_trial(number, VALUES, status, table, {"validation_accuracy": 0.5 + number / 100})


def trials_of(run: TrackedSweep) -> dict[str, Any]:
    found = run.client.search_runs([run.experiment_id], f"tags.mlflow.parentRunId = '{run.run_id}'")
    children = {child.data.tags["ms2img.trial"]: child for child in found}
    assert len(children) == len(found), "no trial is logged twice"
    return children
