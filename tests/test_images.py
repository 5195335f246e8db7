"""The image data set: what is committed is what is read, whatever order and number of runs made it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from ms2img.errors import UsageError
from ms2img.io import images as dataset
from ms2img.io.atomic import replace_file
from ms2img.io.compaction import STAGING, compact, holders, sweep
from ms2img.io.images import Manifest, identity, load_images, shard_count, shard_of, write_images
from ms2img.io.schema import images_schema

VERSION = 1
SIZE = (6, 5)


def table(samples: dict[str, int]) -> pa.Table:
    """Rows whose pixels and source fingerprint follow from the given number."""
    height, width = SIZE
    pixels = np.stack([np.full(SIZE, value, dtype=np.uint8) for value in samples.values()])
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


def identities(samples: dict[str, int]) -> dict[str, str]:
    return {sample: identity(sample, f"s{value}", "r", VERSION) for sample, value in samples.items()}


def commit(out, samples: dict[str, int], staged: list[dict[str, int]]) -> Manifest:
    committed = Manifest.read(out)
    for index, part in enumerate(staged):
        write_images(table(part), out / STAGING / f"{index}.parquet")
    held = holders(out, committed, VERSION)
    shards = compact(out, identities(samples), held, height=SIZE[0], width=SIZE[1])
    manifest = Manifest(VERSION, {"height": 6}, "r", len(samples), 0, shards)
    manifest.write(out)
    sweep(out, keep=shards)
    return manifest


def contents(out) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_the_data_set_does_not_depend_on_its_history(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_BYTES", 4 * 30)  # four images a shard: several shards
    samples = {f"sample {n:02}": n for n in range(20)}
    items = list(samples.items())
    once, twice = tmp_path / "once", tmp_path / "twice"
    commit(once, samples, [samples])
    commit(twice, dict(items[:7]), [dict(items[5:7]), dict(items[:5])])
    # A stale row (an older content of sample 9) is staged too: identities, not file order, decide.
    commit(twice, samples, [{"sample 09": 99}, dict(items[7:]), {"sample 09": 98}])
    assert contents(once) == contents(twice)
    assert len(Manifest.read(once).shards) == 8


def test_loading_gives_back_every_pixel_in_order_of_sample_id(tmp_path):
    commit(tmp_path, {"b": 7, "a": 3, "c": 250}, [{"c": 250, "b": 7}, {"a": 3}])
    loaded = load_images(tmp_path)
    assert loaded.sample_ids == ("a", "b", "c")
    np.testing.assert_array_equal(loaded.images, np.stack([np.full(SIZE, v, np.uint8) for v in (3, 7, 250)]))
    np.testing.assert_array_equal(loaded.rows_of(["c", "a"]), [2, 0])
    assert loaded.source_fingerprints == {"a": "s3", "b": "s7", "c": "s250"}


def test_fingerprint_names_the_content(tmp_path):
    commit(tmp_path / "1", {"a": 1, "b": 2}, [{"a": 1, "b": 2}])
    commit(tmp_path / "2", {"b": 2, "a": 1}, [{"b": 2}, {"a": 1}])
    commit(tmp_path / "3", {"a": 1, "b": 3}, [{"a": 1, "b": 3}])
    one, two, three = (load_images(tmp_path / name).fingerprint for name in "123")
    assert one == two != three


def test_a_change_rewrites_only_its_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_BYTES", 4 * 30)
    samples = {f"s{n}": n for n in range(16)}
    before = set(commit(tmp_path, samples, [samples]).shards)
    changed = {**samples, "s3": 77}
    after = set(commit(tmp_path, changed, [{"s3": 77}]).shards)
    assert len(before - after) == len(after - before) == 1
    assert {path.name for path in (tmp_path / "images").iterdir()} == {name.split("/")[1] for name in after}
    assert load_images(tmp_path).images[load_images(tmp_path).rows_of(["s3"])[0], 0, 0] == 77


def test_other_tools_read_the_parquet_without_us(tmp_path):
    commit(tmp_path, {"a": 1, "b": 2}, [{"a": 1, "b": 2}])
    rows = pads.dataset(tmp_path / "images").to_table().to_pandas()
    assert rows["sample_id"].tolist() == ["a", "b"]
    assert np.asarray(rows["image"][1]).reshape(SIZE).tolist() == np.full(SIZE, 2).tolist()


def test_shards_stay_under_their_size():
    assert shard_count(1, 150, 140) == 1
    for n_images in (3_000, 10_000, 100_000):
        shards = shard_count(n_images, 150, 140)
        assert n_images * 150 * 140 / shards <= dataset.SHARD_BYTES < n_images * 150 * 140 / (shards / 2)
    counts = np.bincount([shard_of(f"run {n}", 16) for n in range(16_000)], minlength=16)
    assert counts.min() > 850  # a thousand expected, sd 31


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: (out / "manifest.json").unlink(), "no manifest.json here; expected the OUT folder"),
        (lambda out: (out / "manifest.json").write_text("{"), "not a manifest of ms2img convert"),
        (lambda out: (out / "manifest.json").write_text('{"manifest_version": 99}'), "version 99; this ms2img reads"),
        (lambda out: next((out / "images").iterdir()).write_bytes(b"PAR1"), "cannot be read"),
        (lambda out: next((out / "images").iterdir()).unlink(), "the manifest names it, but it cannot be read"),
    ],
)
def test_a_folder_that_is_no_data_set_is_named(tmp_path, make, message):
    commit(tmp_path, {"a": 1}, [{"a": 1}])
    make(tmp_path)
    with pytest.raises(UsageError, match=message) as refusal:
        load_images(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), replace_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_rows_survive_parquet_sorted(tmp_path):
    write_images(table({"z": 1, "a": 2}), tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet")["sample_id"].to_pylist() == ["a", "z"]
