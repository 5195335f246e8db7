"""The standard curve: a line of the response on the concentration, over the range in which it is one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ms2img.errors import UsageError
from ms2img.ms2toimg.assay.options import AssayOptions

LEAST_LEVELS = 3  # concentrations that make a line one can judge
LEAST_CHOSEN = 4  # the fewest that a linear range is narrowed to (ours): any three lie near some line


@dataclass(frozen=True)
class Curve:
    """Scavenging % = intercept + slope x concentration, by least squares over `n` wells of `levels` concentrations.

    `low` to `high` is the linear range, in the unit of the concentrations; `linear` whether its r2 reaches what was
    asked for; `residual_sd` with n - 2 degrees of freedom, in %.
    """

    slope: float
    intercept: float
    r2: float
    low: float
    high: float
    n: int
    levels: int
    residual_sd: float
    linear: bool

    def response(self, concentration: np.ndarray) -> np.ndarray:
        """The line's scavenging % at each concentration."""
        return self.intercept + self.slope * concentration

    def concentration(self, response: np.ndarray) -> np.ndarray:
        """The inverse: how much of the standard gives each response."""
        return (response - self.intercept) / self.slope

    def covers(self, concentration: np.ndarray | float) -> np.ndarray:
        """Whether each concentration lies in the calibrated range."""
        return np.logical_and(self.low <= concentration, concentration <= self.high)


def fit_curve(concentration: np.ndarray, response: np.ndarray, options: AssayOptions, *, where: str) -> Curve:
    """The standard curve of one plate, of its standard wells [n].

    The linear range is that of the options; else all concentrations if their line reaches ``min_r2``, else the longest
    run of at least `LEAST_CHOSEN` neighbouring ones that does, and rises (of equally long ones the straightest), else
    all of them, and the curve is not `linear`.

    Raises `UsageError`, beginning with `where`: fewer than three concentrations, a line that does not rise.
    """
    low = options.linear_from or 0.0
    high = math.inf if options.linear_to is None else options.linear_to
    is_given = options.linear_from is not None or options.linear_to is not None
    levels = np.unique(concentration)
    levels = levels[(levels >= low) & (levels <= high)]
    if len(levels) < LEAST_LEVELS:
        within = f" from {low:g}{f' to {high:g}' if high < math.inf else ' on'}" if is_given else ""
        message = f"standards of {len(levels)} concentrations{within}; expected {LEAST_LEVELS} or more for a curve"
        raise UsageError(f"{where}: {message}")
    curve = _line(concentration, response, levels, options.min_r2)
    for width in range(len(levels) - 1, LEAST_CHOSEN - 1, -1):
        if curve.linear or is_given:
            break
        windows = [levels[start : start + width] for start in range(len(levels) - width + 1)]
        lines = [_line(concentration, response, each, options.min_r2) for each in windows]
        straight = [line for line in lines if line.linear and line.slope > 0]
        curve = max(straight, key=lambda line: line.r2, default=curve)
    if not curve.slope > 0:
        raise UsageError(
            f"{where}: scavenging does not rise with the standards' concentration (slope {curve.slope:.3g}); expected "
            "the blank to be the reagent without a sample, and concentrations as they stand on the plate"
        )
    return curve


def _line(concentration: np.ndarray, response: np.ndarray, levels: np.ndarray, min_r2: float) -> Curve:
    """Ordinary least squares over the wells of these concentrations."""
    chosen = (concentration >= levels[0]) & (concentration <= levels[-1])
    x, y = concentration[chosen], response[chosen]
    from_mean = x - x.mean()
    slope = float(from_mean @ y / (from_mean @ from_mean))
    intercept = float(y.mean() - slope * x.mean())
    residual = y - intercept - slope * x
    total = float(((y - y.mean()) ** 2).sum())
    left = float(residual @ residual)
    r2 = 1 - left / total if total > 0 else 0.0
    return Curve(
        slope=slope,
        intercept=intercept,
        r2=r2,
        low=float(levels[0]),
        high=float(levels[-1]),
        n=len(x),
        levels=len(levels),
        residual_sd=math.sqrt(left / (len(x) - 2)),
        linear=r2 >= min_r2,
    )
