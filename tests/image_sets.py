"""Small image data sets for tests, made by the same steps as a conversion, without runs and without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ms2img.io.dataset.compaction import held, make_shard, plan_shards, sweep
from ms2img.io.dataset.failures import write_failures
from ms2img.io.dataset.manifest import Manifest
from ms2img.io.dataset.shards import identity, shard_count, shard_of
from ms2img.io.dataset.sources import Source, write_sources
from ms2img.io.dataset.staging import stage
from ms2img.io.schema import images_schema
from ms2img.io.storage import FileStatus, folder

VERSION = 1
SIZE = (6, 5)


def table(samples: Mapping[str, int]) -> pa.Table:
    """Rows whose pixels and source fingerprint follow from the given number."""
    height, width = SIZE
    pixels = np.stack([np.full(SIZE, value % 256, dtype=np.uint8) for value in samples.values()])
    pixels[:, 0, 0] = 201  # row and column order show
    columns = {
        "sample_id": list(samples),
        "image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
        **dict.fromkeys(
            ["n_spectra", "n_without_msms", "n_below_cut", "n_fragments", "n_impossible", "n_outside"],
            [1] * len(samples),
        ),
        "ms1_source": ["file"] * len(samples),
        "ms2_source": ["own"] * len(samples),
        "source_fingerprint": [f"s{value}" for value in samples.values()],
        "render_fingerprint": ["r"] * len(samples),
    }
    return pa.table(columns, schema=images_schema(height, width))


def pixels_of(value: int) -> np.ndarray:
    """The image that `table` makes of a number."""
    image = np.full(SIZE, value % 256, np.uint8)
    image[0, 0] = 201
    return image


def identities(samples: Mapping[str, int]) -> dict[str, str]:
    return {sample: identity(sample, f"s{value}", "r", VERSION) for sample, value in samples.items()}


def commit(out: Path | str, samples: Mapping[str, int], staged: Sequence[Mapping[str, int]]) -> Manifest:
    """Stage the parts, a file each and shard, and commit the data set that holds exactly `samples`."""
    store = folder(str(out))
    committed = Manifest.read(store)
    n_shards = shard_count(len(samples), *SIZE)
    for part in staged:
        for shard in sorted({shard_of(sample, n_shards) for sample in part}):
            rows = {sample: value for sample, value in part.items() if shard_of(sample, n_shards) == shard}
            sources = {
                f"/runs/{sample}": Source(FileStatus(value + 1, "1"), f"h{value}") for sample, value in rows.items()
            }
            stage(store, shard, table(rows), sources, VERSION)
    present = store.names()
    wanted = identities(samples)
    rows_held = held(store, committed, present)
    stay, make = plan_shards(wanted, rows_held, committed, present, n_shards=n_shards, image_bytes=SIZE[0] * SIZE[1])
    made = [make_shard(store, plan, height=SIZE[0], width=SIZE[1], stage_version=VERSION) for plan in make]
    write_failures(store, [])
    write_sources(store, {})
    files = tuple(sorted([*stay, *made], key=lambda file: file.name))
    render = {"height": SIZE[0], "width": SIZE[1]}
    manifest = Manifest(VERSION, render, "r", len(samples), 0, n_shards, files)
    manifest.write(store)
    sweep(store, keep=manifest.shards, present=store.names())
    return manifest


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
