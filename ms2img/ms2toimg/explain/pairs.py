"""Points to precursor-fragment pairs, ranked by what they did to the score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ms2img.ms2toimg.explain.peaks import DrawnPeaks
from ms2img.ms2toimg.intensities import Floats
from ms2img.ms2toimg.points import Points

Integers = npt.NDArray[np.int64]

#: Columns of a table of pairs. `attribution` is in units of the logit, towards active if positive; `share` is that over
#: the sum of the absolute attributions of all pairs of the run, so -1 to 1. `n_spectra` spectra of the run hold the
#: pair; the other columns are those of the one of highest precursor intensity.
COLUMNS = (
    "rank",
    "precursor_mz",
    "fragment_mz",
    "rt_seconds",
    "charge",
    "adduct",
    "precursor_intensity",
    "fragment_intensity",
    "attribution",
    "share",
    "n_spectra",
    "spectrum_id",
)


def join_pairs(points: Points, tolerance: float) -> Integers:
    """The pair of each point, numbers from 0: int64 [n].

    An ion is often fragmented more than once, and the image lays its fragments over each other. From the lowest
    precursor m/z on, precursors are one as long as they span at most `tolerance` (m/z); the first beyond begins the
    next. Within each, the same holds of fragments. The order of the points plays no part.
    """
    precursor = _spans(np.zeros(points.n_fragments, np.int64), points.precursor_mz, tolerance)
    return _spans(precursor, points.fragment_mz, tolerance)


def rank_pairs(
    spectra: pa.Table, points: Points, peaks: DrawnPeaks, attribution: Floats, *, pair: Integers, active: bool
) -> tuple[pd.DataFrame, Integers]:
    """The pairs as a table of `COLUMNS`, and the place of each point's pair in it: int64 [n].

    Parameters
    ----------
    attribution: of each point [n].
    pair: of each point [n], see `join_pairs`.
    active: what the score said. Pairs that speak for it come first, those against it last; equal ones by m/z.
    """
    of_pair = np.bincount(pair, weights=attribution)
    told = _told(spectra, points, peaks)
    # The spectrum that a pair is known by: strongest precursor, then strongest fragment, whatever the file's order.
    best = told.assign(pair=pair).sort_values(
        ["pair", "precursor_intensity", "fragment_intensity", "spectrum_id"], ascending=[True, False, False, True]
    )
    table = best.drop_duplicates("pair").drop(columns="pair").reset_index(drop=True)
    table["attribution"] = of_pair
    total = np.abs(of_pair).sum()
    table["share"] = of_pair / total if total > 0 else 0.0
    spectra_of_pair = np.unique(np.stack([pair, peaks.row]), axis=1)[0]
    table["n_spectra"] = np.bincount(spectra_of_pair, minlength=len(of_pair))
    order = np.lexsort((table["fragment_mz"], table["precursor_mz"], -of_pair if active else of_pair))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    ranked = table.iloc[order].reset_index(drop=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked[list(COLUMNS)], place[pair]


def _spans(group: Integers, mz: Floats, tolerance: float) -> Integers:
    """Split each group, from its lowest m/z on, into parts that span at most the tolerance: from 0, int64 [n]."""
    order = np.lexsort((mz, group))
    part, number = -1, np.empty(len(mz), np.int64)
    of, start = None, 0.0
    for place, its_group, its_mz in zip(order.tolist(), group[order].tolist(), mz[order].tolist(), strict=True):
        if its_group != of or its_mz - start > tolerance:
            part, of, start = part + 1, its_group, its_mz
        number[place] = part
    return number


def _told(spectra: pa.Table, points: Points, peaks: DrawnPeaks) -> pd.DataFrame:
    """What the file says of each point's peak and spectrum; NaN or None where it says nothing."""
    names = ["rt_seconds", "charge", "adduct", "precursor_intensity", "spectrum_id", "intensity"]
    rows = spectra.select(names).take(pa.array(np.unique(peaks.row)))
    position = np.searchsorted(np.unique(peaks.row), peaks.row)
    columns = {name: rows[name].to_pylist() for name in names}
    intensity = columns.pop("intensity")
    told = {name: [values[i] for i in position] for name, values in columns.items()}
    told["fragment_intensity"] = [float(intensity[i][k]) for i, k in zip(position, peaks.peak, strict=True)]
    frame = pd.DataFrame({"precursor_mz": points.precursor_mz, "fragment_mz": points.fragment_mz, **told})
    return frame.astype({"rt_seconds": "float64", "precursor_intensity": "float64", "charge": "Int8"})
