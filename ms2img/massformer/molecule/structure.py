"""A SMILES becomes one normal form of one molecule, or is refused for a reason of a closed list.

The normal form has no stereochemistry, no explicit hydrogens and RDKit's canonical atom order, so every way to write a
molecule (Kekulé or aromatic, any numbering) gives the same features. MassFormer, section 4.1 and the released filters:
neutral, one fragment, the elements H C O N P S Cl F.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ms2img.massformer.molecule.scaffold import murcko_scaffold

if TYPE_CHECKING:
    from rdkit import Chem

#: The elements of the released filter; `elements=` of `parse` widens it.
PAPER_ELEMENTS = ("H", "C", "O", "N", "P", "S", "Cl", "F")
#: Most heavy atoms (ours): attention and the stored paths grow with their square, and hops must fit eight bits.
MAX_ATOMS = 128
#: Longest SMILES read (ours): several times what `MAX_ATOMS` atoms need, so that a hostile cell costs nothing.
MAX_SMILES = 4096
#: What libraries write where they have no structure.
NO_STRUCTURE = ("", "N/A", "NA", "n/a", "null", "None", "-")


class Refusal(StrEnum):
    """Why a molecule is not taken."""

    EMPTY = "empty"  # no structure is stated
    TOO_LARGE = "too_large"  # more heavy atoms than the model takes, or an endless SMILES
    PARTIAL = "partial"  # part of it is not known (*): a transformation product somewhere hydroxylated
    UNPARSABLE = "unparsable"  # no SMILES, or an impossible valence or aromatic ring
    DISCONNECTED = "disconnected"  # a salt, solvate or mixture: which part gave the spectrum is not said
    CHARGED = "charged"  # a net charge; nitro groups and zwitterions have none
    ELEMENTS = "elements"  # an element outside the list
    ISOTOPES = "isotopes"  # labelled: its fragments have other masses, its first InChIKey block is the unlabelled one's
    NO_HEAVY_ATOM = "no_heavy_atom"  # hydrogen alone
    NO_INCHIKEY = "no_inchikey"  # InChI cannot name it, so it has no identity
    SELFIES = "selfies"  # SELFIES cannot write it, so one of the four models could not be given it


#: The closed list of refusals.
REFUSALS: tuple[str, ...] = tuple(Refusal)


class Refused(Exception):  # noqa: N818 (a verdict on the molecule, not a fault)
    """One molecule that is not taken: `code` of `REFUSALS`, `message` one line that says what was found."""

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


@dataclass(frozen=True)
class Structure:
    """A molecule in its normal form.

    mol: RDKit molecule; atom k is the k-th atom of `smiles`.
    smiles: canonical, without stereochemistry.
    molecule_id: first block of `inchikey`, 14 letters; it is blind to stereochemistry and mobile hydrogens.
    inchikey: of `smiles`.
    formula: Hill order.
    exact_mass: monoisotopic, Da.
    scaffold: SMILES of the Murcko scaffold, "" when acyclic.
    n_atoms: heavy atoms.
    """

    mol: Chem.Mol
    smiles: str
    molecule_id: str
    inchikey: str
    formula: str
    exact_mass: float
    scaffold: str
    n_atoms: int


def parse(
    smiles: str | None, *, elements: tuple[str, ...] | None = PAPER_ELEMENTS, max_atoms: int = MAX_ATOMS
) -> Structure:
    """The normal form of a molecule; raises `Refused` with the first reason that holds.

    elements: symbols of those taken, None for all; max_atoms: most heavy atoms.
    """
    from rdkit import rdBase
    from rdkit.Chem import rdMolDescriptors

    with rdBase.BlockLogs():
        mol = normal_mol(smiles, elements=elements, max_atoms=max_atoms)
        inchikey = _inchikey(mol, str(smiles))
        return Structure(
            mol=mol,
            smiles=_canonical(mol),
            molecule_id=inchikey.partition("-")[0],
            inchikey=inchikey,
            formula=rdMolDescriptors.CalcMolFormula(mol),
            exact_mass=rdMolDescriptors.CalcExactMolWt(mol),
            scaffold=murcko_scaffold(mol),
            n_atoms=mol.GetNumAtoms(),
        )


def normal_mol(
    smiles: str | None, *, elements: tuple[str, ...] | None = PAPER_ELEMENTS, max_atoms: int = MAX_ATOMS
) -> Chem.Mol:
    """The RDKit molecule of `parse` alone, without the names that take longer than the features do; raises `Refused`.

    Atoms are numbered as in the canonical SMILES.
    """
    from rdkit import Chem

    text = (smiles or "").strip()
    if text in NO_STRUCTURE:
        raise Refused(Refusal.EMPTY, "no SMILES")
    if len(text) > MAX_SMILES:
        raise Refused(Refusal.TOO_LARGE, f"a SMILES of {len(text)} characters; at most {MAX_SMILES} are read")
    if "*" in text:
        raise Refused(Refusal.PARTIAL, f"a structure that is known in part: '{_short(text)}'")
    mol = _read(text)
    _require_takable(mol, text, elements, max_atoms)
    Chem.RemoveStereochemistry(mol)
    # Read again from the canonical text: atom and bond order, and all that is perceived in that order, are then the
    # same for every spelling.
    return _read(_canonical(mol))


def _read(text: str) -> Chem.Mol:
    from rdkit import Chem, rdBase

    options: Any = Chem.SmilesParserParams()
    options.allowCXSMILES = False
    options.parseName = False
    with rdBase.BlockLogs():
        mol = None if len(text.split()) > 1 else Chem.MolFromSmiles(text, options)
    if mol is None:
        raise Refused(Refusal.UNPARSABLE, f"not a molecule that RDKit can read: '{_short(text)}'")
    return mol


def _canonical(mol: Chem.Mol) -> str:
    from rdkit import Chem

    return Chem.MolToSmiles(mol, isomericSmiles=False)


def _require_takable(mol: Chem.Mol, text: str, elements: tuple[str, ...] | None, max_atoms: int) -> None:
    from rdkit import Chem

    n_atoms = mol.GetNumHeavyAtoms()
    if n_atoms > max_atoms:
        raise Refused(Refusal.TOO_LARGE, f"{n_atoms} heavy atoms; at most {max_atoms} are taken")
    if len(Chem.GetMolFrags(mol)) > 1:
        raise Refused(Refusal.DISCONNECTED, f"more than one fragment: '{_short(text)}'")
    if charge := Chem.GetFormalCharge(mol):
        raise Refused(Refusal.CHARGED, f"net charge {charge:+d}: '{_short(text)}'")
    if elements is not None and (strange := {atom.GetSymbol() for atom in mol.GetAtoms()} - set(elements)):
        raise Refused(Refusal.ELEMENTS, f"elements other than {' '.join(elements)}: {' '.join(sorted(strange))}")
    if any(atom.GetIsotope() for atom in mol.GetAtoms()):
        raise Refused(Refusal.ISOTOPES, f"an isotopic label: '{_short(text)}'")
    if not n_atoms:
        raise Refused(Refusal.NO_HEAVY_ATOM, f"no atom but hydrogen: '{_short(text)}'")


def _inchikey(mol: Chem.Mol, text: str) -> str:
    from rdkit import Chem

    inchikey: str = Chem.MolToInchiKey(mol)  # type: ignore[no-untyped-call]
    if not inchikey:
        raise Refused(Refusal.NO_INCHIKEY, f"InChI cannot name it: '{_short(text)}'")
    return inchikey


def _short(text: str, limit: int = 80) -> str:
    """As much of a foreign text as a one-line message takes, without terminal commands."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[:limit])
    return shown if len(text) <= limit else f"{shown}..."
