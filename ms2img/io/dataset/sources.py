"""``sources.parquet``: the files an image data set was made of, so that an unchanged one is not hashed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.io.schema import SOURCES
from ms2img.io.storage import FileStatus, Folder, open_bytes

SOURCES_NAME = "sources.parquet"
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file as it was when it was hashed; `content_hash` is of its stored bytes."""

    status: FileStatus
    content_hash: str


def hash_file(location: str) -> str:
    """The blake2b-16 of a file's stored bytes, read now and not remembered. Raises `RunError` as `open_bytes`."""
    digest = hashlib.blake2b(digest_size=16)
    with open_bytes(location) as handle:
        while chunk := handle.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def source_fingerprint(content_hash: str, quant_hash: str | None, column: str | None) -> str:
    """The hash of what a run is made of: its file's content, its quant table's, and its column.

    Equal content has an equal fingerprint wherever it lies.
    """
    return hashlib.blake2b(json.dumps([content_hash, quant_hash, column]).encode(), digest_size=16).hexdigest()


def read_sources(out: Folder) -> dict[str, Source]:
    """path -> what was known of it at the last commit; empty where nothing can be read: hashing repairs that."""
    content = out.read(SOURCES_NAME)
    if content is None:
        return {}
    try:
        table = pq.read_table(pa.BufferReader(content), schema=SOURCES)
    except (OSError, pa.ArrowException):
        return {}
    columns = (table[name].to_pylist() for name in SOURCES.names)
    rows = zip(*columns, strict=True)
    return {path: Source(FileStatus(size, version), digest) for path, size, version, digest in rows}


def write_sources(out: Folder, sources: Mapping[str, Source]) -> None:
    """Replace ``sources.parquet``, sorted by path."""
    ordered = sorted(sources.items())
    table = pa.table(
        [
            [path for path, _ in ordered],
            [source.status.size for _, source in ordered],
            [source.status.version for _, source in ordered],
            [source.content_hash for _, source in ordered],
        ],
        schema=SOURCES,
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    out.write(SOURCES_NAME, sink.getvalue())
