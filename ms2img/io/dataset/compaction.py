"""From staged rows to the files of an image data set, and what is held of it already.

Every run's row is looked up by its identity in the staged files and the committed ones; each file of the finished set
is then put together by itself, by whoever has the time: the result is the same bytes.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.manifest import Manifest, Shard
from ms2img.io.dataset.shards import (
    IDENTITY_COLUMNS,
    IMAGES,
    ROW_GROUP,
    checksum,
    deal,
    encode_groups,
    identities_of,
    shard_name,
)
from ms2img.io.dataset.sources import Source
from ms2img.io.dataset.staging import FOOTER_READERS, STAGING, Staged, read_staged
from ms2img.io.location import TEMPORARY
from ms2img.io.schema import images_schema
from ms2img.io.storage import FileStatus, Folder, is_remote


@dataclass
class Held:
    """Rows that exist: sample_id -> identity -> the file that holds it; and the sources staged rows were made of."""

    rows: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    sources: dict[str, Source] = field(default_factory=dict)

    def add(self, file: str, rows: Mapping[str, str]) -> None:
        """Take up a file's rows (sample_id -> identity); one that is held already stays where it is."""
        for sample, row_identity in rows.items():
            self.rows[sample].setdefault(row_identity, file)

    def add_staged(self, staged: Staged) -> None:
        """Take up a staged file and its sources."""
        self.add(staged.name, staged.rows)
        self.sources |= staged.sources

    def of(self, sample_id: str) -> Collection[str]:
        """The identities held of a sample."""
        return self.rows.get(sample_id, {}).keys()


def held(out: Folder, committed: Manifest | None, present: Mapping[str, FileStatus]) -> Held:
    """What the committed files and an unfinished job's staged ones hold; `present` is the folder's listing.

    No pixel is read. A committed file that is gone or unreadable holds nothing: its rows are made again.
    """
    found = Held()
    if committed is not None:
        names = [file.name for file in committed.files if _is_whole(file, present)]
        with ThreadPoolExecutor(FOOTER_READERS) as readers:
            rows_of = readers.map(lambda name: _identities(out, name, committed), names)
        for name, rows in zip(names, rows_of, strict=True):
            found.add(name, rows)
    for staged in read_staged(out, [name for name in present if name.startswith(STAGING)]):
        found.add_staged(staged)
    return found


def _is_whole(file: Shard, present: Mapping[str, FileStatus]) -> bool:
    return file.name in present and present[file.name].size == file.bytes


def _identities(out: Folder, name: str, committed: Manifest) -> dict[str, str]:
    try:
        with out.open(name) as stream:
            rows = pq.read_table(stream, columns=list(IDENTITY_COLUMNS))
    except (OSError, pa.ArrowException):
        return {}
    return dict(zip(rows["sample_id"].to_pylist(), identities_of(rows, committed.stage_version), strict=True))


@dataclass(frozen=True)
class ShardPlan:
    """A file to put together: its name, and its rows (sample_id, identity, file to take it from) by sample."""

    name: str
    rows: tuple[tuple[str, str, str], ...]


def plan_shards(
    rows: Mapping[str, str],
    held_rows: Held,
    committed: Manifest | None,
    present: Mapping[str, FileStatus],
    *,
    n_shards: int,
    image_bytes: int,
) -> tuple[list[Shard], list[ShardPlan]]:
    """The data set that holds exactly `rows` (sample_id -> identity): files that stay, and files to make."""
    kept = {file.name: file for file in committed.files if _is_whole(file, present)} if committed else {}
    stay: list[Shard] = []
    make: list[ShardPlan] = []
    for index, samples in deal(rows, n_shards, image_bytes):
        name = shard_name(index, [rows[sample] for sample in samples])
        if name in kept:
            stay.append(kept[name])
            continue
        found = ((sample, rows[sample], held_rows.rows[sample][rows[sample]]) for sample in samples)
        make.append(ShardPlan(name, tuple(found)))
    return stay, make


def make_shard(out: Folder, plan: ShardPlan, *, height: int, width: int, stage_version: int) -> Shard:
    """Put one file together out of those that hold its rows, and write it at once. Raises `JobError`."""
    content = encode_groups(_row_groups(out, plan, stage_version), images_schema(height, width))
    out.write(plan.name, content)
    return Shard(plan.name, len(plan.rows), content.size, checksum(content))


def _row_groups(out: Folder, plan: ShardPlan, stage_version: int) -> Iterator[pa.Table]:
    """The rows of a file, a row group at a time.

    What a source gives is held from its first row to its last. Files are staged in the order of the samples as far as
    paths have that order too: then few sources are held at a time, however large the file.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    last: dict[str, int] = {}
    for number, (_, row_identity, source) in enumerate(plan.rows):
        wanted[source].add(row_identity)
        last[source] = number
    held_rows: dict[str, tuple[pa.Table, dict[str, int]]] = {}
    for start in range(0, len(plan.rows), ROW_GROUP):
        pieces = []
        for source, members in groupby(plan.rows[start : start + ROW_GROUP], key=lambda row: row[2]):
            if source not in held_rows:
                held_rows[source] = _rows_of(out, source, wanted[source], stage_version)
            table, place = held_rows[source]
            pieces.append(table.take(pa.array([place[row_identity] for _, row_identity, _ in members])))
        yield pa.concat_tables(pieces)
        for source in [source for source in held_rows if last[source] < start + ROW_GROUP]:
            del held_rows[source]


def _rows_of(out: Folder, name: str, wanted: set[str], stage_version: int) -> tuple[pa.Table, dict[str, int]]:
    """The rows of a file with these identities, and the place of each."""
    tables, place = [], dict[str, int]()
    try:
        with out.open(name) as stream:
            file = pq.ParquetFile(stream)
            for group in range(file.num_row_groups):
                found = identities_of(file.read_row_group(group, columns=list(IDENTITY_COLUMNS)), stage_version)
                rows = [row for row, row_identity in enumerate(found) if row_identity in wanted]
                if rows:
                    place |= {found[row]: len(place) + at for at, row in enumerate(rows)}
                    tables.append(file.read_row_group(group).take(pa.array(rows)).replace_schema_metadata(None))
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise JobError(f"{out.location}/{name}: cannot be read: {reason}; run the command again") from None
    if len(place) < len(wanted):
        raise JobError(f"{out.location}: staged rows are gone from {name}; run the command again")
    return pa.concat_tables(tables), place


def sweep(out: Folder, keep: Iterable[str], present: Iterable[str]) -> None:
    """After the commit: remove staged files, images that the manifest does not name, and what killed writers left."""
    kept = set(keep)
    out.delete([name for name in present if name.startswith((STAGING, IMAGES)) and name not in kept])
    if not is_remote(out.location):  # a disk keeps the half of a write that was killed; a listing does not show it
        for below in ("", STAGING, IMAGES):
            for path in Path(out.location, below).glob(f".*{TEMPORARY}"):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            Path(out.location, STAGING).rmdir()


def require_ours(out: Folder, present: Iterable[str], ours: Collection[str]) -> None:
    """Refuse a folder without a manifest that holds what no conversion has put there. Raises `UsageError`."""
    foreign = next((name for name in present if name not in ours and not name.startswith((STAGING, IMAGES))), None)
    if foreign is not None:
        raise UsageError(
            f"{out.location}: not empty and not an image data set (it has {foreign}); give OUT a new or empty folder"
        )
