"""Two cross-validations of one task, compared fold by fold; or what keeps them from being compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ms2img.learn.compare import Comparison, corrected_resampled_t
from ms2img.ms2toimg.record import CvRecord

MEASURES = ("roc_auc", "accuracy", "precision", "recall", "f1")  # the first one decides
LEVEL = "accession"
#: What must be equal, by the name of its fingerprint: only then is a fold's difference the models' doing.
PARTS = ("samples", "labels", "folds")


def differences(a: CvRecord, b: CvRecord) -> list[str]:
    """What differs of samples, labels and folds, a phrase each; nothing where the metrics may be compared.

    A part counts as different where its fingerprints are, or one is missing, and where the predictions show it.
    """
    seen = _seen(a.predictions, b.predictions)
    prints = [record.summary.get("fingerprints") or {} for record in (a, b)]
    found = []
    for part in PARTS:
        ours, theirs = (str(each.get(part) or "") for each in prints)
        if seen[part]:
            found.append(f"other {part} ({seen[part]})")
        elif not ours or not theirs:
            found.append(f"{part} unknown (a record has no fingerprint of its {part})")
        elif ours != theirs:
            found.append(f"other {part} ({_unseen(part, a.summary, b.summary)})")
    return found


def compare_records(a: CvRecord, b: CvRecord) -> dict[str, Comparison]:
    """Each of `MEASURES` of two records on the same folds, per accession; `differences` must have found none.

    Paired fold by fold by `ms2img.learn.compare.corrected_resampled_t`.
    """
    first, second = (_by_fold(record.metrics) for record in (a, b))
    sizes = first["n"].to_numpy(dtype=float)
    ratio = float((sizes / (sizes.sum() - sizes)).mean()) if len(sizes) > 1 else 1.0
    return {
        name: corrected_resampled_t(first[name].to_numpy(), second[name].to_numpy(), test_to_train=ratio)
        for name in MEASURES
    }


def _by_fold(metrics: pd.DataFrame) -> pd.DataFrame:
    return metrics[metrics["level"] == LEVEL].sort_values("fold", ignore_index=True)


def _seen(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, str]:
    """What the predictions themselves say that differs of each part; empty where they agree."""
    ours, theirs = (table.set_index("sample_id")[["accession", "target", "fold"]] for table in (a, b))
    only = [ours.index.difference(theirs.index), theirs.index.difference(ours.index)]
    both = ours.index.intersection(theirs.index)
    ours, theirs = ours.loc[both], theirs.loc[both]
    relabelled = both[((ours["accession"] != theirs["accession"]) | (ours["target"] != theirs["target"])).to_numpy()]
    moved = both[(ours["fold"] != theirs["fold"]).to_numpy()]
    samples = [f"{_named(names)} only in {side}" for names, side in zip(only, ("A", "B"), strict=True) if len(names)]
    return {
        "samples": ", ".join(samples),
        "labels": f"{_named(relabelled)} of another class or accession" if len(relabelled) else "",
        "folds": f"{_named(moved)} held out in another fold" if len(moved) else "",
    }


def _unseen(part: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Why fingerprints differ though the predictions agree."""
    if part == "samples":
        renders = [summary.get("render") or {} for summary in (a, b)]
        for key in sorted({*renders[0], *renders[1]}):
            if renders[0].get(key) != renders[1].get(key):
                return f"the same runs, drawn with {key} {renders[0].get(key)} and {renders[1].get(key)}"
        return "the same runs, with other content"
    return "by their fingerprints"


def _named(names: pd.Index) -> str:
    """How many runs, and one of them."""
    first = np.sort(names.to_numpy())[0]
    return f"1 run, {first}," if len(names) == 1 else f"{len(names)} runs, {first} first,"
