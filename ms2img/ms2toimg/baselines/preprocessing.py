"""What is done to a feature table before a baseline sees it; everything is estimated on the rows that are handed in.

A classifier hands in its training rows alone. `multivariate` hands in all labelled rows, once, as ropls scales; no
label is ever looked at.

Order: rare features out, rows to one total, missing values in, logarithm, centre and scale. A feature that is constant
in the training rows becomes 0 everywhere: nothing could be learned of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import scipy.sparse as sp
from pydantic import Field, model_validator

from ms2img.config import Config

Matrix: TypeAlias = np.ndarray | sp.csr_matrix  # [n, f], float64

# Of the smallest value seen takes the place of a missing one (MetaboAnalyst: Xia et al., Nucleic Acids Res. 37:W652,
# 2009).
HALF = 0.5
CONSTANT = 1e-12  # a spread below this share of the feature's size is rounding (ours)


class Preprocessing(Config):
    """How rows are prepared; the defaults change nothing."""

    rows: Literal["none", "tic"] = Field(
        default="none", description="'tic' brings each row to one total, the median total of the training rows"
    )
    imputation: Literal["none", "half-minimum"] = Field(
        default="none",
        description="what an absent (0) value becomes: half of the feature's smallest in the training rows",
    )
    transform: Literal["none", "log", "log1p"] = Field(
        default="none", description="'log' is log10 and needs an imputation, 'log1p' is ln(1 + value), for counts"
    )
    scale: Literal["none", "pareto", "unit"] = Field(
        default="none", description="'unit' centres and divides by the standard deviation, 'pareto' by its square root"
    )
    min_samples: int = Field(default=0, ge=0, description="features present in fewer training rows are dropped")

    @model_validator(mode="after")
    def _log_needs_values(self) -> Self:
        if self.transform == "log" and self.imputation == "none":
            raise ValueError("transform 'log' needs imputation 'half-minimum': absent features are 0")
        return self


@dataclass(frozen=True, eq=False)
class FittedPreprocessing:
    """What was estimated from the training rows; arrays are [f] of the features kept.

    `total` is the rows' total, `fill` what takes the place of 0, `mean` and `divisor` centre and scale.
    """

    config: Preprocessing
    kept: np.ndarray
    total: float
    fill: np.ndarray | None
    mean: np.ndarray | None
    divisor: np.ndarray | None

    def apply(self, rows: Matrix) -> Matrix:
        """Rows [n, features of the table] -> [n, features kept], float64; a sparse matrix stays sparse."""
        found = _transformed(_filled(_normalised(rows, self.config, self.total, self.kept), self.fill), self.config)
        if self.mean is None or self.divisor is None:
            return found
        scaled: np.ndarray = (found - self.mean) / self.divisor
        return scaled


def fit_preprocessing(config: Preprocessing, rows: Matrix) -> FittedPreprocessing:
    """Estimate what `config` asks for from the training rows [n, f]: numbers from 0 on, 0 (or NaN) where absent.

    Raises `ValueError` for a negative or infinite value, for a sparse matrix that would not stay sparse, and where
    no feature is in `min_samples` rows.
    """
    if sp.issparse(rows) and (config.imputation != "none" or config.scale != "none" or config.transform == "log"):
        raise ValueError(f"a sparse matrix takes rows, log1p and min_samples only, not {config.model_dump()}")
    _require_amounts(rows)
    kept = np.flatnonzero(_present(rows) >= config.min_samples)
    if not kept.size:
        raise ValueError(f"none of {rows.shape[1]} features is in {config.min_samples} training rows or more")
    totals = _totals(rows)
    total = float(np.median(totals[totals > 0])) if (totals > 0).any() else 1.0
    normalised = _normalised(rows, config, total, kept)
    fill = _fill_of(normalised) if config.imputation == "half-minimum" else None
    found = _transformed(_filled(normalised, fill), config)
    mean, divisor = (None, None) if config.scale == "none" else _scale_of(found, config.scale)
    return FittedPreprocessing(config, kept, total, fill, mean, divisor)


def _require_amounts(rows: Matrix) -> None:
    values = rows if isinstance(rows, np.ndarray) else rows.data
    if np.isinf(values).any() or (values < 0).any():
        raise ValueError("a feature table holds numbers from 0 on; found a negative or infinite one")


def _present(rows: Matrix) -> np.ndarray:
    """In how many rows each feature is [f]."""
    is_there: Any = rows > 0
    return np.asarray(is_there.sum(axis=0)).ravel()


def _totals(rows: Matrix) -> np.ndarray:
    """Sum of each row [n]; absent counts nothing."""
    return np.nansum(rows, axis=1) if isinstance(rows, np.ndarray) else np.asarray(rows.sum(axis=1)).ravel()


def _normalised(rows: Matrix, config: Preprocessing, total: float, kept: np.ndarray) -> Matrix:
    """The kept features, rows brought to `total` (over all features) where that is asked for; NaN becomes 0."""
    factor = None
    if config.rows == "tic":
        totals = _totals(rows)
        usable = totals > total * np.finfo(float).tiny  # of a smaller one (5e-324, say) the factor would be infinite
        factor = np.where(usable, total / np.where(usable, totals, 1.0), 0.0)
    if sp.issparse(rows):
        chosen = sp.csr_matrix(rows[:, kept], dtype=np.float64)
        return chosen if factor is None else sp.csr_matrix(sp.diags(factor) @ chosen)
    found = np.nan_to_num(np.asarray(rows, dtype=np.float64)[:, kept], nan=0.0)
    return found if factor is None else found * factor[:, None]


def _fill_of(rows: np.ndarray) -> np.ndarray:
    """Half of each feature's smallest value above 0; of the table's smallest where a feature has none."""
    smallest = np.where(rows > 0, rows, np.inf).min(axis=0, initial=np.inf)
    seen = smallest[np.isfinite(smallest)]
    return HALF * np.where(np.isfinite(smallest), smallest, seen.min() if seen.size else 1.0)


def _filled(rows: Matrix, fill: np.ndarray | None) -> Matrix:
    return rows if fill is None else np.where(rows > 0, rows, fill)


def _transformed(rows: Matrix, config: Preprocessing) -> Matrix:
    if config.transform == "none":
        return rows
    if config.transform == "log1p":
        return np.log1p(rows) if isinstance(rows, np.ndarray) else rows.log1p()
    logs: np.ndarray = np.log10(rows)
    return logs


def _scale_of(rows: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and divisor of each feature, by the standard deviation with n - 1 as in ropls; infinite where constant."""
    mean = rows.mean(axis=0)
    sd = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros_like(mean)
    constant = sd <= CONSTANT * np.maximum(np.abs(rows).max(axis=0, initial=0.0), np.finfo(float).tiny)
    return mean, np.where(constant, np.inf, np.sqrt(sd) if scale == "pareto" else sd)
