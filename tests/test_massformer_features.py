"""The features of a library as they are kept: read back equal, of one version, never of other molecules."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_massformer_structure import SMILES

from ms2img.errors import UsageError
from ms2img.massformer.molecule.features import (
    FEATURES_FILE,
    FEATURES_VERSION,
    MOLECULE_FEATURES,
    Features,
    MoleculeFeatures,
    cached_features,
    features_of,
    featurise,
    read_features,
    write_features,
)
from ms2img.massformer.molecule.structure import Refused, parse

#: Of every feature of `SMILES`. Where it changes by intent, raise FEATURES_VERSION, so that kept features are refused.
GOLDEN = {1: "444a1accda018208fb32f098864727a4"}


def molecules(smiles: list[str]) -> pa.Table:
    found = [parse(each) for each in smiles]
    return pa.table(
        {
            "molecule_id": pa.array([each.molecule_id for each in found], pa.string()),
            "smiles": pa.array([each.smiles for each in found], pa.string()),
        }
    )


def with_refused() -> pa.Table:
    """The molecules, with one between them that SELFIES cannot write."""
    table = molecules(SMILES)
    other = pa.table({"molecule_id": ["AAAAAAAAAAAAAA"], "smiles": ["CC->[Fe]"]})
    return pa.concat_tables([table.slice(0, 3), other, table.slice(3)])


def require_equal(first: MoleculeFeatures, second: MoleculeFeatures) -> None:
    assert first.tokens == second.tokens
    for name, ours in {**vars(first.graph), "fingerprint": first.fingerprint}.items():
        theirs = second.fingerprint if name == "fingerprint" else getattr(second.graph, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_features_are_those_of_their_version() -> None:
    digest = hashlib.blake2b(digest_size=16)
    for smiles in SMILES:
        found = features_of(smiles)
        for array in [*vars(found.graph).values(), found.fingerprint]:
            digest.update(array.tobytes())
        digest.update(" ".join(found.tokens).encode())
    assert digest.hexdigest() == GOLDEN[FEATURES_VERSION]


def test_what_is_read_is_what_was_computed(tmp_path: Path) -> None:
    table = with_refused()
    write_features(str(tmp_path), featurise(table))
    found = read_features(str(tmp_path))
    assert list(found) == molecules(SMILES)["molecule_id"].to_pylist()
    assert len(found) == len(SMILES)
    for molecule_id, smiles in zip(found, SMILES, strict=True):
        require_equal(found[molecule_id], features_of(smiles))
    assert found.refused == {"AAAAAAAAAAAAAA": "selfies"}
    assert "AAAAAAAAAAAAAA" not in found


def test_pieces_of_a_table_are_the_whole() -> None:
    whole, table = featurise(with_refused()), with_refused()
    pieces = pa.concat_tables([featurise(table.slice(start, 5)) for start in range(0, len(table), 5)])
    assert pieces.combine_chunks().equals(whole)
    for each in (pieces, pa.concat_tables([whole.slice(2, 4), whole.slice(8)])):
        found = Features.from_table(each)
        for molecule_id, features in found.items():
            require_equal(features, Features.from_table(whole)[molecule_id])


def test_a_library_without_molecules_has_no_features(tmp_path: Path) -> None:
    write_features(str(tmp_path), featurise(molecules([])))
    assert len(read_features(str(tmp_path))) == 0


def test_arrays_of_a_library_cannot_be_written_into() -> None:
    found = Features.from_table(featurise(molecules(["CCO"])))["LFQSCWFLJHTTHZ"]
    with pytest.raises(ValueError, match="read-only"):
        found.graph.atoms[0, 0] = 1


def test_a_table_of_other_columns_is_a_defect() -> None:
    with pytest.raises(TypeError, match="molecule features"):
        Features.from_table(molecules(["CCO"]))


def test_kept_features_are_used_for_these_molecules_alone(tmp_path: Path) -> None:
    place, table = str(tmp_path), molecules(["CCO", "CCN"])
    assert len(cached_features(place, table)) == 2
    kept = (tmp_path / FEATURES_FILE).stat().st_mtime_ns
    cached_features(place, table)
    assert (tmp_path / FEATURES_FILE).stat().st_mtime_ns == kept
    other = molecules(["CCO", "CCC"])
    assert list(cached_features(place, other)) == other["molecule_id"].to_pylist()
    assert list(read_features(place)) == other["molecule_id"].to_pylist()


@pytest.mark.parametrize("content", [b"", b"no Parquet", None])
def test_missing_and_damaged_features_are_refused_and_computed_anew(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FEATURES_FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"features\.parquet: (no features|not a Parquet file)"):
        read_features(str(tmp_path))
    assert len(cached_features(str(tmp_path), molecules(["CCO"]))) == 1


def test_damage_amid_the_file_is_found(tmp_path: Path) -> None:
    write_features(str(tmp_path), featurise(molecules(SMILES)))
    kept = tmp_path / FEATURES_FILE
    content = bytearray(kept.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    kept.write_bytes(content)
    with pytest.raises(UsageError, match="not a Parquet file, or a damaged one"):
        read_features(str(tmp_path))


def test_a_library_that_cannot_be_written_has_features_none_the_less(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(cached_features(str(tmp_path / "file"), molecules(["CCO"]))) == 1


@pytest.mark.parametrize("metadata", [None, {b"ms2img.features_version": b"0"}])
def test_features_of_another_version_are_refused_and_computed_anew(
    tmp_path: Path, metadata: dict[bytes, bytes] | None
) -> None:
    old = featurise(molecules(["CCO"])).replace_schema_metadata(metadata)
    pq.write_table(old, tmp_path / FEATURES_FILE)
    with pytest.raises(UsageError, match="version (0|no); this release needs version 1"):
        read_features(str(tmp_path))
    cached_features(str(tmp_path), molecules(["CCO"]))
    assert list(read_features(str(tmp_path))) == ["LFQSCWFLJHTTHZ"]
    schema = pq.read_schema(tmp_path / FEATURES_FILE)
    assert schema.equals(MOLECULE_FEATURES)
    assert schema.metadata == MOLECULE_FEATURES.metadata


def test_on_the_fly_only_what_is_asked_for_is_computed() -> None:
    whole, graph = features_of("CCO"), features_of("CCO", parts=["graph"])
    np.testing.assert_array_equal(graph.graph.paths, whole.graph.paths)
    assert (len(graph.fingerprint), graph.tokens) == (0, ())
    assert features_of("CCO", parts=["tokens"]).tokens == whole.tokens
    assert features_of("CCO", parts=["fingerprint"]).graph.n_atoms == 0
    with pytest.raises(ValueError, match="no such features"):
        features_of("CCO", parts=["graphs"])


def test_on_the_fly_refuses_as_parsing_does() -> None:
    with pytest.raises(Refused, match=r"\[charged\]"):
        features_of("CC(=O)[O-]")
    with pytest.raises(Refused, match=r"\[elements\]"):
        features_of("CCBr")
    assert features_of("CCBr", elements=("C", "H", "Br")).graph.n_atoms == 3
