"""The molecules: some 350 natural products and 30 contaminants from solvents and plastics, with counts of their groups.

``compounds.csv`` holds name, class, formula and SMILES. The SMILES are constitutional, without stereochemistry: neither
a mass nor a fragment depends on it, so of stereoisomers one stands for all.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ms2img.errors import UsageError

CONTAMINANT = "contaminant"  # the class of what is in every injection, blanks included
FLAVONOIDS = frozenset(
    {
        "isoflavone",
        "isoflavone glucoside",
        "flavonol",
        "flavonol glycoside",
        "flavone",
        "flavone glycoside",
        "flavanone",
        "flavan-3-ol",
    }
)

# Each pattern matches once per counted group (unique matches).
_GROUPS = {
    "phenols": "[OX2H]-[c]",
    "catechols": "[OX2H]-[c]:[c]-[OX2H]",
    "enediols": "[OX2H]-[CX3]=[CX3]-[OX2H]",
    "galloyls": "O=C([#8])c1cc([OX2H])c([OX2H])c([OX2H])c1",
    "flavonol_catechols": "O=c1c([OX2H])c(-c2ccc([OX2H])c([OX2H])c2)occ1",
    "terpene_acids": "[CX3](=O)([OX2H])[CX4;R]([#6])([#6])[#6]",
    "unsaturated_fatty_acids": "[OX2H]C(=O)[CH2][CH2][CH2][CH2][CH2][CH2][CH2]C=C",
}


@dataclass(frozen=True)
class Compound:
    """One molecule with what the rest of the simulation asks of it."""

    name: str
    compound_class: str
    formula: str
    smiles: str
    exact_mass: float  # Da, neutral, monoisotopic
    log_p: float  # Crippen estimate: places the compound on the gradient
    acidic: bool  # has a proton that electrospray can take
    groups: dict[str, int]  # counts of `_GROUPS`

    @property
    def is_contaminant(self) -> bool:
        """Whether it comes from solvents and plastics rather than from a plant."""
        return self.compound_class == CONTAMINANT


def require_rdkit() -> None:
    """Raise `UsageError` with the remedy when RDKit is not installed."""
    try:
        import rdkit  # noqa: F401
    except ImportError:
        raise UsageError('simulate: RDKit is not installed; remedy: pip install "ms2img[simulate]"') from None


@cache
def load_compounds() -> tuple[Compound, ...]:
    """All rows of ``compounds.csv``, in file order; `UsageError` without RDKit."""
    require_rdkit()
    from rdkit import Chem

    patterns = {name: Chem.MolFromSmarts(smarts) for name, smarts in _GROUPS.items()}
    acid = Chem.MolFromSmarts("[$([OX2H][#6,#15,#16]),$([NX3;H1,H2][#6]=O),$([nH])]")
    text = resources.files(__package__).joinpath("compounds.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(_compound(row, patterns, acid) for row in rows)


def _compound(row: dict[str, str], patterns: dict[str, Any], acid: Any) -> Compound:
    from rdkit import Chem
    from rdkit.Chem import rdMolDescriptors

    molecule = Chem.MolFromSmiles(row["smiles"])
    return Compound(
        name=row["name"],
        compound_class=row["class"],
        formula=row["formula"],
        smiles=row["smiles"],
        exact_mass=float(rdMolDescriptors.CalcExactMolWt(molecule)),
        log_p=float(rdMolDescriptors.CalcCrippenDescriptors(molecule)[0]),
        acidic=molecule.HasSubstructMatch(acid),
        groups={name: len(molecule.GetSubstructMatches(pattern)) for name, pattern in patterns.items()},
    )
