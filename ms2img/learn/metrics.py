"""Binary classification metrics in numpy alone, with scikit-learn's conventions where a quotient is undefined."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

BOOTSTRAP_RESAMPLES = 2000  # Ours: the ends of a 95 % interval then repeat to about .005
INTERVAL = (0.025, 0.975)  # the 95 % percentile interval (Efron, 1979)


@dataclass(frozen=True)
class BinaryMetrics:
    """What a classifier did on `n` examples; the positive class is 1 ("active")."""

    n: int
    accuracy: float
    precision: float  # 0 where nothing was called positive
    recall: float  # 0 where nothing is positive
    f1: float  # 0 where neither occurs
    roc_auc: float  # NaN where only one class occurs
    tn: int
    fp: int
    fn: int
    tp: int

    def to_dict(self) -> dict[str, float]:
        """All values by name."""
        return asdict(self)


def binary_metrics(target: np.ndarray, probability: np.ndarray, threshold: float = 0.5) -> BinaryMetrics:
    """Metrics of `probability` [n] in 0-1 against `target` [n] of 0 and 1; at `threshold` an example counts as 1.

    Raises `ValueError` for shapes that differ, no examples, or values that are no target or not finite.
    """
    truth, score = _checked(target, probability)
    called = score >= threshold
    tp = int(np.sum(called & truth))
    fp = int(np.sum(called & ~truth))
    fn = int(np.sum(~called & truth))
    tn = int(np.sum(~called & ~truth))
    return BinaryMetrics(
        n=truth.size,
        accuracy=(tp + tn) / truth.size,
        precision=_quotient(tp, tp + fp),
        recall=_quotient(tp, tp + fn),
        f1=_quotient(2 * tp, 2 * tp + fp + fn),
        roc_auc=roc_auc(truth, score),
        tn=tn,
        fp=fp,
        fn=fn,
        tp=tp,
    )


def roc_auc(target: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties counting one half.

    NaN where `target` [n] holds one class only.
    """
    truth, score = _checked(target, score)
    n_positive = int(truth.sum())
    n_negative = truth.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(size) - (size - 1) / 2  # of each group of equal scores, counted from 1
    rank_sum = mean_rank[group][truth].sum()
    # Mann-Whitney U of the positives over the number of pairs.
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


@dataclass(frozen=True)
class AucInterval:
    """An AUC and the percentile interval of its bootstrap; `low` and `high` are NaN where no resample had an AUC."""

    auc: float
    low: float
    high: float
    resamples: int
    degenerate: int  # resamples with one class only: they have no AUC and are left out


def bootstrap_auc(
    target: np.ndarray, score: np.ndarray, *, resamples: int = BOOTSTRAP_RESAMPLES, seed: int = 0
) -> AucInterval:
    """The AUC of `score` [n] against `target` [n] of 0 and 1, and its 95 % interval over resampled examples.

    An example is what was drawn independently: an accession, not one of its replicates.
    """
    truth, score = _checked(target, score)
    n = truth.size
    times_drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    # How many of a positive and a negative are ranked rightly is the same in every resample: only its weight changes.
    positive, negative = score[truth][:, None], score[~truth][None, :]
    right = (positive > negative) + 0.5 * (positive == negative)
    drawn_positive, drawn_negative = times_drawn[:, truth], times_drawn[:, ~truth]
    pairs = drawn_positive.sum(axis=1) * drawn_negative.sum(axis=1)
    drawn_right = ((drawn_positive @ right) * drawn_negative).sum(axis=1)
    aucs = drawn_right[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(aucs, INTERVAL) if aucs.size else (np.nan, np.nan)
    return AucInterval(roc_auc(truth, score), float(low), float(high), resamples, resamples - aucs.size)


def roc_curve(target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False positive rate, true positive rate and threshold, each [m + 1] for m distinct scores, from (0, 0) to (1, 1).

    Point i calls positive what scores at least threshold i; the first threshold is infinite. A rate whose class is
    absent is NaN.
    """
    truth, score = _checked(target, score)
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    tp = np.cumsum(truth[order])[last_of_ties]
    fp = 1 + last_of_ties - tp
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    with np.errstate(invalid="ignore"):
        fpr = np.concatenate([[0], fp]) / np.float64(n_negative)
        tpr = np.concatenate([[0], tp]) / np.float64(n_positive)
    return fpr, tpr, np.concatenate([[np.inf], ranked[last_of_ties]])


def _checked(target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`target` as bool and `score` as float64, or a `ValueError` that echoes what is wrong."""
    target, score = np.asarray(target), np.asarray(score, dtype=np.float64)
    if target.ndim != 1 or target.shape != score.shape or target.size == 0:
        raise ValueError(f"target {target.shape} and score {score.shape} should be vectors of one length above 0")
    if not np.isin(target, (0, 1)).all():
        raise ValueError(f"targets should be 0 or 1, found {sorted(set(target.tolist()) - {0, 1})[:5]}")
    if not np.isfinite(score).all():
        raise ValueError(f"{int((~np.isfinite(score)).sum())} of {score.size} scores are not finite")
    return target.astype(bool), score


def _quotient(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
