"""SMILES to structures: one normal form however a molecule is written, and each refusal by its reason."""

from __future__ import annotations

import pickle
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, RDLogger
from rdkit.Chem.Scaffolds import MurckoScaffold

from ms2img.massformer.molecule.structure import (
    MAX_ATOMS,
    MAX_SMILES,
    REFUSALS,
    Refusal,
    Refused,
    Structure,
    normal_mol,
    parse,
)

#: Caffeine, a zwitterion, a nitro group, sulfonamide, phosphate, perchloric acid, steroid, macrolide, radical, alkyne.
SMILES = [
    "CN1C=NC2=C1C(=O)N(C)C(=O)N2C",
    "[NH3+][C@@H](CC1=CC=C(O)C=C1)C(=O)[O-]",
    "CC1=CC=C(C=C1)[N+](=O)[O-]",
    "CC1=NOC(NS(=O)(=O)C2=CC=C(N)C=C2)=C1",
    "OC[C@H]1O[C@@H]([C@H](O)[C@@H]1O)N1C=NC2=C1N=CN=C2OP(O)(O)=O",
    "Cl(=O)(=O)(=O)O",
    "C[C@]12CC[C@H]3[C@H]([C@@H]1CC[C@@H]2O)CCC4=CC(=O)CC[C@]34C",
    "CC1CCCCCCCCCCC(=O)O1",
    "CC1(C)CCCC(C)(C)N1[O]",
    "C/C=C/C#CC(F)(F)Cl",
    "C1=CC=C2C(=C1)C=CC3=CC=CC=C32",
    "C1CC2CCC1C2",
]

REFUSED = [
    (None, Refusal.EMPTY),
    ("", Refusal.EMPTY),
    ("  ", Refusal.EMPTY),
    ("N/A", Refusal.EMPTY),
    ("C" * (MAX_SMILES + 1), Refusal.TOO_LARGE),
    ("C" * (MAX_ATOMS + 1), Refusal.TOO_LARGE),
    ("*c1ccccc1", Refusal.PARTIAL),
    ("C(*)C(*)NC1=NC(Cl)=NC=N1 *=[OH (n=1) & H (n=2)]", Refusal.PARTIAL),
    ("CCO ethanol", Refusal.UNPARSABLE),
    ("C1CC", Refusal.UNPARSABLE),
    ("((", Refusal.UNPARSABLE),
    ("c1cccc1", Refusal.UNPARSABLE),  # cannot be given double bonds
    ("C(C)(C)(C)(C)C", Refusal.UNPARSABLE),  # five bonds at a carbon
    ("CC>>CO", Refusal.UNPARSABLE),
    ("C\x00C", Refusal.UNPARSABLE),
    ("[Na+].[Cl-]", Refusal.DISCONNECTED),
    ("CCN.O", Refusal.DISCONNECTED),
    ("C[N+](C)(C)C", Refusal.CHARGED),
    ("CC(=O)[O-]", Refusal.CHARGED),
    ("CCBr", Refusal.ELEMENTS),
    ("C[Si](C)(C)C", Refusal.ELEMENTS),
    ("[2H]C([2H])([2H])O", Refusal.ISOTOPES),
    ("[13CH4]", Refusal.ISOTOPES),
    ("[H][H]", Refusal.NO_HEAVY_ATOM),
    ("C~C", Refusal.NO_INCHIKEY),
]


def refusal(smiles: str | None) -> str:
    """The reason, or "" for a molecule that is taken."""
    try:
        normal_mol(smiles)
    except Refused as refused:
        return refused.code
    return ""


def spellings() -> st.SearchStrategy[str]:
    """SMILES put together from pieces, some of them broken: a molecule every other time."""
    pieces = st.sampled_from(["C", "CN", "CO", "CS(=O)(=O)", "C(=O)", "C(F)", "C=C", "C1CC1", "c1ccccc1", "c1cc[nH]c1"])
    whole = st.lists(pieces, min_size=1, max_size=6).map("".join)
    broken = st.sampled_from([*"1()[]=#.*>:$~", "[2H]", "Br", "C(", "%12", "[O-]", "[N+]"])
    return whole | st.tuples(whole, broken, whole).map("".join)


def names(structure: Structure) -> tuple[object, ...]:
    """All of a structure but its RDKit object."""
    fields = ("smiles", "molecule_id", "inchikey", "formula", "exact_mass", "scaffold", "n_atoms")
    return tuple(getattr(structure, name) for name in fields)


@pytest.mark.parametrize(("smiles", "code"), REFUSED)
def test_each_refusal_has_its_reason_and_one_printable_line(smiles: str | None, code: Refusal) -> None:
    with pytest.raises(Refused) as caught:
        parse(smiles)
    assert caught.value.code == code
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (as it travels between processes)
    assert (again.code, again.message) == (code, caught.value.message)


def test_every_reason_but_the_tokens_own_is_tried() -> None:
    assert {code for _, code in REFUSED} == set(REFUSALS) - {Refusal.SELFIES}


def test_a_known_molecule_has_its_published_names() -> None:
    found = parse("CN1C=NC2=C1C(=O)N(C)C(=O)N2C")  # caffeine
    assert found.inchikey == "RYYVLZVUVIJVGH-UHFFFAOYSA-N"
    assert (found.molecule_id, found.formula, found.n_atoms) == ("RYYVLZVUVIJVGH", "C8H10N4O2", 14)
    assert found.exact_mass == pytest.approx(194.08037557, abs=1e-6)
    assert [atom.GetSymbol() for atom in found.mol.GetAtoms()] == [
        atom.GetSymbol() for atom in Chem.MolFromSmiles(found.smiles).GetAtoms()
    ]


@pytest.mark.parametrize("smiles", SMILES)
def test_kekule_aromatic_and_hydrogen_forms_are_one_molecule(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    forms = [
        Chem.MolToSmiles(mol, kekuleSmiles=True),
        Chem.MolToSmiles(mol),
        Chem.MolToSmiles(Chem.AddHs(mol)),
        Chem.MolToSmiles(mol, isomericSmiles=False),
        parse(smiles).smiles,
    ]
    assert {names(parse(form)) for form in forms} == {names(parse(smiles))}


@settings(max_examples=60, deadline=None)
@given(smiles=st.sampled_from(SMILES), seed=st.integers(1, 2**31 - 1))
def test_any_numbering_gives_the_same_structure_in_the_same_order(smiles: str, seed: int) -> None:
    spelling = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed)[0]
    first, second = parse(smiles), parse(spelling)
    assert names(first) == names(second)
    assert [bond.GetBeginAtomIdx() for bond in first.mol.GetBonds()] == [
        bond.GetBeginAtomIdx() for bond in second.mol.GetBonds()
    ]


def test_stereoisomers_are_one_molecule() -> None:
    assert names(parse("C[C@H](N)C(=O)O")) == names(parse("C[C@@H](N)C(=O)O")) == names(parse("CC(N)C(=O)O"))
    assert names(parse("C/C=C/C")) == names(parse("C/C=C\\C"))


def test_a_radical_is_taken_as_it_is() -> None:
    assert parse("CC1(C)CCCC(C)(C)N1[O]").formula == "C9H18NO"


def test_the_elements_can_be_widened() -> None:
    wide = ("C", "H", "Br")
    assert parse("CCBr", elements=wide).formula == "C2H5Br"
    with pytest.raises(Refused, match="elements other than C H Br: O"):
        parse("CCO", elements=wide)
    assert normal_mol("C[Si](C)(C)Br", elements=None).GetNumAtoms() == 5


@pytest.mark.parametrize("smiles", [each for each in SMILES if "1" in each])
def test_the_scaffold_is_rdkits(smiles: str) -> None:
    mol = Chem.MolFromSmiles(Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False))
    assert parse(smiles).scaffold == Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol))


def test_scaffolds_by_hand() -> None:
    assert parse("CCC(C)CO").scaffold == ""  # acyclic
    assert parse("CC(=O)Nc1ccc(O)cc1").scaffold == "c1ccccc1"  # side chains go
    assert parse("Oc1ccc(CCc2ccccc2)cc1").scaffold == "c1ccc(CCc2ccccc2)cc1"  # linkers stay


@settings(max_examples=300, deadline=None)
@given(spellings() | st.text(max_size=20))
def test_any_text_is_a_molecule_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except Refused:
        return
    assert len(found.molecule_id) == 14
    assert names(parse(found.smiles)) == names(found)


def test_nothing_is_printed_and_the_log_stays_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    RDLogger.EnableLog("rdApp.error")  # matchms turns it off for the whole process
    for smiles, _ in REFUSED:
        refusal(smiles)
    assert capfd.readouterr() == ("", "")
    Chem.MolFromSmiles("((")
    assert "SMILES Parse Error" in capfd.readouterr().err  # RDKit's log is silent for us alone


@pytest.mark.slow
def test_every_structure_of_massbank_is_taken_or_refused_as_counted_once(shared: Path) -> None:
    found: set[str] = set()
    with tarfile.open(shared / "data" / "massbank" / "massbank-ft-msms.tar.xz") as archive:
        for member in archive:
            record = archive.extractfile(member) if member.name.endswith(".txt") else None
            lines = record.read().decode().splitlines() if record else []
            found |= {line.partition(": ")[2].strip() for line in lines if line.startswith("CH$SMILES: ")}
    assert len(found) == 3329
    counts = Counter(refusal(smiles) for smiles in found)
    assert counts == {"": 3228, "elements": 60, "partial": 30, "charged": 11}
