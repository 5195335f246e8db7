"""The features of a library's molecules, computed once and kept beside it as ``features.parquet``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import UsageError
from ms2img.io import storage
from ms2img.io.schema import require
from ms2img.massformer.molecule.description import MoleculeFeatures, described, features_of
from ms2img.massformer.molecule.fingerprints import FINGERPRINT_BITS
from ms2img.massformer.molecule.graph import ATOM_SIZES, BOND_SIZES, MAX_PATH, UNREACHABLE, MolecularGraph
from ms2img.massformer.molecule.structure import Refused, normal_mol

__all__ = [
    "FEATURES_FILE", "FEATURES_VERSION", "MOLECULE_FEATURES", "Features", "MoleculeFeatures", "cached_features",
    "features_of", "featurise", "read_features", "write_features",
]  # fmt: skip

FEATURES_FILE = "features.parquet"
#: Raised by hand whenever the features of some molecule change; a golden hash in the tests says when that is.
FEATURES_VERSION = 1
_VERSION_KEY = b"ms2img.features_version"
_INT16_LIST = pa.large_list(pa.int16())

#: One row a molecule; arrays are flattened row by row, n = `n_atoms`, m = `n_bonds`. A refused molecule has null for
#: every feature.
MOLECULE_FEATURES = pa.schema(
    [
        pa.field("molecule_id", pa.string(), nullable=False),  # first block of the InChIKey
        pa.field("smiles", pa.string(), nullable=False),  # what the features were computed from
        pa.field("refusal", pa.string()),  # of `structure.REFUSALS`; null for a molecule with features
        pa.field("n_atoms", pa.int16()),  # heavy atoms
        pa.field("n_bonds", pa.int16()),
        pa.field("atoms", _INT16_LIST),  # [n, 8] category numbers, `graph.ATOM_FEATURES`
        pa.field("bonds", _INT16_LIST),  # [m, 2] atom numbers
        pa.field("bond_features", _INT16_LIST),  # [m, 3] category numbers, `graph.BOND_FEATURES`
        pa.field("degrees", _INT16_LIST),  # [n]
        pa.field("distances", pa.large_list(pa.uint8())),  # [n, n] hops, 255 unreachable
        pa.field("paths", _INT16_LIST),  # [n, n, 5] bond numbers, -1 after the end
        pa.field("fingerprint", pa.binary(FINGERPRINT_BITS)),  # uint8, `fingerprints.PARTS`
        pa.field("tokens", pa.list_(pa.string())),  # SELFIES symbols
    ],
    metadata={_VERSION_KEY: str(FEATURES_VERSION).encode()},
)

_N_ATOMS = -1  # an axis as long as there are atoms
#: The columns that hold a graph's arrays, each with the shape of what it says of one atom or bond.
_GRAPH_COLUMNS: dict[str, tuple[int, ...]] = {
    "atoms": (len(ATOM_SIZES),),
    "bonds": (2,),
    "bond_features": (len(BOND_SIZES),),
    "degrees": (),
    "distances": (_N_ATOMS,),
    "paths": (_N_ATOMS, MAX_PATH),
}


def featurise(molecules: pa.Table) -> pa.Table:
    """`MOLECULE_FEATURES` of a table with `molecule_id` and `smiles`, row by row.

    The library has chosen its elements and sizes already: here a molecule is refused only if it cannot be described.
    """
    ids, smiles = molecules["molecule_id"].to_pylist(), molecules["smiles"].to_pylist()
    rows = [_row(molecule_id, text) for molecule_id, text in zip(ids, smiles, strict=True)]
    columns = {name: [row.get(name) for row in rows] for name in MOLECULE_FEATURES.names}
    arrays = [_array(field.type, columns[field.name]) for field in MOLECULE_FEATURES]
    return pa.Table.from_arrays(arrays, schema=MOLECULE_FEATURES)


class Features(Mapping[str, MoleculeFeatures]):
    """The features of many molecules by `molecule_id`: read-only views into one table.

    refused: why the molecules without features have none, by `molecule_id`.
    """

    def __init__(self, table: pa.Table) -> None:
        columns = require(table, MOLECULE_FEATURES, what="molecule features").combine_chunks()
        ids, refusals = columns["molecule_id"].to_pylist(), columns["refusal"].to_pylist()
        self.refused: dict[str, str] = {
            each: reason for each, reason in zip(ids, refusals, strict=True) if reason is not None
        }
        self._rows = {each: row for row, each in enumerate(ids) if each not in self.refused}
        self._sizes = {name: columns[name].to_numpy() for name in ("n_atoms", "n_bonds")}
        self._lists = {name: _flat(_whole(columns[name])) for name in _GRAPH_COLUMNS}
        self._fingerprints = _bytes(_whole(columns["fingerprint"]))
        self._tokens = _whole(columns["tokens"])

    @classmethod
    def from_table(cls, table: pa.Table) -> Features:
        """Of a table `MOLECULE_FEATURES`; raises `TypeError` for another."""
        return cls(table)

    def __getitem__(self, molecule_id: str) -> MoleculeFeatures:
        row = self._rows[molecule_id]
        sizes = {name: int(column[row]) for name, column in self._sizes.items()}
        arrays = {}
        for name, tail in _GRAPH_COLUMNS.items():
            values, offsets = self._lists[name]
            lead = sizes["n_bonds"] if name.startswith("bond") else sizes["n_atoms"]
            shape = (lead, *(sizes["n_atoms"] if size == _N_ATOMS else size for size in tail))
            arrays[name] = values[offsets[row] : offsets[row + 1]].reshape(shape)
        return MoleculeFeatures(
            graph=MolecularGraph(**arrays),
            fingerprint=self._fingerprints[row],
            tokens=tuple(self._tokens[row].as_py()),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def write_features(place: str, table: pa.Table) -> None:
    """Write ``features.parquet`` into a library folder (local or s3://), in place of one that is there, at once."""
    sink = pa.BufferOutputStream()
    pq.write_table(require(table, MOLECULE_FEATURES, what="molecule features"), sink, compression="zstd")
    storage.folder(place).write(FEATURES_FILE, sink.getvalue())


def read_features(place: str) -> Features:
    """The features kept in a library folder; raises `UsageError` when there are none of this version."""
    return Features(_stored(place))


def cached_features(place: str, molecules: pa.Table) -> Features:
    """The features of a library's molecules: as kept in its folder when they are of these, else computed and kept.

    Features of another version and a damaged file count as none. Raises `JobError` when the disk is full.
    """
    try:
        table = _stored(place)
    except UsageError:
        table = None
    keys = ["molecule_id", "smiles"]
    if table is None or table.select(keys).to_pydict() != molecules.select(keys).to_pydict():
        table = featurise(molecules)
        with suppress(UsageError):  # a library that one may read alone: computed for every use
            write_features(place, table)
    return Features(table)


def _stored(place: str) -> pa.Table:
    where = storage.join(place, FEATURES_FILE)
    try:
        with storage.folder(place).open(FEATURES_FILE) as handle:
            table = pq.read_table(handle)
    except FileNotFoundError:
        raise UsageError(f"{where}: no features; expected those of a prepared library") from None
    except (pa.ArrowInvalid, OSError):
        raise UsageError(f"{where}: not a Parquet file, or a damaged one") from None
    found = (table.schema.metadata or {}).get(_VERSION_KEY, b"no").decode(errors="replace")
    if found != str(FEATURES_VERSION):
        raise UsageError(f"{where}: features of version {found}; this release needs version {FEATURES_VERSION}")
    return require(table, MOLECULE_FEATURES, what=where)


def _row(molecule_id: str, smiles: str) -> dict[str, object]:
    row: dict[str, object] = {"molecule_id": molecule_id, "smiles": smiles}
    try:
        found = described(normal_mol(smiles, elements=None, max_atoms=UNREACHABLE))
    except Refused as refused:
        return {**row, "refusal": str(refused.code)}
    graph = found.graph
    row |= {"n_atoms": graph.n_atoms, "n_bonds": len(graph.bonds)}
    row |= {name: getattr(graph, name).ravel() for name in _GRAPH_COLUMNS}
    return {**row, "fingerprint": found.fingerprint.tobytes(), "tokens": list(found.tokens)}


def _array(kind: pa.DataType, values: list) -> pa.Array:
    """Arrow from row values; number lists by one concatenation, for Arrow's own way takes as long as the features."""
    if not pa.types.is_large_list(kind):
        return pa.array(values, type=kind)
    present = [value for value in values if value is not None]
    lengths = np.array([0 if value is None else len(value) for value in values], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = pa.array(np.concatenate(present) if present else [], type=kind.value_type)
    missing = pa.array([value is None for value in values], type=pa.bool_())
    return pa.LargeListArray.from_arrays(pa.array(offsets, type=pa.int64()), flat, type=kind, mask=missing)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], type=column.type)


def _flat(column: pa.LargeListArray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all rows without a copy, and where each row starts."""
    return column.values.to_numpy(zero_copy_only=True), column.offsets.to_numpy()


def _bytes(column: pa.FixedSizeBinaryArray) -> np.ndarray:
    """uint8 [rows, FINGERPRINT_BITS] without a copy."""
    if not len(column):
        return np.zeros((0, FINGERPRINT_BITS), dtype=np.uint8)
    flat = np.frombuffer(column.buffers()[1], dtype=np.uint8)
    return flat[: (column.offset + len(column)) * FINGERPRINT_BITS].reshape(-1, FINGERPRINT_BITS)[column.offset :]
