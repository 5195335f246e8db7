"""``ms2img models compare`` of two trainings over seeds: their figures on the cases that both were judged by.

Paired over cases, each the mean over the seeds. Of spectrum models these are the validation molecules: the test part
has no say, for who compares models by it ends up having chosen by it; `ms2img massformer evaluate` is for that. Of
encoders they are the ions trained on: whether these are told apart, which says nothing of biology.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ms2img.errors import UsageError

if TYPE_CHECKING:
    from ms2img.learn.compare import Comparison
    from ms2img.tracking.pull import Source
    from ms2img.tracking.seeds import SeedsRecord

#: System -> what its models do, its figure in words, its cases.
WORDS = {
    "massformer": ("predicts spectra", "cosine per molecule", "validation molecules"),
    "deepion": ("embeds ion images", "retrieval per ion", "ions"),
}
_OTHERS = "predicts an assay"


def is_of_seeds(source: Source) -> bool:
    """Whether a reference leads to a training over seeds."""
    from ms2img.tracking.seeds import has_seeds
    from ms2img.tracking.store import open_store

    return source.run_id is not None and has_seeds(open_store(create=False), source.run_id)


def compare_seeds(a: Source, b: Source, names: tuple[str, str]) -> tuple[dict[str, Comparison], str, str]:
    """The paired t-test of two trainings' figures, by the figure's name; that name, and the cases, in words.

    Raises `UsageError` where they are of different systems, or what must be equal is not.
    """
    from ms2img.learn.compare import corrected_resampled_t
    from ms2img.tracking.systems import SYSTEMS

    records = [_record(source) for source in (a, b)]
    does = [_OTHERS if record is None else WORDS[record.system][0] for record in records]
    first, second = records
    if first is None or second is None or first.system != second.system:
        raise UsageError(f"A = {names[0]} and B = {names[1]} cannot be compared: one {does[0]}, one {does[1]}")
    prints = [record.summary["fingerprints"] for record in (first, second)]
    data = SYSTEMS[first.system].data
    differing = [f"other {said}" for key, said in data.items() if prints[0][key] != prints[1][key]]
    if differing:
        raise UsageError(f"A = {names[0]} and B = {names[1]} cannot be compared: {'; '.join(differing)}")
    _, shown, cases = WORDS[first.system]
    measure = str(first.cases.columns[1])
    return {measure: corrected_resampled_t(*paired(first, second), test_to_train=0.0)}, shown, cases


def paired(a: SeedsRecord, b: SeedsRecord) -> tuple[np.ndarray, np.ndarray]:
    """The figures of the cases that both have, in one order."""
    case, measure = a.cases.columns
    both = a.cases.merge(b.cases, on=case, suffixes=("_a", "_b")).sort_values(case)
    return both[f"{measure}_a"].to_numpy(), both[f"{measure}_b"].to_numpy()


def _record(source: Source) -> SeedsRecord | None:
    from ms2img.tracking.seeds import load_seeds
    from ms2img.tracking.store import open_store

    return load_seeds(open_store(create=False), str(source.run_id)) if is_of_seeds(source) else None
