"""All that the four encoders know of one molecule."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ms2img.massformer.molecule.fingerprints import fingerprint
from ms2img.massformer.molecule.graph import ATOM_SIZES, BOND_SIZES, MAX_PATH, MolecularGraph, graph_of
from ms2img.massformer.molecule.selfies_tokens import tokens
from ms2img.massformer.molecule.structure import MAX_ATOMS, PAPER_ELEMENTS, normal_mol

if TYPE_CHECKING:
    from rdkit import Chem


#: What a `MoleculeFeatures` may hold, in the order of its fields.
PARTS = ("graph", "fingerprint", "tokens")
_NO_GRAPH = MolecularGraph(
    atoms=np.zeros((0, len(ATOM_SIZES)), dtype=np.int16),
    bonds=np.zeros((0, 2), dtype=np.int16),
    bond_features=np.zeros((0, len(BOND_SIZES)), dtype=np.int16),
    degrees=np.zeros(0, dtype=np.int16),
    distances=np.zeros((0, 0), dtype=np.uint8),
    paths=np.zeros((0, 0, MAX_PATH), dtype=np.int16),
)
_NO_FINGERPRINT = np.zeros(0, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class MoleculeFeatures:
    """graph: for MassFormer and WLN; fingerprint: uint8 [FINGERPRINT_BITS] for FP; tokens: SELFIES symbols for CNN."""

    graph: MolecularGraph
    fingerprint: np.ndarray
    tokens: tuple[str, ...]


def features_of(
    smiles: str | None,
    *,
    elements: tuple[str, ...] | None = PAPER_ELEMENTS,
    max_atoms: int = MAX_ATOMS,
    parts: Collection[str] = PARTS,
) -> MoleculeFeatures:
    """The features of one SMILES, computed on the fly for prediction; raises `Refused` as `structure.parse`.

    Equal to the library's features of the same molecule, however it is written. parts: those of `PARTS` that are
    wanted, for a fingerprint takes longer than all else; the others are left empty.
    """
    return described(normal_mol(smiles, elements=elements, max_atoms=max_atoms), parts=parts)


def described(mol: Chem.Mol, *, parts: Collection[str] = PARTS) -> MoleculeFeatures:
    """The features of a molecule of `structure.normal_mol`; raises `Refused` (``selfies``)."""
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"no such features: {sorted(unknown)}; there are {', '.join(PARTS)}")
    return MoleculeFeatures(
        graph=graph_of(mol) if "graph" in parts else _NO_GRAPH,
        fingerprint=fingerprint(mol) if "fingerprint" in parts else _NO_FINGERPRINT,
        tokens=tokens(mol) if "tokens" in parts else (),
    )
