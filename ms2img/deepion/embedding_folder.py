"""An embedding of ion images on disk: a table of ions, and ``embedding.json``, whose writing is the commit.

Layout of the folder, local or ``s3://``::

    OUT/ions-<content>.parquet   one row an ion, sorted by m/z, schema `ions_schema`
    OUT/embedding.json           written last and at once: the commit
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.io.dataset.shards import checksum
from ms2img.io.storage import Folder, folder, join

IONS, MANIFEST_NAME = "ions-", "embedding.json"
FORMAT = 1  # of the folder; raised by hand when a reader of the old one would misread it
PLANE = 2  # dimensions of the map


class Facts(Config):
    """What is true of all ions of an embedding; see `Embedding`."""

    images: str
    images_fingerprint: str
    model: str
    model_version: str
    mode: Literal["col", "iso"]
    preset: str
    seed: int
    metric: str
    polarity: Literal["positive", "negative"] | None
    is_simulated: bool


class _Manifest(Config):
    """The whole of ``embedding.json``."""

    format: int
    content: str = Field(description="the fingerprint")
    n_ions: int = Field(ge=1)
    file: str
    checksum: str
    facts: Facts


@dataclass(frozen=True, eq=False)
class Embedding:
    """Vectors of the ion images of one section, rows sorted by m/z.

    mz: float64 [n], Da / charge, ascending. presence: float64 [n], share of the measured pixels with signal, 0-1.
    intensity: float64 [n], mean over the measured pixels before hot spots are capped and ions scaled.
    vectors: float32 [n, d], the encoder's, d = 512 for ResNet18. reduced: float32 [n, 20], UMAP's of them, each
    dimension in 0-1: what distances are of. plane: float32 [n, 2], UMAP's to two dimensions, for a map alone.
    images, images_fingerprint: the absolute location of the ion images, and what they were. model, model_version: as
    one names it, and a hash of its content. mode: "col" | "iso". preset: of views and training. seed: UMAP's. metric:
    between vectors while UMAP reduces them. polarity: "positive" | "negative". fingerprint: set by `read_embedding`.

    Raises `ValueError` for arrays that do not fit together.
    """

    mz: np.ndarray
    presence: np.ndarray
    intensity: np.ndarray
    vectors: np.ndarray
    reduced: np.ndarray
    plane: np.ndarray
    images: str
    images_fingerprint: str
    model: str
    model_version: str
    mode: str
    preset: str
    seed: int
    metric: str
    polarity: str | None = None
    is_simulated: bool = False
    fingerprint: str = ""

    def __post_init__(self) -> None:
        n = len(self.mz)
        for name in ("mz", "presence", "intensity"):
            _require(name, getattr(self, name), np.float64, (n,))
        for name in ("vectors", "reduced"):
            found = getattr(self, name)
            _require(name, found, np.float32, (n, found.shape[-1]))
        _require("plane", self.plane, np.float32, (n, PLANE))
        if np.any(np.diff(self.mz) < 0):
            raise ValueError("m/z values are to be ascending")

    def __len__(self) -> int:
        return len(self.mz)


def ions_schema(width: int, dimensions: int) -> pa.Schema:
    """One row an ion, sorted by `mz`; the encoder's `width`, UMAP's `dimensions`."""
    return pa.schema(
        [
            pa.field("mz", pa.float64(), nullable=False),  # Da / charge
            pa.field("presence", pa.float64(), nullable=False),  # share of the measured pixels with signal, 0-1
            pa.field("intensity", pa.float64(), nullable=False),  # mean over them, after pixel normalisation alone
            pa.field("vector", pa.fixed_shape_tensor(pa.float32(), (width,)), nullable=False),
            pa.field("reduced", pa.fixed_shape_tensor(pa.float32(), (dimensions,)), nullable=False),  # 0-1
            pa.field("plane", pa.fixed_shape_tensor(pa.float32(), (PLANE,)), nullable=False),
        ]
    )


def write_embedding(place: str | Path, embedding: Embedding) -> str:
    """Write an embedding into a folder, in place of the one that is there, at once; its fingerprint.

    Equal m/z, vectors and facts, equal fingerprint. Raises `ValueError` for no ions, `UsageError` for facts that are
    not what `Embedding` says or a folder that cannot be written, `JobError` when the disk is full.
    """
    out = folder(str(place))
    if not len(embedding):
        raise ValueError("no ions to write")
    facts = Facts.checked({name: getattr(embedding, name) for name in Facts.model_fields}, source="embedding")
    content = _encoded(embedding)
    digest = checksum(content)
    manifest = _Manifest(
        format=FORMAT,
        content=_fingerprint(embedding, facts),
        n_ions=len(embedding),
        file=f"{IONS}{digest[:16]}.parquet",
        checksum=digest,
        facts=facts,
    )
    out.write(manifest.file, content)
    out.write(MANIFEST_NAME, json.dumps(manifest.model_dump(), indent=2).encode())
    out.delete(name for name in out.names(IONS) if name.endswith(".parquet") and name != manifest.file)
    return manifest.content


def read_embedding(place: str | Path) -> Embedding:
    """The embedding kept in a folder, local or ``s3://``.

    Raises `UsageError`, one line, for a folder that holds none, and for one whose table is not the one it was committed
    with.
    """
    source = folder(str(place))
    manifest = _manifest(source)
    content = source.read(manifest.file)
    if content is None or checksum(content) != manifest.checksum:
        what = "is missing" if content is None else "was changed since"
        raise UsageError(f"{join(source.location, manifest.file)}: {what}; embed the ion images again")
    try:
        table = pq.read_table(io.BytesIO(content))
        return Embedding(
            **{name: table[name].to_numpy() for name in ("mz", "presence", "intensity")},
            vectors=_matrix(table["vector"]),
            reduced=_matrix(table["reduced"]),
            plane=_matrix(table["plane"]),
            fingerprint=manifest.content,
            **manifest.facts.model_dump(),
        )
    except (pa.ArrowInvalid, KeyError, ValueError, AttributeError) as error:
        where = join(source.location, manifest.file)
        raise UsageError(f"{where}: not the table of an embedding: {str(error).splitlines()[0]}") from None


def _manifest(source: Folder) -> _Manifest:
    content = source.read(MANIFEST_NAME)
    if content is None:
        raise UsageError(f"{source.location}: no embedding; make one with 'ms2img deepion embed MODEL IMAGES OUT'")
    where = join(source.location, MANIFEST_NAME)
    try:
        values = json.loads(content)
        found = values["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"{where}: not the description of an embedding") from None
    if found != FORMAT:
        raise UsageError(f"{where}: an embedding of format {found}; this version reads format {FORMAT}")
    manifest = _Manifest.checked(values, source=where)
    if "/" in manifest.file or not manifest.file.startswith(IONS):
        raise UsageError(f"{where}: file: '{manifest.file}'; expected a name that starts with {IONS}")
    return manifest


def _encoded(embedding: Embedding) -> pa.Buffer:
    tensors = [
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(each))
        for each in (embedding.vectors, embedding.reduced, embedding.plane)
    ]
    numbers = [pa.array(each) for each in (embedding.mz, embedding.presence, embedding.intensity)]
    schema = ions_schema(embedding.vectors.shape[1], embedding.reduced.shape[1])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays([*numbers, *tensors], schema=schema), sink, compression="zstd")
    return sink.getvalue()


def _fingerprint(embedding: Embedding, facts: Facts) -> str:
    """Of all but where the images lie, which may change without them."""
    found = hashlib.blake2b(json.dumps(facts.model_dump(exclude={"images"}), sort_keys=True).encode(), digest_size=8)
    for name in ("mz", "presence", "intensity", "vectors", "reduced", "plane"):
        found.update(np.ascontiguousarray(getattr(embedding, name)).data)
    return found.hexdigest()


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """[n, d] of a column of vectors."""
    whole = column.combine_chunks()
    return np.asarray(whole.to_numpy_ndarray(), np.float32)


def _require(name: str, found: np.ndarray, kind: type, shape: tuple[int, ...]) -> None:
    if found.dtype != kind or found.shape != shape:
        raise ValueError(f"{name}: {found.dtype} {found.shape}; expected {np.dtype(kind)} {shape}")
