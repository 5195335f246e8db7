"""Merging within a sample: the spectra of one ion become one feature.

MS2toImg, "Feature Table Construction": the first of its two steps. Heights add; the strongest spectrum represents.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ms2img.ms2toimg.features.assignment import assign
from ms2img.ms2toimg.features.similarity import SpectrumSimilarity, Tolerances
from ms2img.ms2toimg.features.table import Ions, in_order


def merge_within(features: pa.Table, tolerances: Tolerances, similarity: SpectrumSimilarity) -> pa.Table:
    """The features of one sample (schema `SAMPLE_FEATURES`, any order), equivalent ones merged, strongest first.

    The summed height is conserved up to rounding.
    """
    ordered = in_order(features)
    entry = assign(Ions.of(ordered), tolerances, similarity)
    founders = np.unique(entry, return_index=True)[1]  # entries are numbered as they are founded
    heights = np.bincount(entry, weights=ordered["height"].to_numpy())
    merged = ordered.take(pa.array(founders))
    place = merged.schema.get_field_index("height")
    return merged.set_column(place, merged.schema.field(place), pa.array(heights)).combine_chunks()
