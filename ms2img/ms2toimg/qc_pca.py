"""Principal components of the images, and which runs lie outside of what the samples span.

MS2toImg, "Data Preprocessing", looks for outliers by PCA in the alignment software; here it is done on the images.
Two distances: Hotelling's T2 within the components, and the residual Q off them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ms2img.learn.distributions import beta_quantile
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_profiles import CHUNK
from ms2img.ms2toimg.qc_stats import chi2_quantile

LEAST_SAMPLES = 10  # below, an outlier model is a guess (ours)
SPARE = 20  # vectors iterated beyond those wanted: they decide how fast the iteration converges (ours)
ITERATIONS = 1000
CONVERGED = 1e-12  # relative change of the eigenvalues


@dataclass(frozen=True, eq=False)
class Pca:
    """Scores of all runs [n, components], their T2 and Q [n], and the limits for the samples the model was made of.

    ``explained`` is each component's share of the samples' variance. T2's limit is the exact one of a run that took
    part in the model (beta distribution), Q's is Box's scaled chi-squared.
    """

    scores: np.ndarray
    explained: np.ndarray
    t2: np.ndarray
    t2_limit: float
    q: np.ndarray
    q_limit: float
    variances: np.ndarray
    n: int

    def ellipse(self, confidence: float) -> tuple[float, float]:
        """Half axes along the first two components of the ellipse that holds this share of sound samples."""
        limit = t2_limit(self.n, 2, confidence)
        return math.sqrt(limit * self.variances[0]), math.sqrt(limit * self.variances[1])


def fit_pca(rows: np.ndarray, samples: np.ndarray, limits: QcLimits) -> Pca | None:
    """The model of the samples' rows (bool [n]), centred; all `rows` float32 [n, pixels] are placed in it.

    None for fewer than `LEAST_SAMPLES` samples, or samples that are all the same. Memory: the smaller square of
    samples or pixels in float64, beside the rows.
    """
    chosen = np.flatnonzero(samples)
    n = len(chosen)
    if n < LEAST_SAMPLES:
        return None
    mean = rows[chosen].mean(axis=0, dtype=np.float64)
    gram = n <= rows.shape[1]
    square = _gram(rows, chosen, mean) if gram else _covariance(rows, chosen, mean)
    total, squared = float(np.trace(square)) / (n - 1), float(np.einsum("ij,ij->", square, square)) / (n - 1) ** 2
    wanted = min(limits.components, n - 3, rows.shape[1])
    values, vectors = top_eigen(square, wanted)
    variances = values / (n - 1)
    kept = variances > 1e-9 * max(total, 1e-300)
    if kept.sum() < 2:
        return None
    variances, vectors = variances[kept], vectors[:, kept]
    if gram:
        vectors = _from_gram(rows, chosen, mean, vectors) / np.sqrt(values[kept])
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(variances))] < 0, -1, 1)
    scores, q = _place(rows, mean, vectors)
    k = len(variances)
    rest, rest_squared = max(total - variances.sum(), 0.0), max(squared - float(variances @ variances), 0.0)
    return Pca(
        scores=scores,
        explained=variances / total,
        t2=np.einsum("ij,j->i", scores**2, 1 / variances),
        t2_limit=t2_limit(n, k, limits.confidence),
        q=q,
        q_limit=q_limit(rest, rest_squared, limits.confidence),
        variances=variances,
        n=n,
    )


def t2_limit(n: int, components: int, confidence: float) -> float:
    """T2 that a run of the model exceeds with probability 1 - confidence (Tracy, Young and Mason 1992)."""
    return (n - 1) ** 2 / n * beta_quantile(confidence, components / 2, (n - components - 1) / 2)


def q_limit(rest: float, rest_squared: float, confidence: float) -> float:
    """Q exceeded with probability 1 - confidence, from sum and sum of squares of the residual variances (Box 1954).

    Jackson and Mudholkar's formula is not used: images leave residual variances for which it has no sense (h0 < 0).
    """
    if rest <= 0 or rest_squared <= 0:
        return 0.0
    return rest_squared / rest * chi2_quantile(confidence, rest**2 / rest_squared)


def top_eigen(square: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues [wanted], falling, and eigenvectors [n, wanted] of a symmetric matrix without negative.

    By iteration of a block: the full decomposition of 5,250 pixels takes a minute, this seconds.
    """
    n = len(square)
    if n <= 4 * (wanted + SPARE):
        values, vectors = np.linalg.eigh(square)
        return np.maximum(values[::-1][:wanted], 0), vectors[:, ::-1][:, :wanted]
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((n, wanted + SPARE)))[0]
    before = np.zeros(wanted)
    for _ in range(ITERATIONS):
        image = square @ block
        values, turn = np.linalg.eigh(block.T @ image)  # Rayleigh and Ritz
        now = values[::-1][:wanted]
        if np.abs(now - before).max() <= CONVERGED * max(now[0], 1e-300):
            break
        before = now
        block = np.linalg.qr(image @ turn)[0]
    return np.maximum(now, 0), (block @ turn)[:, ::-1][:, :wanted]


def _gram(rows: np.ndarray, chosen: np.ndarray, mean: np.ndarray) -> np.ndarray:
    centred = rows[chosen] - mean
    return centred @ centred.T


def _covariance(rows: np.ndarray, chosen: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Sum of squares and products of the centred pixels [pixels, pixels]."""
    out = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(chosen), CHUNK):
        centred = rows[chosen[start : start + CHUNK]] - mean
        out += centred.T @ centred
    return out


def _from_gram(rows: np.ndarray, chosen: np.ndarray, mean: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    out = np.zeros((rows.shape[1], vectors.shape[1]))
    for start in range(0, len(chosen), CHUNK):
        out += (rows[chosen[start : start + CHUNK]] - mean).T @ vectors[start : start + CHUNK]
    return out


def _place(rows: np.ndarray, mean: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, q = np.empty((len(rows), vectors.shape[1])), np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        here = slice(start, start + CHUNK)
        centred = rows[here] - mean
        scores[here] = centred @ vectors
        q[here] = np.einsum("ij,ij->i", centred, centred) - np.einsum("ij,ij->i", scores[here], scores[here])
    return scores, np.maximum(q, 0)
