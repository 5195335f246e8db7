"""MS/MS spectra in negative mode: the pieces of a molecule that one or two cuts and up to two neutral losses leave.

Exact by construction: a fragment's m/z is the mass of its atoms, of the hydrogens it takes or leaves, and of one
electron. Intensities are a heuristic of ours: the product of the weights of what broke (`bonds`) and of how well the
piece holds a negative charge.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.simulation.bonds import Cut, cuts

Floats = npt.NDArray[np.float64]

ELECTRON = 0.000548579909  # Da
HYDROGEN = 1.00782503223  # Da
PROTON = HYDROGEN - ELECTRON  # Da
FORMIC_ACID = 46.0054793  # Da

LOWEST_MZ = 50.0  # where the simulated MS/MS scans begin
MAX_FRAGMENTS = 50
FAINTEST = 2e-3  # of the base peak
_UNLIKELY = 1e-4  # pieces of less weight are not followed

# Neutral losses: mass, hydrogens, weight, and where they come from: a pattern and how many of its atoms leave.
_LOSSES = (
    ("H2O", 18.0105647, 2, 0.20, "[OX2H][CX4]", 1),
    ("CO2", 43.9898293, 0, 0.60, "C(=O)([OX2H])[c,$(C=C),$(C(C=O)C=O),$(C[OX2H])]", 3),
    ("CO2", 43.9898293, 0, 0.10, "C(=O)([OX2H])[CX4;!$(C(C=O)C=O);!$(C[OX2H])]", 3),
    ("CO2", 43.9898293, 0, 0.12, "[c;r6](=O)o", 3),
    ("CO", 27.9949146, 0, 0.08, "[$([c;r6](c)c),$([c;r6]o),$(C(c)[C;r6]),$([CH]c)]=O", 2),
    ("CH3", 15.0234751, 3, 0.50, "[CH3]O[c]", 1),
    ("NH3", 17.0265491, 3, 0.20, "[NH2][CX4]", 1),
)

# How well an oxygen or nitrogen holds the charge, by what it is bound to.
_ACID_SITES = (
    (0.12, "[OX2][CX4]"),
    (0.40, "[#7]C=O"),
    (0.40, "[nH]"),
    (1.00, "[OX2][c,$(C=C)]"),
    (2.00, "[OX2]C=O"),
    (3.00, "[OX2][P,S]"),
)
_NO_ACID = 0.02


@dataclass(frozen=True)
class Spectrum:
    """Centroided MS/MS: m/z ascending, intensity relative to the base peak; the precursor's own peak is the last."""

    mz: Floats  # [n]
    intensity: Floats  # [n], 0-1


@dataclass(frozen=True)
class _Sites:
    """A molecule as sums over bit masks of its atoms."""

    masses: list[float]  # Da, with the atom's hydrogens
    hydrogens: list[int]
    losses: list[list[tuple[int, int]]]  # of each of `_LOSSES`: (first atom, all atoms that leave) of every site
    acidity: list[float]  # of each atom, if it holds a hydrogen or was cut free
    everything: int

    def mass(self, piece: int) -> float:
        return sum(self.masses[atom] for atom in _bits(piece))

    def hydrogen_count(self, piece: int) -> int:
        return sum(self.hydrogens[atom] for atom in _bits(piece))

    def best_acidity(self, piece: int, ends: int) -> float:
        free = (self.acidity[atom] for atom in _bits(piece) if self.hydrogens[atom] or ends >> atom & 1)
        return max(free, default=_NO_ACID)


@cache
def deprotonated_spectrum(smiles: str) -> Spectrum:
    """The spectrum of [M-H]-; m/z in Da, all at most the precursor's."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    sites = _sites(molecule)
    found: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    broken = cuts(molecule)
    n_hydrogens = sum(sites.hydrogens)
    for piece, shift, weight, ends in _pieces(sites, broken):
        own_hydrogens = sites.hydrogen_count(piece)
        if own_hydrogens + shift > n_hydrogens:
            continue  # more than the rest of the molecule has to give
        charge = sites.best_acidity(piece, ends) ** 0.8
        whole_mz = sites.mass(piece) + shift * HYDROGEN - PROTON
        spare_hydrogens = own_hydrogens + shift - 1
        for lost, hydrogens, factor in _loss_combinations(sites, piece):
            mz = whole_mz - lost
            if spare_hydrogens < hydrogens or mz < LOWEST_MZ:
                continue
            entry = found[round(mz * 1e4)]
            entry[0] = mz
            entry[1] += weight * charge * factor
    precursor_mz = sites.mass(sites.everything) - PROTON
    return _finish(precursor_mz, list(found.values()), fragility=sum(cut.weight for cut in broken))


def adduct_spectrum(smiles: str, adduct: str) -> tuple[float, Spectrum]:
    """Precursor m/z and spectrum of ``[M-H]-``, ``[M+HCOO]-`` or ``[2M-H]-``: the latter two first give [M-H]-."""
    own = deprotonated_spectrum(smiles)
    deprotonated = float(own.mz[-1])
    if adduct == "[M-H]-":
        return deprotonated, own
    mz = deprotonated + (FORMIC_ACID if adduct == "[M+HCOO]-" else deprotonated + PROTON)
    intensity = np.append(own.intensity * 0.5, 0.1)
    intensity[-2] = 1.0
    return mz, Spectrum(np.append(own.mz, mz), intensity)


def _pieces(sites: _Sites, broken: list[Cut]) -> list[tuple[int, int, float, int]]:
    """(atoms, hydrogen shift, weight, freed atoms) of the whole, of one cut, and of the middle between two cuts."""
    pieces = [(sites.everything, 0, 1.0, 0)]
    for cut in broken:
        for side, sign in zip(cut.sides, (1, -1), strict=True):
            pieces += [(side, sign * shift, cut.weight * p, cut.ends) for shift, p in cut.hydrogens]
    for one, two in combinations(broken, 2):
        if one.weight * two.weight < _UNLIKELY:
            continue
        for middle, signs in _middle(one, two):
            for shift_one, p_one in one.hydrogens:
                for shift_two, p_two in two.hydrogens:
                    shift = signs[0] * shift_one + signs[1] * shift_two
                    pieces.append((middle, shift, one.weight * two.weight * p_one * p_two, one.ends | two.ends))
    return pieces


def _middle(one: Cut, two: Cut) -> list[tuple[int, tuple[int, int]]]:
    """The piece that touches both cuts, with the side (+1 first, -1 second) it is of each; none if the cuts cross."""
    sides = [
        (a & b, (i, j))
        for a, i in zip(one.sides, (1, -1), strict=True)
        for b, j in zip(two.sides, (1, -1), strict=True)
    ]
    if all(piece for piece, _ in sides):
        return []
    outer = {*one.sides, *two.sides}
    return [(piece, signs) for piece, signs in sides if piece and piece not in outer]


def _loss_combinations(sites: _Sites, piece: int) -> list[tuple[float, int, float]]:
    """(mass, hydrogens, weight) of no loss, and of up to two kinds of loss, each from one site or two of its own."""
    single: list[tuple[float, int, float, int, int]] = []  # and: sites taken, where they are
    for (name, mass, hydrogens, weight, *_), places in zip(_LOSSES, sites.losses, strict=True):
        inside = 0
        for first, leaving in places:
            if leaving & piece == leaving:
                inside |= first
        count = inside.bit_count()
        if count:
            single.append((mass, hydrogens, weight, 1, inside))
        if count >= (3 if name == "H2O" else 2):
            single.append((2 * mass, 2 * hydrogens, weight * 0.3, 2, inside))
    pairs = [
        (a[0] + b[0], a[1] + b[1], a[2] * b[2])
        for a, b in combinations(single, 2)
        if a[4] != b[4] and (a[4] | b[4]).bit_count() >= a[3] + b[3]
    ]
    return [(0.0, 0, 1.0), *(loss[:3] for loss in single), *pairs]


def _finish(precursor_mz: float, found: list[list[float]], *, fragility: float) -> Spectrum:
    """Scale, prune and sort; what survives of the precursor falls with the summed weight of its weak bonds."""
    peaks = np.array([peak for peak in found if peak[0] < precursor_mz - 0.5]).reshape(-1, 2)
    intensity = peaks[:, 1]
    survivor = 1.0 / (1.0 + 2.0 * fragility)
    if len(intensity):
        intensity = intensity / intensity.max() * min(1.0, 2.0 * fragility + 0.15)
    kept = np.flatnonzero(intensity >= FAINTEST)
    kept = kept[np.argsort(-intensity[kept], kind="stable")][: MAX_FRAGMENTS - 1]
    kept = kept[np.argsort(peaks[kept, 0], kind="stable")]
    strength = np.append(intensity[kept], survivor)
    return Spectrum(np.append(peaks[kept, 0], precursor_mz), strength / strength.max())


def _sites(molecule: Any) -> _Sites:
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    atoms = list(molecule.GetAtoms())
    hydrogens = [atom.GetTotalNumHs() for atom in atoms]
    acidity = [_NO_ACID] * len(atoms)
    for value, smarts in _ACID_SITES:  # later patterns are the stronger acids
        for match in molecule.GetSubstructMatches(Chem.MolFromSmarts(smarts)):
            acidity[match[0]] = max(acidity[match[0]], value)
    losses = []
    for *_, smarts, n_leaving in _LOSSES:
        matches = molecule.GetSubstructMatches(Chem.MolFromSmarts(smarts), uniquify=False)
        leaving = {(1 << match[0], sum(1 << atom for atom in match[:n_leaving])) for match in matches}
        losses.append(sorted(leaving))
    return _Sites(
        masses=[
            table.GetMostCommonIsotopeMass(atom.GetAtomicNum()) + count * HYDROGEN
            for atom, count in zip(atoms, hydrogens, strict=True)
        ],
        hydrogens=hydrogens,
        losses=losses,
        acidity=acidity,
        everything=(1 << len(atoms)) - 1,
    )


def _bits(mask: int) -> list[int]:
    return [index for index in range(mask.bit_length()) if mask >> index & 1]
