"""Reading the image data set of ``ms2img convert``: the whole of it, or the images of some samples.

Layout of the folder, local or in an object store::

    OUT/images/part-00000-<identity>.parquet   rows sorted by sample_id, schema `ms2img.io.schema.images_schema`
    OUT/errors.parquet                         one row a run that failed, schema `ms2img.io.schema.ERRORS`
    OUT/sources.parquet                        one row a file the images were made of, schema `ms2img.io.schema.SOURCES`
    OUT/config.yaml                            the resolved config
    OUT/manifest.json                          written last and at once: the commit
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ms2img.errors import UsageError
from ms2img.io.dataset.manifest import MANIFEST_NAME, Manifest, require_manifest
from ms2img.io.dataset.shards import groups_with, shard_of
from ms2img.io.storage import Folder, folder, join

__all__ = ["MANIFEST_NAME", "ImageSet", "Manifest", "data_fingerprint", "load_images", "pixels"]


@dataclass(frozen=True)
class ImageSet:
    """Images in memory, rows sorted by sample_id.

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


def load_images(out: str | Path, sample_ids: Iterable[str] | None = None) -> ImageSet:
    """Load the committed data set below `out` into memory, or only the images of `sample_ids` (those it has of them).

    With `sample_ids`, only the shards and row groups that may hold them are read.

    Raises `UsageError` when `out` was not written by ``ms2img convert``, is empty, has none of `sample_ids`, or a
    committed shard is gone or unreadable.
    """
    store = folder(str(out))
    manifest = require_manifest(store)
    if not manifest.files:
        raise UsageError(f"{out}: the data set is empty ({manifest.n_errors} runs failed: see errors.parquet)")
    wanted = None if sample_ids is None else sorted(set(sample_ids))
    tables = [_read(store, name, samples) for name, samples in _needed(manifest, wanted)]
    if not sum(map(len, tables)):
        raise UsageError(f"{out}: the data set has no image of any of the {len(wanted or ())} samples asked for")
    table = pa.concat_tables(tables)
    table = table.take(pc.sort_indices(table["sample_id"])).combine_chunks()
    samples = tuple(table["sample_id"].to_pylist())
    sources = dict(zip(samples, table["source_fingerprint"].to_pylist(), strict=True))
    return ImageSet(
        sample_ids=samples,
        images=pixels(table["image"]),
        render=manifest.render,
        render_fingerprint=manifest.render_fingerprint,
        fingerprint=data_fingerprint(sources, manifest.render_fingerprint),
        source_fingerprints=sources,
    )


def _needed(manifest: Manifest, wanted: Sequence[str] | None) -> list[tuple[str, list[str] | None]]:
    """The files to open, each with the samples to look for in it (None: all)."""
    if wanted is None:
        return [(name, None) for name in manifest.shards]
    by_shard: dict[int, list[str]] = defaultdict(list)
    for sample in wanted:
        by_shard[shard_of(sample, manifest.n_shards)].append(sample)
    numbered = [(name, by_shard.get(int(name.split("-")[1]))) for name in manifest.shards]
    return [(name, samples) for name, samples in numbered if samples]


def _read(store: Folder, name: str, samples: Sequence[str] | None) -> pa.Table:
    try:
        with store.open(name) as stream:
            file = pq.ParquetFile(stream)
            if samples is None:
                return file.read()
            rows = file.read_row_groups(groups_with(file.metadata, samples))
            return rows.filter(pc.is_in(rows["sample_id"], pa.array(samples, pa.string())))
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        where = join(store.location, name)
        raise UsageError(f"{where}: the manifest names it, but it cannot be read: {reason}") from None


def pixels(column: pa.ChunkedArray) -> np.ndarray:
    """The image column as one uint8 array [n, height, width]."""
    chunks = [chunk.to_numpy_ndarray() for chunk in column.chunks if len(chunk)]
    if not chunks:
        return np.zeros((0, *column.type.shape), dtype=np.uint8)
    return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]


def data_fingerprint(source_fingerprints: Mapping[str, str], render_fingerprint: str) -> str:
    """One short hash of which samples, with which content, were rendered how."""
    text = "\n".join([render_fingerprint, *(f"{key}\0{value}" for key, value in sorted(source_fingerprints.items()))])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
