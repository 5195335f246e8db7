"""Fingerprints against RDKit's own calls, SELFIES tokens against the decoder."""

from __future__ import annotations

import numpy as np
import pytest
import selfies
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import MACCSkeys, rdMolDescriptors
from test_massformer_structure import SMILES

from ms2img.errors import UsageError
from ms2img.massformer.molecule.fingerprints import FINGERPRINT_BITS, PARTS, fingerprint
from ms2img.massformer.molecule.selfies_tokens import PADDING, UNKNOWN, SelfiesVocabulary, tokens
from ms2img.massformer.molecule.structure import Refusal, Refused, normal_mol, parse

PERCHLORIC = "Cl(=O)(=O)(=O)O"  # more bonds than SELFIES' rules of valence would read back


def array(vector: object) -> np.ndarray:
    found = np.zeros(0)
    DataStructs.ConvertToNumpyArray(vector, found)
    return found


@pytest.mark.parametrize("smiles", SMILES)
def test_each_part_is_what_the_released_code_calls(smiles: str) -> None:
    mol = normal_mol(smiles)
    found = fingerprint(mol)
    assert (found.dtype, found.shape) == (np.uint8, (FINGERPRINT_BITS,))
    with rdBase.BlockLogs():  # its old name is deprecated
        morgan = rdMolDescriptors.GetHashedMorganFingerprint(mol, 3)
    np.testing.assert_array_equal(found[PARTS["morgan"]], array(morgan))
    np.testing.assert_array_equal(found[PARTS["rdkit"]], array(Chem.RDKFingerprint(mol)))
    np.testing.assert_array_equal(found[PARTS["maccs"]], array(MACCSkeys.GenMACCSKeys(mol)))


def test_the_parts_lie_side_by_side() -> None:
    assert [(part.start, part.stop) for part in PARTS.values()] == [(0, 2048), (2048, 4096), (4096, FINGERPRINT_BITS)]


def test_a_count_that_does_not_fit_is_the_largest_that_does() -> None:
    assert fingerprint(Chem.MolFromSmiles("C" * 300))[PARTS["morgan"]].max() == 255


@pytest.mark.parametrize("smiles", [each for each in SMILES if each != PERCHLORIC])
def test_tokens_decode_to_the_molecule(smiles: str) -> None:
    structure = parse(smiles)
    assert parse(selfies.decoder("".join(tokens(structure.mol)))).smiles == structure.smiles


def test_tokens_by_hand() -> None:
    assert tokens(normal_mol("OC=O")) == ("[O]", "[=C]", "[O]")
    assert tokens(normal_mol("c1ccccc1")) == ("[C]", "[=C]", "[C]", "[=C]", "[C]", "[=C]", "[Ring1]", "[=Branch1]")


def test_hypervalent_atoms_are_written() -> None:
    assert "[Cl+3]" in tokens(normal_mol(PERCHLORIC))
    assert tokens(normal_mol("CS(F)(F)(F)(F)F")).count("[F]") == 5


def test_what_selfies_cannot_write_is_refused() -> None:
    with pytest.raises(Refused, match="SELFIES cannot write") as caught:
        tokens(normal_mol("CC->[Fe]", elements=None))
    assert caught.value.code == Refusal.SELFIES


def test_a_vocabulary_has_every_symbol_once_whatever_the_order() -> None:
    written = [tokens(normal_mol(smiles)) for smiles in SMILES]
    vocabulary = SelfiesVocabulary.from_molecules(written)
    assert vocabulary == SelfiesVocabulary.from_molecules(reversed(written))
    assert set(vocabulary.symbols) == {symbol for each in written for symbol in each}
    codes = vocabulary.encode(written[0])
    assert codes.dtype == np.int32
    assert tuple(vocabulary.symbols[code - 2] for code in codes) == written[0]
    assert vocabulary.encode(["[C]", "[Xe]"]).tolist() == [vocabulary.symbols.index("[C]") + 2, UNKNOWN]
    assert vocabulary.encode([]).tolist() == []
    assert vocabulary.size == len(vocabulary.symbols) + 2
    assert PADDING not in codes


def test_a_vocabulary_with_a_symbol_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        SelfiesVocabulary(("[C]", "[C]"))
