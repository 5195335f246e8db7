"""The image data set on disk: Parquet shards, and the manifest that says which of them count.

Layout of a folder written by ``ms2img convert``::

    OUT/images/part-00000-<identity>.parquet   rows sorted by sample_id, schema `ms2img.io.schema.images_schema`
    OUT/errors.parquet                         one row a run that failed, schema `ms2img.io.schema.ERRORS`
    OUT/manifest.json                          written last, by one rename: the commit
    OUT/config.yaml                            the resolved config

A shard's name is a hash of the identities of its rows (see `identity`), so that equal rows mean an equal name: what
has not changed is not written again, and the finished folder does not depend on how many runs it took to make it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ms2img.errors import UsageError
from ms2img.io.atomic import replace_file

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1
SHARD_BYTES = 64 * 2**20  # uncompressed pixels a shard (ours): a shard fits any worker, a data set has few files


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds: how the images were made, and the committed shards (paths below the folder)."""

    stage_version: int
    render: dict[str, Any]
    render_fingerprint: str
    n_images: int
    n_errors: int
    shards: tuple[str, ...]

    def write(self, out: Path) -> None:
        """Commit: replace the folder's manifest by this one."""
        text = json.dumps({"manifest_version": MANIFEST_VERSION, **asdict(self)}, indent=2, sort_keys=True)
        with replace_file(out / MANIFEST_NAME) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, out: Path) -> Manifest | None:
        """The folder's manifest; None where there is none yet. Raises `UsageError` if it is not ours."""
        path = out / MANIFEST_NAME
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content.pop("manifest_version")
            if version != MANIFEST_VERSION:
                raise UsageError(f"{path}: manifest version {version}; this ms2img reads version {MANIFEST_VERSION}")
            return cls(**{**content, "shards": tuple(content["shards"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: not a manifest of ms2img convert: {error}") from None


@dataclass(frozen=True)
class ImageSet:
    """A whole image data set in memory, rows sorted by sample_id.

    ``images`` is uint8 [n, height, width]; ``fingerprint`` identifies data and rendering together.
    """

    sample_ids: tuple[str, ...]
    images: np.ndarray
    render: dict[str, Any]
    render_fingerprint: str
    fingerprint: str
    source_fingerprints: dict[str, str]

    def rows_of(self, sample_ids: Sequence[str]) -> np.ndarray:
        """Row numbers [len(sample_ids)] of these samples; `KeyError` for one that has no image."""
        row = {sample: index for index, sample in enumerate(self.sample_ids)}
        return np.array([row[sample] for sample in sample_ids], dtype=np.int64)


def identity(sample_id: str, source_fingerprint: str, render_fingerprint: str, stage_version: int) -> str:
    """What makes an image row this row: sample, content of its file and column, render config, stage version."""
    text = "\0".join((sample_id, source_fingerprint, render_fingerprint, str(stage_version)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def shard_count(n_images: int, height: int, width: int) -> int:
    """Shards of a data set: the smallest power of two that keeps their mean under `SHARD_BYTES` of pixels."""
    shards = 1
    while n_images * height * width > shards * SHARD_BYTES:
        shards *= 2
    return shards


def shard_of(sample_id: str, n_shards: int) -> int:
    """The shard a sample belongs to, whatever else is in the data set."""
    digest = hashlib.blake2b(sample_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % n_shards


def shard_name(index: int, identities: Sequence[str]) -> str:
    """``images/part-<index>-<hash of the sorted identities>.parquet``."""
    digest = hashlib.blake2b("\n".join(sorted(identities)).encode(), digest_size=8).hexdigest()
    return f"images/part-{index:05d}-{digest}.parquet"


def write_images(table: pa.Table, path: Path) -> None:
    """Write rows of `images_schema` as one Parquet file, sorted by sample_id, by one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Arrow cannot sort extension columns: sort the ids, then take.
    order = pc.sort_indices(table["sample_id"])
    with replace_file(path) as temporary:
        pq.write_table(table.take(order).combine_chunks(), temporary, compression="zstd", row_group_size=1024)


def read_identities(path: Path, stage_version: int) -> dict[str, str]:
    """sample_id -> identity of every row of one shard, without reading a pixel."""
    rows = pq.read_table(path, columns=["sample_id", "source_fingerprint", "render_fingerprint"]).to_pylist()
    return {
        row["sample_id"]: identity(
            row["sample_id"], row["source_fingerprint"], row["render_fingerprint"], stage_version
        )
        for row in rows
    }


def pixels(column: pa.ChunkedArray) -> np.ndarray:
    """The image column as one uint8 array [n, height, width]."""
    chunks = [chunk.to_numpy_ndarray() for chunk in column.chunks if len(chunk)]
    if not chunks:
        return np.zeros((0, *column.type.shape), dtype=np.uint8)
    return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]


def load_images(out: str | Path) -> ImageSet:
    """Load the committed data set below `out` into memory.

    Raises `UsageError` when `out` was not written by ``ms2img convert`` or a committed shard is gone or unreadable.
    """
    folder = Path(out)
    manifest = Manifest.read(folder)
    if manifest is None:
        raise UsageError(f"{folder}: no {MANIFEST_NAME} here; expected the OUT folder of a finished 'ms2img convert'")
    tables = []
    for shard in manifest.shards:
        try:
            tables.append(pq.read_table(folder / shard))
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"{folder / shard}: the manifest names it, but it cannot be read: {reason}") from None
    if not tables:
        raise UsageError(f"{folder}: the data set is empty ({manifest.n_errors} runs failed: see errors.parquet)")
    table = pa.concat_tables(tables)
    table = table.take(pc.sort_indices(table["sample_id"])).combine_chunks()
    sample_ids = tuple(table["sample_id"].to_pylist())
    sources = dict(zip(sample_ids, table["source_fingerprint"].to_pylist(), strict=True))
    return ImageSet(
        sample_ids=sample_ids,
        images=pixels(table["image"]),
        render=manifest.render,
        render_fingerprint=manifest.render_fingerprint,
        fingerprint=data_fingerprint(sources, manifest.render_fingerprint),
        source_fingerprints=sources,
    )


def data_fingerprint(source_fingerprints: Mapping[str, str], render_fingerprint: str) -> str:
    """One short hash of which samples, with which content, were rendered how."""
    text = "\n".join([render_fingerprint, *(f"{key}\0{value}" for key, value in sorted(source_fingerprints.items()))])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
