"""The incomplete beta function, and Student's t by it, in numpy's company alone: a training machine has no SciPy."""

from __future__ import annotations

import math

CONTINUED_FRACTION_STEPS = 500


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (modified Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction for the complement converges faster
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    fraction = d
    for m in range(1, CONTINUED_FRACTION_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = p, by bisection."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:  # until no double lies between
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return middle


def t_two_sided(t: float, df: float) -> float:
    """The chance that Student's t with `df` degrees of freedom lies at least as far from 0 as `t`."""
    return beta_cdf(df / (df + t * t), df / 2, 0.5)


def t_bound(confidence: float, df: float) -> float:
    """The distance from 0 within which Student's t lies with this probability: 2.776 at 0.95 and 4 degrees."""
    x = beta_quantile(1 - confidence, df / 2, 0.5)
    return math.sqrt(df * (1 - x) / x)
