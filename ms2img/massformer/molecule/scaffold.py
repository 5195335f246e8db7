"""The Murcko scaffold: rings and what links them, the coarse skeleton by which the paper splits (section 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdkit import Chem


def murcko_scaffold(mol: Chem.Mol) -> str:
    """SMILES of the Murcko scaffold of a molecule without stereochemistry; "" when it has no ring."""
    from rdkit.Chem.Scaffolds import MurckoScaffold

    return MurckoScaffold.MurckoScaffoldSmiles(mol=mol, includeChirality=False)  # type: ignore[no-untyped-call]
