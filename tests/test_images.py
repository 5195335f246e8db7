"""The image data set: what is committed is what is read, by us and by others, whatever its history."""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_sets import SIZE, VERSION, commit, contents, pixels_of, table

from ms2img.errors import UsageError
from ms2img.io.atomic import replace_file
from ms2img.io.dataset import shards
from ms2img.io.dataset.images import load_images
from ms2img.io.dataset.manifest import Manifest
from ms2img.io.dataset.shards import deal, encode, groups_with, shard_count, shard_of
from ms2img.io.dataset.sources import Source
from ms2img.io.dataset.staging import read_staged, stage
from ms2img.io.storage import FileStatus, folder


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * 30)  # four images a shard: several shards


def test_the_data_set_does_not_depend_on_its_history(tmp_path, small_shards):
    samples = {f"sample {n:02}": n for n in range(20)}
    items = list(samples.items())
    once, twice = tmp_path / "once", tmp_path / "twice"
    commit(once, samples, [samples])
    commit(twice, dict(items[:7]), [dict(items[5:7]), dict(items[:5])])
    # A stale row (an older content of sample 9) is staged too: identities, not file order, decide.
    commit(twice, samples, [{"sample 09": 99}, dict(items[7:]), {"sample 09": 98}])
    assert contents(once) == contents(twice)
    assert len(Manifest.read(once).files) == 8


def test_loading_gives_back_every_pixel_in_order_of_sample_id(tmp_path):
    commit(tmp_path, {"b": 7, "a": 3, "c": 250}, [{"c": 250, "b": 7}, {"a": 3}])
    loaded = load_images(tmp_path)
    assert loaded.sample_ids == ("a", "b", "c")
    np.testing.assert_array_equal(loaded.images, np.stack([pixels_of(v) for v in (3, 7, 250)]))
    np.testing.assert_array_equal(loaded.rows_of(["c", "a"]), [2, 0])
    assert loaded.source_fingerprints == {"a": "s3", "b": "s7", "c": "s250"}


def test_some_samples_are_loaded_from_their_shards_alone(tmp_path, small_shards):
    samples = {f"s{n:03}": n for n in range(200)}
    manifest = commit(tmp_path, samples, [samples])
    wanted = ["s170", "s003", "none of them", "s003"]
    of_them = {shard_of(sample, manifest.n_shards) for sample in wanted}
    for name in manifest.shards:  # what is not needed is not even there
        if int(name.split("-")[1]) not in of_them:
            (tmp_path / name).unlink()
    loaded = load_images(tmp_path, iter(wanted))
    assert loaded.sample_ids == ("s003", "s170")
    np.testing.assert_array_equal(loaded.images, np.stack([pixels_of(3), pixels_of(170)]))
    with pytest.raises(UsageError, match="no image of any of the 1 samples"):
        load_images(tmp_path, ["none of them"])


def test_fingerprint_names_the_content(tmp_path):
    commit(tmp_path / "1", {"a": 1, "b": 2}, [{"a": 1, "b": 2}])
    commit(tmp_path / "2", {"b": 2, "a": 1}, [{"b": 2}, {"a": 1}])
    commit(tmp_path / "3", {"a": 1, "b": 3}, [{"a": 1, "b": 3}])
    one, two, three = (load_images(tmp_path / name).fingerprint for name in "123")
    assert one == two != three


def test_a_change_rewrites_only_its_shard(tmp_path, small_shards):
    samples = {f"s{n}": n for n in range(16)}
    before = set(commit(tmp_path, samples, [samples]).files)
    after = set(commit(tmp_path, {**samples, "s3": 77}, [{"s3": 77}]).files)
    assert len(before - after) == len(after - before) == 1
    assert {path.name for path in (tmp_path / "images").iterdir()} == {file.name.split("/")[1] for file in after}
    np.testing.assert_array_equal(load_images(tmp_path, ["s3"]).images[0], pixels_of(77))


@pytest.fixture
def of_500(tmp_path):
    """One shard of 500 rows: eight row groups."""
    samples = {f"run {n:03}": n for n in range(500)}
    commit(tmp_path, samples, [samples])
    return tmp_path


def test_duckdb_filters_by_sample_and_finds_pixels_and_shape(of_500):
    files = str(of_500 / "images" / "*.parquet")
    rows = duckdb.sql(
        f"SELECT image, n_spectra FROM read_parquet('{files}') WHERE sample_id IN ('run 017', 'run 499') "  # noqa: S608
        "ORDER BY sample_id"
    ).fetchall()
    [(shape,)] = duckdb.sql(
        f"SELECT value FROM parquet_kv_metadata('{files}') WHERE key = 'ms2img.image_shape'"  # noqa: S608
    ).fetchall()
    images = [np.array(image, np.uint8).reshape(json.loads(shape)) for image, _ in rows]
    np.testing.assert_array_equal(images, [pixels_of(17), pixels_of(499)])


def test_pandas_filters_by_sample_and_finds_pixels_and_shape(of_500):
    frame = pd.read_parquet(of_500 / "images", filters=[("sample_id", "==", "run 260")])
    [file] = (of_500 / "images").iterdir()
    shape = json.loads(pq.read_schema(file).metadata[b"ms2img.image_shape"])
    assert frame["sample_id"].tolist() == ["run 260"]
    np.testing.assert_array_equal(np.asarray(frame["image"].iloc[0]).reshape(shape), pixels_of(260))


def test_pyarrow_prunes_row_groups_by_sample(of_500):
    dataset = pads.dataset(of_500 / "images")
    condition = pc.field("sample_id") == "run 130"
    rows = dataset.to_table(filter=condition)
    np.testing.assert_array_equal(rows["image"].combine_chunks().to_numpy_ndarray()[0], pixels_of(130))
    [fragment] = dataset.get_fragments(filter=condition)
    assert [group.id for group in fragment.subset(filter=condition).row_groups] == [2]
    assert groups_with(fragment.metadata, ["run 130"]) == [2]
    assert groups_with(fragment.metadata, ["a", "run 064", "run 0635", "zz"]) == [1]


def test_shards_stay_under_their_mean():
    assert shard_count(1, 150, 140) == 1
    for n_images in (3_000, 10_000, 100_000):
        n_shards = shard_count(n_images, 150, 140)
        assert n_images * 150 * 140 / n_shards <= shards.SHARD_BYTES < n_images * 150 * 140 / (n_shards / 2)
    counts = np.bincount([shard_of(f"run {n}", 16) for n in range(16_000)], minlength=16)
    assert counts.min() > 850  # a thousand expected, sd 31


@settings(max_examples=80, deadline=None)
@given(
    n_samples=st.integers(0, 300),
    prefix=st.text(max_size=3),
    n_shards=st.sampled_from([1, 2, 8]),
    side=st.sampled_from([1, 75, 512, 1500, 4096]),
)
def test_no_file_exceeds_the_cap_and_every_sample_has_one_place(n_samples, prefix, n_shards, side):
    """However ids are dealt, even all to one shard: 256 MB of pixels a file at most, rows sorted over its files."""
    samples = [f"{prefix}{number}" for number in range(n_samples)]
    dealt = deal(samples, n_shards, side * side)
    assert sorted(sample for _, members in dealt for sample in members) == sorted(samples)
    assert all(len(members) * side * side < 256_000_000 for _, members in dealt)
    for index in range(n_shards):
        of_it = [sample for number, members in dealt if number == index for sample in members]
        assert of_it == sorted(of_it)
        assert all(shard_of(sample, n_shards) == index for sample in of_it)


def test_incompressible_pixels_of_a_full_file_stay_below_256_mb():
    """The writer's overhead over raw pixels, measured on noise: the worst that zstd and Parquet can make of it."""
    side = 512
    noise = np.random.default_rng(0).integers(0, 256, (12, side, side), dtype=np.uint8)
    rows = _rows(noise)
    assert encode(rows).size * (shards.FILE_BYTES / noise.nbytes) < 256_000_000


def _rows(images):
    import pyarrow as pa

    from ms2img.io.schema import images_schema

    small = table({f"s{n}": n for n in range(len(images))})
    schema = images_schema(*images.shape[1:])
    columns = [
        pa.FixedShapeTensorArray.from_numpy_ndarray(images) if field.name == "image" else small[field.name]
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def test_a_staged_file_tells_what_it_holds_and_is_named_by_it(tmp_path):
    store = folder(str(tmp_path))
    sources = {"/a": Source(FileStatus(3, "12"), "hash")}
    first = stage(store, 5, table({"b": 1, "a": 2}), sources, VERSION)
    again = stage(store, 5, table({"a": 2, "b": 1}), sources, VERSION)
    assert again == first
    assert read_staged(store, store.names()) == [first]
    (tmp_path / ".staging" / "00001-x.parquet").write_bytes(b"PAR1")
    assert read_staged(store, store.names()) == [first]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: (out / "manifest.json").unlink(), "no manifest.json here; expected the OUT folder"),
        (lambda out: (out / "manifest.json").write_text("{"), "not a manifest of ms2img convert"),
        (lambda out: (out / "manifest.json").write_text("[]"), "not a manifest of ms2img convert"),
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


def test_what_a_killed_writer_left_is_swept_with_the_next_commit(tmp_path):
    for below in (".staging", "images"):
        (tmp_path / below).mkdir()
        (tmp_path / below / f".part.{below}.tmp").write_bytes(b"half")
    commit(tmp_path, {"a": 1}, [{"a": 1}])
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"manifest.json", "errors.parquet", "sources.parquet", Manifest.read(tmp_path).shards[0][7:]}


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), replace_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_images_on_s3_are_the_same(tmp_path, s3, small_shards):
    samples = {f"s{n}": n for n in range(40)}
    commit(tmp_path, samples, [samples])
    there = commit("s3://bucket/set", samples, [samples])
    assert there == Manifest.read(tmp_path)
    for name, content in contents(tmp_path).items():
        assert s3.get(f"bucket/set/{name}") == content
    np.testing.assert_array_equal(load_images("s3://bucket/set", ["s7"]).images[0], pixels_of(7))
    assert load_images("s3://bucket/set").images.shape[1:] == SIZE
