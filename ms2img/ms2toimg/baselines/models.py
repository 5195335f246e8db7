"""The baselines that MS2toImg compares its network with, and two that a reviewer would ask for.

Each is fitted with its own preprocessing, on training rows alone, with one thread and a seed: equal input gives equal
numbers.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, Self

import numpy as np

from ms2img.errors import UsageError
from ms2img.ms2toimg.baselines import MODELS
from ms2img.ms2toimg.baselines.oplsda import OplsDa
from ms2img.ms2toimg.baselines.oplsda_validation import choose
from ms2img.ms2toimg.baselines.pca import Pca
from ms2img.ms2toimg.baselines.preprocessing import FittedPreprocessing, Matrix, Preprocessing, fit_preprocessing

TAKES_SPARSE = ("forest", "logistic", "boosting")  # the models that work on counts of words as they are

#: Trees ask only for the order of a feature's values, so shares of the run's total will do. The linear models see
#: logarithms, for amounts differ by factors, and unit variance, the default of ropls ("standard").
AMOUNTS = Preprocessing(rows="tic")
LOGARITHMS = Preprocessing(rows="tic", imputation="half-minimum", transform="log", scale="unit")
DEFAULTS = {
    "forest": AMOUNTS,
    "boosting": AMOUNTS,
    "logistic": LOGARITHMS,
    "oplsda": LOGARITHMS,
    "pca": LOGARITHMS,
}
WORDS = Preprocessing(rows="tic", transform="log1p", min_samples=2)  # for the counts of `ms2img.ms2toimg.memo`
PIXELS = Preprocessing()  # grey values / 255 as they are

SPLIT_FEATURES = "sqrt"  # looked at by each split of the boosted trees (ours): thousands of features, hundreds of rows
LOGISTIC_STEPS = 1000  # of the solver at most
SLOPE = 4.0  # of the logistic function that takes a prediction of OPLS-DA to 0-1: 1 where it is 0.5 (ours)


def default_preprocessing(name: str, *, scale: Literal["unit", "pareto"] = "unit") -> Preprocessing:
    """That of `DEFAULTS`; where it scales features, as `scale` says."""
    found = DEFAULTS[name]
    return found if found.scale == "none" else found.model_copy(update={"scale": scale})


class Baseline(Protocol):
    """A classifier of rows of a feature table, of counts of words, or of pixels."""

    def fit(self, rows: Matrix, target: np.ndarray, *, groups: np.ndarray | None = None) -> Self:
        """Fit preprocessing and model on rows [n, f] (dense, or CSR for `TAKES_SPARSE`) and target [n] of 0 and 1.

        `groups` [n] names each row's accession; only a choice made by cross-validation inside (of OPLS-DA's components)
        looks at it.
        """

    def probability(self, rows: Matrix) -> np.ndarray:
        """Of being active, float64 [n]."""


def make_baseline(name: str, *, seed: int, preprocessing: Preprocessing | None = None) -> Baseline:
    """A baseline of `MODELS`, not yet fitted; `preprocessing` defaults to that of `DEFAULTS`.

    Raises `UsageError` for an unknown name.
    """
    if name not in MODELS:
        raise UsageError(f"no model '{name}'; expected one of {', '.join(MODELS)}")
    prepared = DEFAULTS[name] if preprocessing is None else preprocessing
    made: dict[str, type[Baseline]] = {"forest": Forest, "logistic": Logistic, "boosting": Boosting}
    made |= {"oplsda": OplsDaClassifier, "pca": PcaClassifier}
    return made[name](prepared, seed)  # type: ignore[call-arg]


class _Prepared:
    """A model behind its preprocessing; subclasses fit and score what comes out of it."""

    def __init__(self, preprocessing: Preprocessing, seed: int) -> None:
        self.preprocessing = preprocessing
        self.seed = seed
        self.fitted: FittedPreprocessing | None = None

    def fit(self, rows: Matrix, target: np.ndarray, *, groups: np.ndarray | None = None) -> Self:
        """See `Baseline`. Raises `ValueError` for a target that is constant or not of 0 and 1."""
        target = np.asarray(target)
        if set(np.unique(target).tolist()) != {0, 1}:
            raise ValueError(f"targets should be 0 and 1, both of them; found {np.unique(target).tolist()[:5]}")
        self.fitted = fit_preprocessing(self.preprocessing, rows)
        self._fit(self.fitted.apply(rows), target, groups)
        return self

    def probability(self, rows: Matrix) -> np.ndarray:
        """See `Baseline`."""
        if self.fitted is None:
            raise ValueError("fit the model first")
        return np.asarray(self._probability(self.fitted.apply(rows)), dtype=np.float64)

    def _fit(self, rows: Any, target: np.ndarray, groups: np.ndarray | None) -> None:
        raise NotImplementedError

    def _probability(self, rows: Any) -> np.ndarray:
        raise NotImplementedError


class Forest(_Prepared):
    """Random forest with scikit-learn's defaults, as MS2toImg has it."""

    def _fit(self, rows: Any, target: np.ndarray, groups: np.ndarray | None) -> None:
        from sklearn.ensemble import RandomForestClassifier

        self.model = RandomForestClassifier(random_state=self.seed, n_jobs=1).fit(rows, target)

    def _probability(self, rows: Any) -> np.ndarray:
        return self.model.predict_proba(rows)[:, 1]


class Boosting(_Prepared):
    """Gradient boosting with scikit-learn's defaults but one: a split looks at the root of the features, as a forest's.

    Boosting on histograms is made for tens of thousands of rows; on 300 rows of 3,000 features it took twenty times as
    long.
    """

    def _fit(self, rows: Any, target: np.ndarray, groups: np.ndarray | None) -> None:
        from sklearn.ensemble import GradientBoostingClassifier

        self.model = GradientBoostingClassifier(random_state=self.seed, max_features=SPLIT_FEATURES).fit(rows, target)

    def _probability(self, rows: Any) -> np.ndarray:
        return self.model.predict_proba(rows)[:, 1]


class Logistic(_Prepared):
    """Logistic regression with an L2 penalty.

    scikit-learn's penalty (C = 1) is made for rows of length about 1; rows of thousands of features of unit variance
    are longer by the root of their number. C is therefore 1 / (total variance of the training rows) (ours), which is
    the same as bringing the rows to that length.
    """

    def _fit(self, rows: Any, target: np.ndarray, groups: np.ndarray | None) -> None:
        from sklearn.linear_model import LogisticRegression

        spread = total_variance(rows)
        self.model = LogisticRegression(
            C=1 / spread if spread > 0 else 1.0, max_iter=LOGISTIC_STEPS, random_state=self.seed
        ).fit(rows, target)

    def _probability(self, rows: Any) -> np.ndarray:
        return self.model.predict_proba(rows)[:, 1]


class OplsDaClassifier(_Prepared):
    """OPLS-DA; the orthogonal components are chosen by the rules of ropls inside the training rows, group by group."""

    def _fit(self, rows: Any, target: np.ndarray, groups: np.ndarray | None) -> None:
        self.choice = choose(rows, target, groups)
        self.model = OplsDa(self.choice.orthogonal).fit(rows, target)

    def _probability(self, rows: Any) -> np.ndarray:
        return 1 / (1 + np.exp(-SLOPE * (self.model.predict(rows) - 0.5)))


class PcaClassifier(_Prepared):
    """Logistic regression on the scores of two principal components, each at unit variance.

    MS2toImg projects onto the two components and looks; the classifier on top is ours, so that there is a number.
    """

    def _fit(self, rows: Any, target: np.ndarray, groups: np.ndarray | None) -> None:
        from sklearn.linear_model import LogisticRegression

        self.pca = Pca().fit(rows)
        spread = self.pca.scores.std(axis=0)
        self.spread = np.where(spread > 0, spread, 1.0)
        self.model = LogisticRegression(random_state=self.seed).fit(self.pca.scores / self.spread, target)

    def _probability(self, rows: Any) -> np.ndarray:
        return self.model.predict_proba(self.pca.project(rows) / self.spread)[:, 1]


def total_variance(rows: Matrix) -> float:
    """Sum over the features of their variances: the mean squared length of the rows about their mean."""
    if isinstance(rows, np.ndarray):
        return float(np.var(rows, axis=0).sum())
    mean = np.asarray(rows.mean(axis=0)).ravel()
    return max(float(rows.multiply(rows).sum()) / rows.shape[0] - float(mean @ mean), 0.0)
