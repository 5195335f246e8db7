"""From staged rows to the files of an image data set, and what is held of it already.

Every run's row is looked up by its identity in the staged files and the committed ones; each file of the finished set
is then put together by itself, by whoever has the time: the result is the same bytes.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.manifest import Manifest, Shard
from ms2img.io.dataset.shards import IDENTITY_COLUMNS, IMAGES, checksum, deal, encode, identities_of, shard_name
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
    """A file to put together: its name, and file -> identities of the rows to take from it."""

    name: str
    parts: dict[str, list[str]]


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
        parts: dict[str, list[str]] = defaultdict(list)
        for sample in samples:
            parts[held_rows.rows[sample][rows[sample]]].append(rows[sample])
        make.append(ShardPlan(name, dict(parts)))
    return stay, make


def make_shard(out: Folder, plan: ShardPlan, *, height: int, width: int, stage_version: int) -> Shard:
    """Put one file together out of those that hold its rows, and write it at once. Raises `JobError`.

    Memory: the file's pixels twice. The staged rows are read a row group at a time.
    """
    schema = images_schema(height, width)
    tables = [schema.empty_table()]
    for name, identities in sorted(plan.parts.items()):
        tables += [part.cast(schema) for part in _rows_of(out, name, set(identities), stage_version)]
    table = pa.concat_tables(tables)
    wanted = sum(map(len, plan.parts.values()))
    if len(table) != wanted:
        raise JobError(f"{out.location}: staged rows are gone ({len(table)} of {wanted} left); run the command again")
    content = encode(table)
    out.write(plan.name, content)
    return Shard(plan.name, len(table), content.size, checksum(content))


def _rows_of(out: Folder, name: str, wanted: set[str], stage_version: int) -> Iterable[pa.Table]:
    """The rows of a file with these identities."""
    try:
        with out.open(name) as stream:
            file = pq.ParquetFile(stream)
            for group in range(file.num_row_groups):
                found = identities_of(file.read_row_group(group, columns=list(IDENTITY_COLUMNS)), stage_version)
                rows = [row for row, row_identity in enumerate(found) if row_identity in wanted]
                if rows:
                    table = file.read_row_group(group)
                    yield table if len(rows) == len(table) else table.take(pa.array(rows))
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise JobError(f"{out.location}/{name}: cannot be read: {reason}; run the command again") from None


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
