"""A structure with its atoms coloured, as the paper shows attention (MassFormer, Fig. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rdkit import Chem

HALO = 0.38  # radius of an atom's colour, of a bond's length (ours)
HALO_WIDTH = 8  # of a bond's halo, of a line's width (ours)
FADE = 0.6  # of a bond's halo towards white, so that atoms stand out (ours)


def draw_atoms(smiles: str, colours: NDArray[np.float64] | None, *, width: int = 900, height: int = 480) -> bytes:
    """PNG of a structure; every heavy atom lies on a disc of its colour, every bond on the pale mean of its two.

    smiles: in the normal form (`ms2img.massformer.molecule.structure`): atom k is its k-th atom. colours: [a, 3], red,
    green, blue from 0 to 1; None: without. width, height: pixels. Raises `ValueError` for a text that is no SMILES, and
    where the colours are not one an atom.
    """
    from rdkit import Chem
    from rdkit.Chem.Draw import rdMolDraw2D

    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError(f"'{smiles[:80]}' is no SMILES of a normal form")
    if colours is not None and len(colours) != mol.GetNumAtoms():
        raise ValueError(f"{len(colours)} colours for the {mol.GetNumAtoms()} heavy atoms of '{smiles[:80]}'")
    drawing = rdMolDraw2D.MolDraw2DCairo(width, height)
    options: Any = drawing.drawOptions()
    options.useBWAtomPalette()
    options.highlightBondWidthMultiplier = HALO_WIDTH
    rdMolDraw2D.PrepareAndDrawMolecule(drawing, mol, **({} if colours is None else _highlights(mol, colours)))
    drawing.FinishDrawing()
    content: bytes = drawing.GetDrawingText()
    return content


def _highlights(mol: Chem.Mol, colours: NDArray[np.float64]) -> dict[str, Any]:
    """RDKit's arguments for coloured atoms and bonds."""
    atoms = {number: tuple(map(float, colour)) for number, colour in enumerate(colours)}
    bonds = {}
    for bond in mol.GetBonds():
        mean = colours[[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]].mean(axis=0)
        bonds[bond.GetIdx()] = tuple(map(float, mean + FADE * (1 - mean)))
    return {
        "highlightAtoms": list(atoms),
        "highlightAtomColors": atoms,
        "highlightAtomRadii": dict.fromkeys(atoms, HALO),
        "highlightBonds": list(bonds),
        "highlightBondColors": bonds,
    }
