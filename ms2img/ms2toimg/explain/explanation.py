"""One run explained: its score, and the pairs of its own spectra that the score is owed to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ms2img.io.read import RunSpectra
from ms2img.io.sheet import Run
from ms2img.ms2toimg.explain.attribution import Attribution, attribute
from ms2img.ms2toimg.explain.cover import Cover, cover_of
from ms2img.ms2toimg.explain.methods import Method
from ms2img.ms2toimg.explain.pairs import join_pairs, rank_pairs
from ms2img.ms2toimg.explain.peaks import DrawnPeaks, drawn_peaks
from ms2img.ms2toimg.points import Points, points_from_spectra
from ms2img.ms2toimg.predictor import Predictor
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.resize import Bytes

#: m/z (ours): several times the error of a time-of-flight instrument, a sixteenth of what a source pixel spans.
PAIR_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the score of one run is made of.

    `pairs` has the columns `pairs.COLUMNS`; its attributions and `rest` add up to the difference between the logits of
    the run's image and of a black one. `pair_of_point` is each point's row in it.
    """

    sample_id: str
    probability: float
    label: str  # "active" | "inactive"
    image: Bytes  # [height, width]
    attribution: Attribution
    pairs: pd.DataFrame
    points: Points
    peaks: DrawnPeaks
    cover: Cover
    pair_of_point: npt.NDArray[np.int64]

    @property
    def rest(self) -> float:
        """What the pairs leave unexplained of the logits' difference."""
        whole = self.attribution.logit - self.attribution.black_logit
        return whole - float(self.pairs["attribution"].sum())

    @property
    def is_complete(self) -> bool:
        """Whether the pairs add up to the logits' difference, to the tolerance of `Attribution`."""
        return self.attribution.allows(self.rest)


def explain_run(
    run: Run,
    spectra: RunSpectra,
    predictor: Predictor,
    *,
    method: Method = "integrated-gradients",
    tolerance: float = PAIR_TOLERANCE,
) -> Explanation:
    """Explain the score that `predictor` gives one run.

    Raises `RunError` for a run that cannot be drawn, `UsageError` without captum.
    """
    config = predictor.render
    points = points_from_spectra(spectra.table, config, path=run.path)
    image = render(points, config)
    answer = predictor.predict(pd.DataFrame({"sample_id": [run.sample_id], "image": [image]})).iloc[0]
    found = attribute(predictor.network, image, method)
    cover = cover_of(points, config)
    peaks = drawn_peaks(spectra.table, points, config, path=run.path)
    pairs, pair_of_point = rank_pairs(
        spectra.table,
        points,
        peaks,
        cover.split(found.pixels),
        pair=join_pairs(points, tolerance),
        active=answer["label"] == "active",
    )
    return Explanation(
        sample_id=run.sample_id,
        probability=float(answer["probability"]),
        label=str(answer["label"]),
        image=image,
        attribution=found,
        pairs=pairs,
        points=points,
        peaks=peaks,
        cover=cover,
        pair_of_point=pair_of_point,
    )
