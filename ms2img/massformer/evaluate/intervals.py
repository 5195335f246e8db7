"""Differences between models over the same molecules, and what is left of chance in training averaged out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ms2img.learn.intervals import Interval, bootstrap_mean


def paired_difference(first: Mapping[str, float], second: Mapping[str, float], *, seed: int = 0) -> Interval:
    """Mean of first - second over the molecules that both have, with its interval."""
    shared = sorted(first.keys() & second.keys())
    return bootstrap_mean([first[name] - second[name] for name in shared], seed=seed)


def mean_over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of every molecule that all runs have, the mean of its scores: what is left of chance in training averages out."""
    shared = set(runs[0]).intersection(*runs[1:]) if runs else set()
    return {name: float(np.mean([run[name] for run in runs])) for name in sorted(shared)}
