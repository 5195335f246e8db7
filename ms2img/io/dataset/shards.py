"""Rows of images as Parquet files whose bytes depend on nothing but the rows.

A sample's shard follows from its id and the number of runs in the sheet. A file's name is a hash of the identities of
its rows, its rows are sorted by sample_id, and it is always written with the same settings: equal rows, equal bytes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

IMAGES = "images/"
SHARD_BYTES = 64 * 2**20  # mean pixels a shard, bytes (ours): a shard fits any worker, a data set has few files
FILE_BYTES = 240_000_000  # most pixels a file, bytes (ours): a file stays below 256 MB however samples are dealt
IDENTITY_COLUMNS = ("sample_id", "source_fingerprint", "render_fingerprint")
ROW_GROUP = 64  # rows (ours): 1.3 MB of pixels at 150x140, what a reader of one sample takes from the store


def identity(sample_id: str, source_fingerprint: str, render_fingerprint: str, stage_version: int) -> str:
    """What makes an image row this row: sample, content of its file and column, render config, stage version."""
    text = "\0".join((sample_id, source_fingerprint, render_fingerprint, str(stage_version)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def shard_count(n_runs: int, height: int, width: int) -> int:
    """Shards of a data set: the smallest power of two that keeps their mean under `SHARD_BYTES` of pixels.

    `n_runs` counts the sheet's runs, good and bad: a run that fails today does not move the others tomorrow.
    """
    shards = 1
    while n_runs * height * width > shards * SHARD_BYTES:
        shards *= 2
    return shards


def shard_of(sample_id: str, n_shards: int) -> int:
    """The shard a sample belongs to, whatever else is in the data set."""
    digest = hashlib.blake2b(sample_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % n_shards


def deal(samples: Iterable[str], n_shards: int, image_bytes: int) -> list[tuple[int, list[str]]]:
    """The files of a data set: shard number and sorted samples of each, at most `FILE_BYTES` of pixels a file."""
    members: dict[int, list[str]] = defaultdict(list)
    for sample in samples:
        members[shard_of(sample, n_shards)].append(sample)
    most = max(1, FILE_BYTES // image_bytes)
    return [
        (index, ordered[start : start + most])
        for index in sorted(members)
        for ordered in [sorted(members[index])]
        for start in range(0, len(ordered), most)
    ]


def shard_name(index: int, identities: Iterable[str]) -> str:
    """``images/part-<index>-<hash of the sorted identities>.parquet``."""
    digest = hashlib.blake2b("\n".join(sorted(identities)).encode(), digest_size=8).hexdigest()
    return f"{IMAGES}part-{index:05d}-{digest}.parquet"


def encode(table: pa.Table, metadata: Mapping[str, str] | None = None) -> pa.Buffer:
    """Rows of `images_schema` as one Parquet file in memory, sorted by sample_id; see `encode_groups`."""
    # Arrow cannot sort extension columns: sort the ids, then take.
    order = pc.sort_indices(table["sample_id"])
    groups = (table.take(order[start : start + ROW_GROUP]) for start in range(0, len(table), ROW_GROUP))
    return encode_groups(groups, table.schema, metadata)


def encode_groups(
    groups: Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[str, str] | None = None
) -> pa.Buffer:
    """Row groups (sorted, `ROW_GROUP` rows each but the last) as one Parquet file in memory.

    Statistics and a page index of the ids are in it, so that any reader skips the groups it does not need.
    `metadata` adds key-value pairs to the file's footer.
    """
    schema = schema.with_metadata({**(schema.metadata or {}), **(metadata or {})})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_index=True) as writer:
        for rows in groups:
            writer.write_table(rows.combine_chunks().replace_schema_metadata(schema.metadata))
    return sink.getvalue()


def identities_of(rows: pa.Table, stage_version: int) -> list[str]:
    """The identity of every row, in order, from its id and fingerprints."""
    samples, sources, renders = (rows[name].to_pylist() for name in IDENTITY_COLUMNS)
    return [identity(*row, stage_version) for row in zip(samples, sources, renders, strict=True)]


def checksum(content: bytes | pa.Buffer) -> str:
    """The blake2b-16 of a file's bytes, in hex."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def groups_with(footer: pq.FileMetaData, samples: Sequence[str]) -> list[int]:
    """The row groups of a shard that may hold any of these samples (sorted), by the ids' statistics."""
    column = footer.schema.names.index("sample_id")
    found = []
    for index in range(footer.num_row_groups):
        bounds = footer.row_group(index).column(column).statistics
        if bounds is None or not bounds.has_min_max or any(bounds.min <= sample <= bounds.max for sample in samples):
            found.append(index)
    return found
