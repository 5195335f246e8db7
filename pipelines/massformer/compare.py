"""``ms2img models compare`` of two spectrum models: their cosines on the validation molecules that both were chosen by.

Paired over molecules, each the mean over the seeds. The test part has no say: who compares models by it ends up having
chosen by it; `ms2img massformer evaluate` is for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ms2img.errors import UsageError

if TYPE_CHECKING:
    from ms2img.learn.compare import Comparison
    from ms2img.tracking.pull import Source
    from ms2img.tracking.seeds import SeedsRecord


def is_spectrum_model(source: Source) -> bool:
    """Whether a reference leads to a training of spectrum models."""
    from ms2img.tracking.seeds import has_seeds
    from ms2img.tracking.store import open_store

    return source.run_id is not None and has_seeds(open_store(create=False), source.run_id)


def compare_cosines(a: Source, b: Source, names: tuple[str, str]) -> dict[str, Comparison]:
    """The paired t-test of two trainings' cosines over the molecules of their common validation part.

    Raises `UsageError` where library, binning or split differ, or one of the two is no spectrum model.
    """
    from ms2img.learn.compare import corrected_resampled_t
    from ms2img.tracking.seeds import load_seeds
    from ms2img.tracking.store import open_store
    from ms2img.tracking.systems import SYSTEMS

    if not (is_spectrum_model(a) and is_spectrum_model(b)):
        raise UsageError(f"A = {names[0]} and B = {names[1]} cannot be compared: one predicts spectra, one an assay")
    store = open_store(create=False)
    records = [load_seeds(store, str(each.run_id)) for each in (a, b)]
    prints = [record.summary["fingerprints"] for record in records]
    data = SYSTEMS["massformer"].data
    differing = [f"other {said}" for key, said in data.items() if prints[0][key] != prints[1][key]]
    if differing:
        raise UsageError(f"A = {names[0]} and B = {names[1]} cannot be compared: {'; '.join(differing)}")
    first, second = paired(*records)
    return {"cosine": corrected_resampled_t(first, second, test_to_train=0.0)}


def paired(a: SeedsRecord, b: SeedsRecord) -> tuple[np.ndarray, np.ndarray]:
    """The cosines of the molecules that both have, in one order."""
    both = a.molecules.merge(b.molecules, on="molecule_id", suffixes=("_a", "_b")).sort_values("molecule_id")
    return both["cosine_a"].to_numpy(), both["cosine_b"].to_numpy()
