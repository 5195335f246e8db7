"""Repeated MS/MS of one precursor to one row: the one with the highest precursor intensity stands for all.

A representative, not a sum: MS-DIAL, whose tables the paper starts from, also shows one measured spectrum a peak, and
a sum would weigh a fragment by how often its precursor was repeated.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.io.read_config import ReadOptions


def merge_repeats(spectra: pa.Table, options: ReadOptions) -> pa.Table:
    """The rows that stand for a group of repeats, unchanged and in their order.

    Rows are asked from the highest precursor intensity to the lowest (rows with peaks before those without; the summed
    MS/MS intensity where any row with peaks lacks its precursor's; of equals the first). A row that no stronger one
    has taken stands for itself and takes every row within ``merge_mz`` and ``merge_rt_seconds`` of it that is of the
    same polarity and charge, as far as stated. A row without retention time is nobody's repeat. The result depends on
    no chain of neighbours: no two rows left are repeats of each other.
    """
    if not options.merge_mz or not len(spectra):
        return spectra
    mz = spectra["precursor_mz"].to_numpy()
    rt = spectra["rt_seconds"].to_numpy()  # NaN where null
    polarity = pc.fill_null(pc.equal(spectra["polarity"], "positive").cast(pa.int8()), -1).to_numpy()
    charge = pc.fill_null(spectra["charge"], 0).to_numpy()
    order = np.argsort(mz, kind="stable")
    sorted_mz = mz[order]
    low = np.searchsorted(sorted_mz, mz - options.merge_mz, side="left")
    high = np.searchsorted(sorted_mz, mz + options.merge_mz, side="right")
    taken, kept = np.zeros(len(mz), bool), np.zeros(len(mz), bool)
    for row in _by_strength(spectra):
        if taken[row]:
            continue
        kept[row] = True
        near = order[low[row] : high[row]]
        same = np.abs(rt[near] - rt[row]) <= options.merge_rt_seconds  # NaN is never within
        same &= (polarity[near] == polarity[row]) | (polarity[near] < 0) | (polarity[row] < 0)
        same &= (charge[near] == charge[row]) | (charge[near] == 0) | (charge[row] == 0)
        taken[near[same]] = True
    return spectra.filter(pa.array(kept))


def _by_strength(spectra: pa.Table) -> np.ndarray:
    """Row numbers from the strongest to the weakest."""
    lists = spectra["intensity"].combine_chunks()
    count = pc.list_value_length(lists).to_numpy()
    has_peaks = count > 0
    strength = spectra["precursor_intensity"].to_numpy()
    if np.isnan(strength[has_peaks]).any():
        row = np.repeat(np.arange(len(count)), count)
        strength = np.bincount(row, weights=lists.flatten().to_numpy(), minlength=len(count)).astype(np.float64)
    return np.lexsort((np.arange(len(count)), -np.nan_to_num(strength), ~has_peaks))
