"""The spectra of one run to its features, before any merging: what has MS/MS and passes the images' intensity cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.schema import SPECTRA, require
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.table import SAMPLE_FEATURES
from ms2img.ms2toimg.intensities import precursor_intensity, shares, summed_msms


@dataclass(frozen=True)
class RunCounts:
    """Spectra of one run, and how many of them were dropped; the rest are features."""

    n_spectra: int
    n_without_msms: int
    n_below_cut: int
    ms1_source: str  # what heights are: the "file" says them, or "summed-msms"


def extract(spectra: pa.Table, options: FeatureOptions, *, path: str) -> tuple[pa.Table, RunCounts]:
    """The features of one run, schema `SAMPLE_FEATURES`, one a spectrum, in the order of the table.

    Parameters
    ----------
    spectra: the run's rows, schema `ms2img.io.schema.SPECTRA`.
    path: the run's file, for messages.

    Raises
    ------
    RunError: ``no-msms`` without any fragment; ``nothing-to-draw`` if every spectrum is below the cut; ``bad-value`` as
        for an image.
    """
    require(spectra, SPECTRA, what="extract")
    summed = summed_msms(spectra, path)
    has_msms = summed > 0
    if not has_msms.any():
        raise RunError(Code.NO_MSMS, f"no MS/MS peaks in {spectra.num_rows} spectra", path=path)
    height, ms1_source = precursor_intensity(spectra, summed, options.missing_precursor_intensity, path)
    above_cut = shares(height) > options.intensity_cut
    kept = has_msms & above_cut
    if not kept.any():
        message = f"no feature left: all {spectra.num_rows} spectra below the intensity cut; lower intensity_cut"
        raise RunError(Code.NOTHING_TO_DRAW, message, path=path)
    place = spectra.schema.get_field_index("precursor_intensity")
    rows = spectra.set_column(place, "height", pa.array(height)).filter(pa.array(kept))
    counts = RunCounts(
        n_spectra=spectra.num_rows,
        n_without_msms=int(np.count_nonzero(~has_msms)),
        n_below_cut=int(np.count_nonzero(has_msms & ~above_cut)),
        ms1_source=ms1_source,
    )
    return rows.select(SAMPLE_FEATURES.names).cast(SAMPLE_FEATURES).combine_chunks(), counts
