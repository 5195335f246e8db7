"""The check of an explanation: what the score does when pairs are deleted and the run is drawn and scored again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.ms2toimg.explain.explanation import Explanation
from ms2img.ms2toimg.explain.peaks import without_peaks
from ms2img.ms2toimg.intensities import Floats
from ms2img.ms2toimg.points import Points, points_from_spectra
from ms2img.ms2toimg.predictor import Predictor
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.resize import Bytes

Integers = npt.NDArray[np.int64]

#: What happens to the fragments that stay: "kept" in their grey, or "rescaled" by the largest that is left of their
#: spectrum, as if the file had never had the others.
Greys = Literal["kept", "rescaled"]


def probabilities_without(
    found: Explanation,
    spectra: pa.Table,
    predictor: Predictor,
    order: Sequence[int] | Integers,
    counts: Iterable[int],
    *,
    greys: Greys = "kept",
) -> Floats:
    """The probability of being active after the first so many pairs of `order` are deleted: float64 [counts].

    Parameters
    ----------
    spectra: the table that was explained.
    order: rows of `found.pairs`, first to be deleted first.
    greys: see `Greys`. Rescaling is what a file without these peaks would give; it also brightens what is left of a
        spectrum that lost its base peak, which is no effect of the deleted pair.
    """
    draw = _kept if greys == "kept" else _rescaled
    images = (draw(found, spectra, predictor, np.isin(found.pair_of_point, order[:count])) for count in counts)
    return np.array([_probability(predictor, image) for image in images])


def _kept(found: Explanation, spectra: pa.Table, predictor: Predictor, gone: npt.NDArray[np.bool_]) -> Bytes:
    points = found.points
    left = {name: getattr(points, name)[~gone] for name in ("precursor_mz", "fragment_mz", "size", "grey")}
    return _drawn(replace(points, **left), predictor)


def _rescaled(found: Explanation, spectra: pa.Table, predictor: Predictor, gone: npt.NDArray[np.bool_]) -> Bytes:
    lighter = without_peaks(spectra, found.peaks.row[gone], found.peaks.peak[gone])
    try:
        return _drawn(points_from_spectra(lighter, predictor.render, path=found.sample_id), predictor)
    except RunError as error:
        if error.code in (Code.NO_MSMS, Code.NOTHING_TO_DRAW):
            return _black(predictor)
        raise


def _drawn(points: Points, predictor: Predictor) -> Bytes:
    return render(points, predictor.render) if points.n_fragments else _black(predictor)


def _black(predictor: Predictor) -> Bytes:
    return np.zeros((predictor.render.height, predictor.render.width), np.uint8)


def _probability(predictor: Predictor, image: Bytes) -> float:
    return float(predictor.predict(pd.DataFrame({"image": [image]}))["probability"].iloc[0])
