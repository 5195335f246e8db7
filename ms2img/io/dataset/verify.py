"""Is a data set what its manifest says: every file's presence, size, bytes and rows, and nothing beside them."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.io.dataset.failures import ERRORS_NAME
from ms2img.io.dataset.manifest import Manifest, Shard, require_manifest
from ms2img.io.dataset.shards import IDENTITY_COLUMNS, IMAGES, checksum, identities_of, shard_name, shard_of
from ms2img.io.dataset.sources import SOURCES_NAME
from ms2img.io.schema import images_schema
from ms2img.io.storage import FileStatus, Folder


def verify(out: Folder, *, progress: Callable[[int], None] = lambda _: None) -> list[str]:
    """Check the data set below `out`: one line a defect, none for a sound one. Nothing is changed.

    Reads every committed file once, one at a time; `progress` is told of each. Raises `UsageError` where there is no
    manifest to check against.
    """
    manifest = require_manifest(out)
    present = out.names()
    defects = []
    seen: dict[str, str] = {}
    for file in manifest.files:
        defects += [f"{out.location}/{file.name}: {defect}" for defect in _check(out, file, manifest, present, seen)]
        progress(1)
    known = set(manifest.shards)
    for name in present:
        if name.startswith(IMAGES) and name not in known:
            defects.append(f"{out.location}/{name}: stray: the manifest does not name it")
    defects += [f"{out.location}/{name}: missing" for name in (ERRORS_NAME, SOURCES_NAME) if name not in present]
    n_rows = sum(file.rows for file in manifest.files)
    if n_rows != manifest.n_images:
        defects.append(f"{out.location}: {manifest.n_images} images in the manifest, {n_rows} rows in its files")
    return defects


def _check(
    out: Folder, file: Shard, manifest: Manifest, present: dict[str, FileStatus], seen: dict[str, str]
) -> list[str]:
    """What is wrong with one file; `seen` is sample_id -> file over those checked before."""
    if file.name not in present:
        return ["missing; convert again makes it anew"]
    with out.open(file.name) as stream:
        content = stream.read_buffer()
    if content.size != file.bytes:
        return [f"{content.size} bytes, the manifest says {file.bytes}; convert again makes it anew"]
    if checksum(content) != file.checksum:
        return ["its bytes have changed (checksum); delete it and convert again"]
    try:
        table = pq.ParquetFile(pa.BufferReader(content))
        rows = table.read(columns=list(IDENTITY_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        return [f"no readable Parquet file: {str(error).splitlines()[0]}"]
    return [*_check_rows(file, rows, manifest, seen), *_check_schema(table.schema_arrow, manifest)]


def _check_rows(file: Shard, rows: pa.Table, manifest: Manifest, seen: dict[str, str]) -> list[str]:
    defects = []
    samples = rows["sample_id"].to_pylist()
    index = int(file.name.split("-")[1])
    if len(samples) != file.rows:
        defects.append(f"{len(samples)} rows, the manifest says {file.rows}")
    if shard_name(index, identities_of(rows, manifest.stage_version)) != file.name:
        defects.append("its name does not follow from its rows")
    for sample in samples:
        if sample in seen:
            defects.append(f"sample_id '{sample}' is also in {seen[sample]}")
        elif shard_of(sample, manifest.n_shards) != index:
            defects.append(f"sample_id '{sample}' belongs to shard {shard_of(sample, manifest.n_shards)}")
        seen[sample] = file.name
    if samples != sorted(samples):
        defects.append("its rows are not sorted by sample_id")
    if set(rows["render_fingerprint"].to_pylist()) - {manifest.render_fingerprint}:
        defects.append("rows that were drawn with another config")
    return defects


def _check_schema(schema: pa.Schema, manifest: Manifest) -> list[str]:
    expected = images_schema(manifest.render["height"], manifest.render["width"])
    return [] if schema.equals(expected) else ["its schema is not that of an image data set"]
