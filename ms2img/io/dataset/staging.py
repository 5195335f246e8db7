"""``OUT/.staging``: rows that are rendered but not yet committed, in files of one shard each.

A staged file is named by its shard and its content, so that a repeated task changes nothing. Its footer tells what is
in it and which sources that was made of: a resumed job learns what it has without reading a pixel or a run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.io.dataset.shards import encode, identities_of
from ms2img.io.dataset.sources import Source
from ms2img.io.storage import FileStatus, Folder

STAGING = ".staging/"
STAGED = "ms2img.staged"  # key in the footer
STAGED_RUNS = 64  # most runs a staged file, the unit of commitment
STAGED_BYTES = 64 * 2**20  # most pixels a staged file, bytes (ours): what a worker holds before it lets go
FOOTER_READERS = 16  # threads (ours): on an object store every footer is a round trip or two


@dataclass(frozen=True)
class Staged:
    """What a staged file holds: sample_id -> identity, and the sources of those rows."""

    name: str
    rows: dict[str, str]
    sources: dict[str, Source]


def stage(out: Folder, shard: int, rows: pa.Table, sources: Mapping[str, Source], stage_version: int) -> Staged:
    """Write rows of one shard (schema `images_schema`) as one staged file. Raises `JobError` as `Folder.write`."""
    identities = dict(zip(rows["sample_id"].to_pylist(), identities_of(rows, stage_version), strict=True))
    digest = hashlib.blake2b("\n".join(sorted(identities.values())).encode(), digest_size=16).hexdigest()
    staged = Staged(f"{STAGING}{shard:05d}-{digest}.parquet", identities, dict(sources))
    out.write(staged.name, encode(rows, {STAGED: _to_json(staged)}))
    return staged


def read_staged(out: Folder, names: Iterable[str]) -> list[Staged]:
    """What an unfinished job has left, in the order of names; a file that is no staged one is passed over."""
    with ThreadPoolExecutor(FOOTER_READERS) as readers:
        found = readers.map(lambda name: _read(out, name), sorted(names))
    return [staged for staged in found if staged is not None]


def _read(out: Folder, name: str) -> Staged | None:
    try:
        with out.open(name) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
        content = json.loads(metadata[STAGED.encode()])
        said = content["sources"].items()
        sources = {path: Source(FileStatus(size, version), digest) for path, (size, version, digest) in said}
        return Staged(name, content["rows"], sources)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None


def _to_json(staged: Staged) -> str:
    sources = {
        path: (source.status.size, source.status.version, source.content_hash)
        for path, source in sorted(staged.sources.items())
    }
    return json.dumps({"rows": staged.rows, "sources": sources}, sort_keys=True)
