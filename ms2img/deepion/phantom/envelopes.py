"""Isotope envelopes: the peaks an instrument of limited resolution shows of one ion, from its formula.

Each element's isotopes are convolved with those of the others, masses and probabilities exact but for what is too rare
to be seen; then what the instrument cannot separate is put together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from pyteomics.mass import nist_mass

from ms2img.deepion.phantom.formulae import Atoms
from ms2img.errors import UsageError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ELECTRON = float(nist_mass["e*"][0][0])  # Da
MERGE_PPM = 20.0  # the width of a peak at a resolving power of 50,000, that of the paper's timsTOF fleX
_RARE = 1e-7  # probability, below which an isotopologue is left out of the convolution
_SAME = 1e-6  # Da, below which two compositions have one mass


@dataclass(frozen=True)
class Envelope:
    """The peaks of one ion by ascending m/z: k in all."""

    mz: Floats  # [k], Da/charge
    abundance: Floats  # [k], share of all ions of the species
    number: Integers  # [k], neutrons above the monoisotopic ion (all of the lightest common isotopes: 12C, 35Cl, ...)


def envelope(atoms: Atoms, charge: int, *, least: float, merge_ppm: float = MERGE_PPM) -> Envelope:
    """The envelope of an ion, electrons counted; peaks fainter than `least` times the highest are left out.

    Of isotopologues with as many neutrons the most probable takes in those within `merge_ppm`, and their peak lies at
    their mean; then the most probable of the rest. Raises `UsageError` for an element without natural isotopes, a
    negative count or a charge of 0.
    """
    if charge == 0:
        raise UsageError("charge: 0; expected that of an ion")
    mass, share, number = isotopologues(atoms)
    mz = (mass - charge * ELECTRON) / abs(charge)
    peaks = list(_merged(mz, share, number, merge_ppm, faintest=0.01 * least * float(share.max())))
    centre, total, neutrons = (np.array(column) for column in zip(*peaks, strict=True))
    seen = np.flatnonzero(total >= least * total.max())
    seen = seen[np.argsort(centre[seen], kind="stable")]
    return Envelope(centre[seen], total[seen], neutrons[seen])


def _merged(
    mz: Floats, share: Floats, number: Integers, merge_ppm: float, faintest: float
) -> Iterator[tuple[float, float, int]]:
    """Peaks as (m/z, share, neutrons), those with the most probable isotopologue first, down to `faintest`."""
    left = np.argsort(-share)
    while len(left):
        top = left[0]
        if share[top] < faintest:
            return
        near = (np.abs(mz[left] - mz[top]) <= mz[top] * merge_ppm * 1e-6) & (number[left] == number[top])
        taken = left[near]
        total = float(share[taken].sum())
        yield float(mz[taken] @ share[taken]) / total, total, int(number[top])
        left = left[~near]


def isotopologues(atoms: Atoms) -> tuple[Floats, Floats, Integers]:
    """Mass (Da, neutral), probability and extra neutrons of every isotopologue more probable than 1e-7."""
    joint = _ONE
    for symbol, count in atoms.items():
        joint = _convolve(joint, _element(symbol, count))
    return joint


_Distribution = tuple[Floats, Floats, Integers]
_ONE: _Distribution = (np.zeros(1), np.ones(1), np.zeros(1, np.int64))


@cache
def _element(symbol: str, count: int) -> _Distribution:
    """The distribution of `count` atoms of one element, by repeated squaring."""
    if count < 0:
        raise UsageError(f"formula: {count} atoms of {symbol}; expected none or more")
    if count == 0:
        return _ONE
    half = _element(symbol, count // 2)
    square = _convolve(half, half)
    return _convolve(square, _atom(symbol)) if count % 2 else square


@cache
def _atom(symbol: str) -> _Distribution:
    isotopes = {number: pair for number, pair in nist_mass.get(symbol, {}).items() if number and pair[1] > 0}
    if not isotopes:
        raise UsageError(f"formula: {symbol!r}; expected elements with natural isotopes")
    numbers = np.array(sorted(isotopes), np.int64)
    mass, share = (np.array([isotopes[number][column] for number in numbers.tolist()]) for column in (0, 1))
    return mass, share / share.sum(), numbers - numbers[0]


def _convolve(one: _Distribution, other: _Distribution) -> _Distribution:
    mass = np.add.outer(one[0], other[0]).ravel()
    share = np.multiply.outer(one[1], other[1]).ravel()
    number = np.add.outer(one[2], other[2]).ravel()
    kept = share > _RARE
    mass, share, number = mass[kept], share[kept], number[kept]
    order = np.argsort(mass)
    mass, share, number = mass[order], share[order], number[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(mass) > _SAME]))
    total = np.add.reduceat(share, starts)
    return np.add.reduceat(mass * share, starts) / total, total, number[starts]
