"""Right or wrong, ion by ion: the linear probe of Table 1, and precision among the k most similar ions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion.benchmark.labelled import Labelled
from ms2img.deepion.benchmark.methods import ENCODER, SIMILARITY
from ms2img.deepion.colocalise import nearest, precision_of_each, ranked
from ms2img.deepion.probe import leave_one_out

NEIGHBOURS = 5  # the paper's figures show the five nearest
#: Measures of an ion, each 0-1 and more is better: name -> what people are shown.
MEASURES = {"accuracy": "leave-one-out accuracy", "precision": "precision at k"}


@dataclass(frozen=True, eq=False)
class IonScores:
    """Of each scored ion, [m]: whether the probe found its class (0 or 1), and its share of right neighbours."""

    accuracy: NDArray[np.float64]
    precision: NDArray[np.float64]

    def measure(self, name: str) -> NDArray[np.float64]:
        """A measure by its name in `MEASURES`."""
        values: NDArray[np.float64] = getattr(self, name)
        return values


def score(data: Labelled, space: str, values: np.ndarray, *, top: int = NEIGHBOURS) -> IonScores:
    """Score what a method made of all n ion images, similarities [n, n] or vectors [n, d], on the scored ions.

    Neighbours are by Euclidean distance, of an encoder by cosine, in which it is trained: as ``ms2img deepion
    colocalize`` has it. `UsageError` for `top` of as many ions or more.
    """
    if space == SIMILARITY:
        some = values[np.ix_(data.rows, data.rows)]
        found = ranked(some, top=top)
    else:
        some = values[data.rows]
        found = nearest(some, top=top, metric="cosine" if space == ENCODER else "euclidean").rows
    probe = leave_one_out(some, data.labels)
    right = (probe.predicted == data.labels).astype(np.float64)
    return IonScores(right, precision_of_each(found, data.labels))
