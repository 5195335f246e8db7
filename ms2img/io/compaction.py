"""From staged rows to the committed shards of an image data set.

Workers stage rows in files of their own below ``OUT/.staging``; one committer then gathers, for every sample, the row
with the wanted identity out of the staged files and the old shards, and writes those shards that are new.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.io.images import Manifest, read_identities, shard_count, shard_name, shard_of, write_images
from ms2img.io.schema import images_schema

STAGING = ".staging"


def holders(out: Path, committed: Manifest | None, stage_version: int) -> dict[str, Path]:
    """identity -> file that holds this row, over the committed shards and whatever an unfinished run has staged."""
    found: dict[str, Path] = {}
    if committed is not None:
        for shard in committed.shards:
            if (out / shard).exists():
                found |= dict.fromkeys(read_identities(out / shard, committed.stage_version).values(), out / shard)
    for staged in staged_files(out):
        found |= dict.fromkeys(read_identities(staged, stage_version).values(), staged)
    return found


def staged_files(out: Path) -> list[Path]:
    """The complete files below the staging folder, in a fixed order."""
    return sorted((out / STAGING).glob("[!.]*.parquet"))


def compact(
    out: Path, rows: Mapping[str, str], held: Mapping[str, Path], *, height: int, width: int
) -> tuple[str, ...]:
    """Write the shards of the data set that holds exactly `rows` (sample_id -> identity); return all its shard names.

    `held` says which file holds each identity. Shards that exist already under their name are left alone.
    """
    members: dict[int, list[str]] = defaultdict(list)
    n_shards = shard_count(len(rows), height, width)
    for sample_id in rows:
        members[shard_of(sample_id, n_shards)].append(sample_id)
    names = []
    for index in sorted(members):
        name = shard_name(index, [rows[sample] for sample in members[index]])
        names.append(name)
        if not (out / name).exists():
            files: dict[Path, list[str]] = defaultdict(list)
            for sample in members[index]:
                files[held[rows[sample]]].append(sample)
            write_images(_gather(files, images_schema(height, width)), out / name)
    return tuple(names)


def _gather(files: Mapping[Path, Sequence[str]], schema: pa.Schema) -> pa.Table:
    parts = [pq.read_table(path, filters=[("sample_id", "in", ids)]) for path, ids in sorted(files.items())]
    return pa.concat_tables([part.cast(schema) for part in parts])


def sweep(out: Path, keep: Iterable[str]) -> None:
    """After the commit: remove staged files, and shards that the manifest no longer names."""
    shutil.rmtree(out / STAGING, ignore_errors=True)
    kept = {(out / name).name for name in keep}
    for path in (out / "images").glob("*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
