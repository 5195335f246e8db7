"""PCA and OPLS-DA of all labelled rows, as MS2toImg shows them: scores to look at, R2X, R2Y, Q2Y and their p-values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ms2img.ms2toimg.baselines.models import DEFAULTS
from ms2img.ms2toimg.baselines.oplsda import OplsDa
from ms2img.ms2toimg.baselines.oplsda_validation import choose, permutation_test
from ms2img.ms2toimg.baselines.pca import Pca
from ms2img.ms2toimg.baselines.preprocessing import Matrix, Preprocessing, fit_preprocessing
from ms2img.ms2toimg.labels import Labels

PERMUTATIONS = 200  # (ours): the smallest p-value is then 1 / 201; ropls has 20
SCORES = ("method", "sample_id", "accession", "target", "x", "y")
SUMMARY = (
    "method", "x_explained", "y_explained", "r2x", "r2y", "q2y", "q2y_ropls", "orthogonal", "significant", "p_r2y",
    "p_q2y", "permutations", "q2y_permuted",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Multivariate:
    """`scores`: a row a labelled run and method, columns `SCORES`; `summary`: a row a method, columns `SUMMARY`.

    ``q2y`` leaves out accessions and centres each training part, ``q2y_ropls`` is that of ropls itself: runs are left
    out, whoever their replicates are, and everything is centred once. x and y are PC1 and PC2 of "pca", the predictive
    and the first orthogonal score of "oplsda"; ``x_explained`` and ``y_explained`` their shares of the rows' variance.
    Both Q2Y and the p-values rest on rows prepared once, over all of them; see `describe`.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame


def describe(
    rows: Matrix,
    labels: Labels,
    *,
    preprocessing: Preprocessing | None = None,
    orthogonal: int | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Multivariate:
    """Fit both methods on all rows [n, f] of the labels that have a class: descriptive but for Q2Y and the p-values.

    `preprocessing` and `orthogonal` default to those of the classifier "oplsda". Accessions are left out, and their
    labels exchanged, as a whole.

    Preprocessing (median total, half minima, mean and standard deviation of a feature) is fitted once, on all these
    rows, and not anew in each of the seven folds of Q2Y: so does ropls, and the inner products that serve every
    permuted labelling then are the same. A left-out row thus has a part in how rows are scaled, by its amounts, never
    by its label, and as much so for permuted labels. Not so the classifier "oplsda": its preprocessing is fitted on a
    fold's training rows.

    Raises `ValueError` where there is nothing to fit: one class, or no variation that goes with it.
    """
    used = np.flatnonzero(labels.target >= 0)
    target, groups = labels.target[used], np.array(labels.accessions)[used]
    chosen = rows[used]
    prepared = fit_preprocessing(preprocessing or DEFAULTS["oplsda"], chosen).apply(chosen)
    test = permutation_test(prepared, target, groups, orthogonal=orthogonal, permutations=permutations, seed=seed)
    pca, oplsda = Pca().fit(prepared), OplsDa(test.observed.orthogonal).fit(prepared, target)
    has_orthogonal = oplsda.t_orthogonal.shape[1] > 0
    second = oplsda.t_orthogonal[:, 0] if has_orthogonal else np.zeros(len(used))
    summary = [
        {**_nothing("pca"), "x_explained": float(pca.explained[0]), "y_explained": float(pca.explained[1]),
         "r2x": float(pca.explained.sum())},
        {
            "method": "oplsda",
            "x_explained": oplsda.r2x_predictive,
            "y_explained": float(oplsda.r2x_orthogonal[0]) if has_orthogonal else 0.0,
            "r2x": oplsda.r2x,
            "r2y": oplsda.r2y,
            "q2y": test.observed.q2y,
            "q2y_ropls": choose(prepared, target, orthogonal=test.observed.orthogonal, centre="all").q2y,
            "orthogonal": test.observed.orthogonal,
            "significant": test.observed.significant,
            "p_r2y": test.p_r2y if permutations else math.nan,
            "p_q2y": test.p_q2y if permutations else math.nan,
            "permutations": permutations,
            "q2y_permuted": test.q2y.tolist(),
        },
    ]  # fmt: skip
    points = {"pca": pca.scores, "oplsda": np.column_stack([oplsda.t_predictive, second])}
    scores = pd.concat([_placed(labels, used, method, where) for method, where in points.items()], ignore_index=True)
    return Multivariate(scores, pd.DataFrame(summary)[list(SUMMARY)])


def _placed(labels: Labels, used: np.ndarray, method: str, where: np.ndarray) -> pd.DataFrame:
    columns = {
        "method": method,
        "sample_id": [labels.sample_ids[row] for row in used],
        "accession": [labels.accessions[row] for row in used],
        "target": labels.target[used].astype(np.int64),
        "x": where[:, 0],
        "y": where[:, 1],
    }
    return pd.DataFrame(columns)[list(SCORES)]


def _nothing(method: str) -> dict[str, Any]:
    """What a method without a target leaves open."""
    return {
        "method": method,
        **dict.fromkeys(("x_explained", "y_explained", "r2x", "r2y", "q2y", "q2y_ropls"), math.nan),
        "orthogonal": 0,
        "significant": False,
        **dict.fromkeys(("p_r2y", "p_q2y"), math.nan),
        "permutations": 0,
        "q2y_permuted": [],
    }
