"""Molecules of a brain section as formulae: lipids by class and chain, metabolites, peptides, halogenated drugs.

A lipid class is a row of atoms as a straight line in its carbons n and double bonds d, as in ``PC 34:1``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pyteomics.mass import std_aa_comp

from ms2img.errors import UsageError

Atoms = Mapping[str, int]

_TOKEN = re.compile(r"([A-Z][a-z]?)(\d*)")


@dataclass(frozen=True)
class Family:
    """A lipid class: C is n + `carbon`, H is 2n + `hydrogen` - 2d, and `others` are as they are."""

    carbon: int
    hydrogen: int
    others: str
    carbons: tuple[int, int]  # n, both ends included
    bonds: tuple[int, int]  # d, both ends included
    share: float  # how often it is drawn, relative
    adducts: tuple[str, ...]

    def atoms(self, carbons: int, bonds: int) -> dict[str, int]:
        """The neutral molecule with `carbons` in its chains and `bonds` double bonds."""
        return {"C": carbons + self.carbon, "H": 2 * (carbons - bonds) + self.hydrogen} | parse(self.others)


@dataclass(frozen=True)
class Adduct:
    """What is added to a neutral molecule (negative: taken away), and the charge it leaves."""

    change: Mapping[str, int]
    charge: int


@dataclass(frozen=True)
class Molecule:
    """One ion species: its name, the atoms of the ion (adduct included), and its charge (negative: anion)."""

    name: str
    adduct: str
    atoms: Atoms
    charge: int


ADDUCTS = {
    "[M+H]+": Adduct({"H": 1}, 1),
    "[M+Na]+": Adduct({"Na": 1}, 1),
    "[M+K]+": Adduct({"K": 1}, 1),
    "[M+2H]2+": Adduct({"H": 2}, 2),
    "[M-H]-": Adduct({"H": -1}, -1),
    "[M+Cl]-": Adduct({"Cl": 1}, -1),
    "[M-2H]2-": Adduct({"H": -2}, -2),
}
_ALKALI = ("[M+H]+", "[M+Na]+", "[M+K]+")
_BOTH = (*_ALKALI, "[M-H]-")
_AMINO_ACIDS = list("ACDEFGHIKLMNPQRSTVWY")
FAMILIES = {
    "PC": Family(8, 16, "NO8P", (30, 42), (0, 7), 5.0, _ALKALI),
    "LPC": Family(8, 18, "NO7P", (14, 24), (0, 6), 1.5, _ALKALI),
    "SM": Family(5, 13, "N2O6P", (32, 44), (1, 3), 2.0, (*_ALKALI, "[M+Cl]-")),
    "PE": Family(5, 10, "NO8P", (32, 42), (0, 7), 3.0, _BOTH),
    "PS": Family(6, 10, "NO10P", (32, 42), (0, 6), 2.0, _BOTH),
    "PI": Family(9, 15, "O13P", (32, 42), (0, 6), 2.0, ("[M-H]-",)),
    "PA": Family(3, 5, "O8P", (32, 40), (0, 4), 2.0, ("[M-H]-", "[M+K]+")),
    "Cer": Family(0, 1, "NO3", (32, 44), (1, 3), 1.5, ("[M+H]+", "[M+Na]+", "[M+Cl]-")),
    "HexCer": Family(6, 11, "NO8", (34, 44), (1, 2), 2.0, (*_ALKALI, "[M+Cl]-")),
    "SHexCer": Family(6, 11, "NO11S", (34, 44), (1, 2), 3.0, ("[M-H]-", "[M+K]+")),
    "TG": Family(3, 2, "O6", (46, 58), (0, 8), 2.0, ("[M+Na]+", "[M+K]+")),
    "FA": Family(0, 0, "O2", (14, 26), (0, 6), 1.0, ("[M-H]-",)),
    "CAR": Family(7, 13, "NO4", (10, 20), (0, 3), 0.7, ("[M+H]+",)),
    "GM1": Family(37, 61, "N3O31", (34, 40), (1, 2), 1.0, ("[M-H]-", "[M-2H]2-")),
    "GD1": Family(48, 78, "N4O39", (34, 40), (1, 2), 1.0, ("[M-2H]2-",)),
}
METABOLITES = {
    "glutathione": "C10H17N3O6S", "AMP": "C10H14N5O7P", "ADP": "C10H15N5O10P2", "ATP": "C10H16N5O13P3",
    "GMP": "C10H14N5O8P", "UMP": "C9H13N2O9P", "hexose": "C6H12O6", "hexose phosphate": "C6H13O9P",
    "N-acetylaspartate": "C6H9NO5", "NAAG": "C11H16N2O8", "glutamine": "C5H10N2O3", "glutamate": "C5H9NO4",
    "taurine": "C2H7NO3S", "creatine": "C4H9N3O2", "carnosine": "C9H14N4O3", "ascorbate": "C6H8O6",
    "inosine": "C10H12N4O5", "adenosine": "C10H13N5O4", "UDP-N-acetylhexosamine": "C17H27N3O17P2",
    "methionine": "C5H11NO2S", "cystathionine": "C7H14N2O4S", "2,5-dihydroxybenzoate dimer": "C14H12O8",
}  # fmt: skip
DRUGS = {
    "chlorpromazine": "C17H19ClN2S", "haloperidol": "C21H23ClFNO2", "clozapine": "C18H19ClN4",
    "loperamide": "C29H33ClN2O2", "bromocriptine": "C32H40BrN5O5", "nicergoline": "C24H26BrN3O3",
    "bromperidol": "C21H23BrFNO2", "diclofenac": "C14H11Cl2NO2", "indomethacin": "C19H16ClNO4",
    "bromfenac": "C15H12BrNO3", "tetrabromobisphenol": "C15H12Br4O2", "triclosan": "C12H7Cl3O2",
}  # fmt: skip
# Ours: of 100 molecules drawn, about so many are no lipid.
_SHARES = {"metabolite": 8.0, "drug": 6.0, "peptide": 26.0}
_RESIDUES = (3, 16)  # of a peptide, both ends included
_DOUBLY = 0.15  # of the peptides, those of two charges


def parse(formula: str) -> dict[str, int]:
    """``C6H12O6`` as atom counts; raises `UsageError` for anything but element symbols with counts."""
    atoms: dict[str, int] = {}
    for symbol, count in _TOKEN.findall(formula):
        atoms[symbol] = atoms.get(symbol, 0) + int(count or 1)
    if not formula or _TOKEN.sub("", formula):
        raise UsageError(f"formula: {formula!r}; expected element symbols and counts, as C6H12O6")
    return atoms


def formula(atoms: Atoms) -> str:
    """Atom counts in Hill's order: C, H, then by the alphabet."""
    order = sorted(atoms, key=lambda symbol: (symbol not in "CH", symbol))
    return "".join(f"{symbol}{atoms[symbol] if atoms[symbol] > 1 else ''}" for symbol in order if atoms[symbol])


def ionise(name: str, neutral: Atoms, adduct: str) -> Molecule:
    """A neutral molecule with its adduct."""
    change = ADDUCTS[adduct]
    atoms = dict(neutral)
    for symbol, count in change.change.items():
        atoms[symbol] = atoms.get(symbol, 0) + count
    return Molecule(name, adduct, atoms, change.charge)


def draw_molecule(random: np.random.Generator, polarity: str) -> Molecule:
    """One ion of `polarity`, by chance: mostly lipids, as in the rat brain of the paper."""
    sign = 1 if polarity == "positive" else -1
    families = [name for name, family in FAMILIES.items() if _adducts(family.adducts, sign)]
    lipids = np.array([FAMILIES[name].share for name in families])
    others = np.array(list(_SHARES.values()))
    weights = np.concatenate([lipids / lipids.sum() * (100 - others.sum()), others]) / 100
    choice = int(random.choice(len(weights), p=weights))
    if choice < len(families):
        return _draw_lipid(random, families[choice], sign)
    return _draw_other(random, list(_SHARES)[choice - len(families)], sign)


def _draw_lipid(random: np.random.Generator, name: str, sign: int) -> Molecule:
    family = FAMILIES[name]
    carbons = int(random.integers(family.carbons[0], family.carbons[1], endpoint=True))
    bonds = int(random.integers(family.bonds[0], family.bonds[1], endpoint=True))
    adduct = str(random.choice(_adducts(family.adducts, sign)))
    return ionise(f"{name} {carbons}:{bonds}", family.atoms(carbons, bonds), adduct)


def _draw_other(random: np.random.Generator, kind: str, sign: int) -> Molecule:
    singly, doubly = ("[M+H]+", "[M+2H]2+") if sign > 0 else ("[M-H]-", "[M-2H]2-")
    if kind == "peptide":
        name, atoms = _draw_peptide(random)
        return ionise(name, atoms, doubly if random.random() < _DOUBLY else singly)
    table = METABOLITES if kind == "metabolite" else DRUGS
    allowed = _adducts((*_BOTH, "[M+Cl]-"), sign) if kind == "metabolite" else [singly]
    name = str(random.choice(list(table)))
    return ionise(name, parse(table[name]), str(random.choice(allowed)))


def _draw_peptide(random: np.random.Generator) -> tuple[str, dict[str, int]]:
    """A peptide of random residues, as its sequence and atoms."""
    sequence = "".join(random.choice(_AMINO_ACIDS, int(random.integers(*_RESIDUES, endpoint=True))))
    atoms = {"H": 2, "O": 1}
    for residue in sequence:
        for symbol, count in std_aa_comp[residue].items():
            atoms[symbol] = atoms.get(symbol, 0) + count
    return sequence, atoms


def _adducts(names: tuple[str, ...], sign: int) -> list[str]:
    return [name for name in names if ADDUCTS[name].charge * sign > 0]
