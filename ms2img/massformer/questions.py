"""What a model is asked, made ready for it: SMILES to features, stated conditions to numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ms2img.learn.settings import Settings
from ms2img.massformer.conditions import Condition, ConditionVocabulary
from ms2img.massformer.library.adducts import parse_adduct
from ms2img.massformer.library.energy import ev_of_nce, nce_of_ev
from ms2img.massformer.molecule.description import MoleculeFeatures, described
from ms2img.massformer.molecule.structure import MAX_ATOMS, PAPER_ELEMENTS, Refused, parse

if TYPE_CHECKING:
    import pyarrow as pa

#: The features that each kind of model takes: a fingerprint takes longer than all else.
NEEDED = {"massformer": ("graph",), "wln": ("graph",), "fp": ("fingerprint",), "cnn": ("tokens",)}


@dataclass(frozen=True)
class Structures(Settings):
    """Which molecules a model takes: those that its library took."""

    elements: tuple[str, ...] = PAPER_ELEMENTS
    max_atoms: int = MAX_ATOMS  # heavy ones

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(self.elements))  # JSON has lists
        self._require_int("max_atoms", low=1)


PAPER_STRUCTURES = Structures()


@dataclass(frozen=True, eq=False)
class Molecule:
    """A molecule that a spectrum can be predicted of."""

    features: MoleculeFeatures
    smiles: str
    inchikey: str
    formula: str
    exact_mass: float


def molecules_of(
    smiles: Iterable[str], kind: str, structures: Structures
) -> tuple[dict[str, Molecule], dict[str, str]]:
    """The molecules of distinct SMILES, and why the others are refused ("code: message"), each by its SMILES.

    kind: of the model that is asked; only the features that it takes are computed.
    """
    molecules: dict[str, Molecule] = {}
    refused: dict[str, str] = {}
    for text in dict.fromkeys(smiles):
        try:
            found = parse(text, elements=structures.elements, max_atoms=structures.max_atoms)
            molecules[text] = Molecule(
                described(found.mol, parts=NEEDED[kind]), found.smiles, found.inchikey, found.formula, found.exact_mass
            )
        except Refused as error:
            refused[text] = f"{error.code}: {error.message}"
    return molecules, refused


def encoded(
    vocabulary: ConditionVocabulary, conditions: Sequence[Condition], precursor_mz: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Conditions float32 [n, c], the energy in the unit that is not stated computed from the one that is."""
    both = [_energies(each, float(mz)) for each, mz in zip(conditions, precursor_mz, strict=True)]
    return vocabulary.encode_all(
        [each.adduct for each in conditions],
        [each.instrument_type for each in conditions],
        [ev for ev, _ in both],
        [nce for _, nce in both],
        [each.energy_unit for each in conditions],
        precursor_mz,
    )


def _energies(condition: Condition, precursor_mz: float) -> tuple[float | None, float | None]:
    """(eV, NCE)."""
    if condition.energy is None:
        return None, None
    charge = parse_adduct(condition.adduct).charge
    if condition.energy_unit == "eV":
        return condition.energy, nce_of_ev(condition.energy, precursor_mz, charge)
    return ev_of_nce(condition.energy, precursor_mz, charge), condition.energy


def conditions_of(table: pa.Table) -> list[Condition]:
    """Conditions of rows with LIBRARY_SPECTRA's columns: the energy as it was stated."""
    rows = table.select(["adduct", "energy_ev", "energy_nce", "energy_unit", "instrument_type"]).to_pylist()
    return [
        Condition(
            adduct=row["adduct"],
            energy=row["energy_ev"] if row["energy_unit"] == "eV" else row["energy_nce"],
            energy_unit=row["energy_unit"] or "NCE",
            instrument_type=row["instrument_type"],
        )
        for row in rows
    ]
