"""PCA and OPLS-DA of all labelled runs of a task: what MS2toImg's Figure 4 shows beside the predictions."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ms2img.errors import UsageError
from ms2img.ms2toimg.labels import Labels
from pipelines.study.ledger import StudyLedger, key_of
from pipelines.study.plan import Samples

DESCRIPTIVE_VERSION = 1  # raised by hand when the same table gives other numbers


@dataclass(frozen=True, eq=False)
class Descriptive:
    """One task on one feature table. `samples`: those of the labels, in their order."""

    task: str
    representation: str
    out: str
    samples: Samples
    labels: Labels

    @property
    def name(self) -> str:
        """Its file in the ledger."""
        return f"multivariate/{self.task}_{self.representation}.json"

    @property
    def key(self) -> str:
        """What the result depends on."""
        return key_of(
            {
                "version": DESCRIPTIVE_VERSION,
                "rows": self.samples.place.fingerprint,
                "labels": self.labels.fingerprint(),
            }
        )


def run_descriptive(work: Descriptive) -> str | None:
    """Fit both methods, unless the ledger has them; returns why not, where they cannot be fitted."""
    from ms2img.io.storage import folder
    from ms2img.ms2toimg.baselines.multivariate import describe
    from pipelines.study.rows import load

    ledger = StudyLedger(folder(work.out))
    if ledger.read(work.name, work.key) is not None:
        return None
    try:
        found = describe(load(work.samples.place, work.samples.sample_ids), work.labels)
    except (UsageError, ValueError) as error:
        return f"{work.task}, {work.representation}: {error}"
    result = {"scores": _rows(found.scores), "summary": _rows(found.summary)}
    ledger.write_keyed(work.name, result, work.key)
    return None


def tables(ledger: StudyLedger, work: Descriptive) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Scores and summary of a finished one, with task and representation; None where it is not done."""
    result = ledger.read(work.name, work.key)
    if result is None:
        return None
    named = {"task": work.task, "representation": work.representation}
    scores, summary = (pd.DataFrame(result[name]).assign(**named) for name in ("scores", "summary"))
    numbers = summary.columns.difference(["task", "representation", "method", "q2y_permuted"])
    summary[numbers] = summary[numbers].astype("float64")
    return scores, summary


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, NaN as null."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    rows = json.loads(json.dumps(table.to_dict("records"), default=lambda value: value.item()))
    return [{name: plain(value) for name, value in row.items()} for row in rows]
