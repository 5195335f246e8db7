"""A study in the tracking store: every finished cell a run of its own, and the record with the study's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipelines.study.record import DONE, StudyRecord
from pipelines.study.sources import Notice

if TYPE_CHECKING:
    from ms2img.tracking.studies import TrackedStudy

MEASURES = ("roc_auc", "accuracy", "f1")


def log(tracked: TrackedStudy, record: StudyRecord, keys: Mapping[str, str], notice: Notice) -> None:
    """Log finished cells and the record; `keys`: cell -> what it was computed from.

    A store that fails costs the log, not the study: `notice` is told, and the next ``--resume`` logs the rest.
    """
    from ms2img.tracking.store import StoreError

    metrics = record.metrics[(record.metrics["level"] == "accession") & (record.metrics["condition"] == "")]
    try:
        for row in record.cells[record.cells["status"] == DONE].to_dict("records"):
            cell = str(row["cell"])
            scores = metrics[metrics["cell"] == cell]
            means = {f"accession_{name}_mean": float(scores[name].mean()) for name in MEASURES}
            tracked.log_cell(
                cell,
                keys[cell],
                {name: row[name] for name in ("task", "representation", "resolution", "model", "seed")},
                record.history[record.history["cell"] == cell].drop(columns="is_best"),
                {**means, "seconds": float(row["seconds"])},
            )
        tracked.log_study(record)
    except StoreError as error:
        notice(f"not all of the study is in the tracking store: {error}; --resume logs the rest")
