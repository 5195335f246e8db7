"""From files to ion images, the whole way, and the folder that keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from deepion_imzml import edit, write_imzml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyimzml.ImzMLParser import ImzMLParser
from s3_servers import S3Server

from ms2img.deepion.image_folder import parts_of, write_part
from ms2img.deepion.images import IonImages, read_images, write_images
from ms2img.deepion.imzml import open_imzml
from ms2img.deepion.pixel_grid import grid_of
from ms2img.deepion.pooling import windows_of
from ms2img.deepion.prepare import Plan, Survey, gathered, ions_of, prepare, read_share
from ms2img.deepion.prepare_settings import PRESETS, PrepareSettings
from ms2img.deepion.spill import Spills
from ms2img.errors import UsageError
from ms2img.io.storage import folder

few = settings(deadline=None, max_examples=30)  # no test is timed

#: The examples are of an ion trap: a point every 0.083 m/z.
ION_TRAP = PrepareSettings(ppm=300.0, min_presence=0.3)
#: Sums of m/z, presence, intensity and images of the examples.
GOLDEN = [549776.7212261846, 519.5555555555557, 0.31529560265283973, 1505.3639102643147]


def ion_images(seed: int = 0, n: int = 7, height: int = 4, width: int = 5, **facts: Any) -> IonImages:
    random = np.random.default_rng(seed)
    mask = random.random((height, width)) < 0.7
    mask[0, 0] = True
    images = random.random((n, height, width)).astype(np.float32) * mask
    return IonImages(np.sort(random.uniform(100, 900, n)), images, mask, **facts)


def same(found: IonImages, expected: IonImages) -> bool:
    names = ("mz", "images", "mask", "presence", "intensity")
    return all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in names)


def simulated(path: Path, seed: int = 0, **options: Any) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """A SIMULATED imzML of ions 1 m/z apart on a ragged grid: their m/z, counts [ions, spectra], positions."""
    random = np.random.default_rng(seed)
    places = [(x, y) for y in range(3, 10) for x in range(2, 13) if random.random() < 0.8]
    true = 200 + np.arange(12) + random.uniform(0, 0.5, 12)
    counts = random.poisson(random.uniform(0.5, 30, (12, 1)), (12, len(places))).astype(np.float64)
    spectra = []
    for column in counts.T:
        mz = true * (1 + random.normal(0, 1e-6, 12))
        spectra.append((mz, column))
    write_imzml(path, spectra, places, **options)
    return true, counts, places


def test_the_whole_way_is_the_paper_done_by_hand(tmp_path: Path) -> None:
    true, counts, places = simulated(tmp_path / "a.imzML")
    fingerprint = prepare(str(tmp_path / "a.imzML"), tmp_path / "out", PRESETS["paper"], is_simulated=True)
    ions = read_images(tmp_path / "out")
    np.testing.assert_allclose(ions.mz / true, 1, atol=2e-6)
    np.testing.assert_allclose(ions.presence, (counts > 0).mean(axis=1))
    share = counts / counts.sum(axis=0)
    np.testing.assert_allclose(ions.intensity, share.mean(axis=1))
    for image, row in zip(ions.images, share, strict=True):
        capped = np.minimum(row, np.quantile(row[row > 0], 0.99))
        for (x, y), value in zip(places, (capped - capped.min()) / np.ptp(capped), strict=True):
            assert image[y - 3, x - 2] == pytest.approx(value, abs=1e-6)
    assert ions.images[:, ~ions.mask].max() == 0
    assert ions.mask.sum() == len(places)
    assert ions.tic is not None
    assert ions.tic[ions.mask].sum() == counts.sum()
    assert (ions.source, ions.polarity, ions.is_simulated) == ("a.imzML", "positive", True)
    assert ions.settings == PRESETS["paper"].to_dict()
    assert ions.fingerprint == fingerprint


def test_both_examples_are_the_same_section(shared: Path, tmp_path: Path) -> None:
    names = ("Example_Continuous.imzML", "Example_Processed.imzML")
    prints = {prepare(str(shared / "data/imzml" / name), tmp_path / name, ION_TRAP) for name in names}
    assert len(prints) == 1
    ions = read_images(tmp_path / names[0])
    assert ions.pixel_size_um == (100.0, 100.0)
    assert ions.images.shape == (1162, 3, 3)
    # Golden: where these change, raise `ms2img.deepion.made.STAGE`.
    assert ions.counts == {"pixels": 9, "peaks": 6927, "rare": 0, "flat": 0, "ions": 1162}
    found = [ions.mz.sum(), ions.presence.sum(), ions.intensity.sum(), ions.images.sum(dtype=float)]
    assert found == pytest.approx(GOLDEN, rel=1e-7)


def test_an_example_against_pyimzmls_reader(shared: Path, tmp_path: Path) -> None:
    """Peaks as they are, no normalisation: an ion's image is its intensity within the bin, over pyimzML's arrays."""
    path = shared / "data/imzml/Example_Continuous.imzML"
    asked = PrepareSettings(spectra="centroid", ppm=40.0, min_presence=0.5, pixel_norm="none", hotspots="none")
    prepare(str(path), tmp_path / "out", asked)
    ions, oracle = read_images(tmp_path / "out"), ImzMLParser(str(path))
    assert len(ions) > 1000
    raw = np.zeros((len(ions), 3, 3))
    for row, (x, y, _) in enumerate(oracle.coordinates):
        mz, intensity = oracle.getspectrum(row)
        nearest = np.abs(mz[None] - ions.mz[:, None]).argmin(axis=1)  # points are 100 ppm apart
        raw[:, y - 1, x - 1] = intensity[nearest]
    low, high = raw.min(axis=(1, 2), keepdims=True), raw.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(ions.images, (raw - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize(("points", "values"), [(1, 1), (40, 100), (1 << 20, 1 << 20)])
def test_shares_and_windows_change_not_a_bit(tmp_path: Path, points: int, values: int) -> None:
    path = tmp_path / "a.imzML"
    simulated(path)
    asked = PRESETS["paper"]
    prepare(str(path), tmp_path / "out", asked)
    whole = read_images(tmp_path / "out")
    imzml = open_imzml(str(path))
    plan, survey = Plan.of(imzml, asked, Spills(folder(str(tmp_path / "scratch"))), points), Survey(len(imzml))
    for rows in reversed(plan.shares):
        survey.add(read_share(plan, rows))
    bins = survey.bins(asked)
    windows = [bins[each] for each in windows_of(len(bins), len(imzml), values)]
    parts = [ions_of(imzml, gathered(plan, each), each, survey.tic, asked) for each in windows]
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), whole.images)
    np.testing.assert_array_equal(np.concatenate([part.mz for part in parts]), whole.mz)
    np.testing.assert_array_equal(np.concatenate([part.intensity for part in parts]), whole.intensity)


def test_progress_is_told_and_scratch_is_left_empty(tmp_path: Path) -> None:
    simulated(tmp_path / "a.imzML")
    told: list[tuple[str, int, int]] = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    prepare(
        str(tmp_path / "a.imzML"),
        tmp_path / "out",
        PRESETS["paper"],
        scratch=scratch,
        watch=lambda *at: told.append(at),
    )
    assert told == [("reading", 1, 1), ("imaging", 1, 1)]
    assert list(scratch.iterdir()) == []


def test_no_ion_left_is_a_named_error_and_no_folder(tmp_path: Path) -> None:
    path = write_imzml(tmp_path / "a.imzML", [([100.0], [0.0]), ([100.0], [0.0])], [(1, 1), (2, 1)])
    with pytest.raises(UsageError, match=r"no ion image is left by min_presence 0.01 at ppm 10 \(2 pixels, 0 peaks"):
        prepare(str(path), tmp_path / "out", PRESETS["paper"])
    with pytest.raises(UsageError, match="no ion images; make some"):
        read_images(tmp_path / "out")


def test_rare_and_flat_ions_are_counted(tmp_path: Path) -> None:
    spectra = [
        ([100.0, 200.0, 300.0], [1.0, 5.0, 2.0 + row]) if row else ([200.0, 300.0], [5.0, 2.0]) for row in range(2)
    ]
    path = write_imzml(tmp_path / "a.imzML", spectra, [(1, 1), (2, 1)])
    asked = PrepareSettings(min_presence=0.6, pixel_norm="none", hotspots="none")
    prepare(str(path), tmp_path / "out", asked)
    ions = read_images(tmp_path / "out")
    assert ions.mz.tolist() == [300.0]
    assert ions.counts == {"pixels": 2, "peaks": 5, "rare": 0, "flat": 1, "ions": 1}


@few
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 6), st.integers(1, 6))
def test_images_come_back_as_they_went(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, height: int, width: int
) -> None:
    place = tmp_path_factory.mktemp("images")
    facts: dict[str, Any] = {"source": "s", "polarity": "negative", "pixel_size_um": (50.0, 25.0), "is_simulated": True}
    intensity = np.random.default_rng(seed).gamma(1, 1e-3, n)
    ions = ion_images(seed, n, height, width, tic=np.zeros((height, width)), intensity=intensity, **facts)
    fingerprint = write_images(place, ions)
    found = read_images(place)
    assert same(found, ions)
    assert {name: getattr(found, name) for name in facts} == facts
    assert found.fingerprint == fingerprint
    assert found.tic is not None


def test_any_parquet_reader_sees_the_images(tmp_path: Path) -> None:
    ions = ion_images()
    write_images(tmp_path, ions)
    (part,) = (tmp_path / "images").iterdir()
    table = pq.read_table(part)
    assert table.schema.names == ["mz", "presence", "intensity", "image", "source"]
    assert table.schema.metadata[b"height"] == b"4"
    np.testing.assert_array_equal(table["image"].combine_chunks().to_numpy_ndarray(), ions.images)
    (pixels,) = tmp_path.glob("pixels-*.parquet")
    places = pq.read_table(pixels).to_pydict()
    assert list(zip(places["y"], places["x"], strict=True)) == [tuple(each) for each in np.argwhere(ions.mask).tolist()]


def test_a_folder_written_again_is_whole_at_every_moment(tmp_path: Path) -> None:
    old, new = ion_images(0), ion_images(1, n=3)
    write_images(tmp_path, old)
    columns = (new.mz, new.presence, new.intensity, new.images)
    write_part(folder(str(tmp_path)), 0, *columns, "")  # as far as a killed writer came
    assert same(read_images(tmp_path), old)
    write_images(tmp_path, new)
    assert same(read_images(tmp_path), new)
    assert len(list((tmp_path / "images").iterdir())) == 1  # what the old one left is gone


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, ion_images())
    (part,) = (tmp_path / "images").iterdir()
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    with pytest.raises(UsageError, match="was changed since"):
        read_images(tmp_path)
    part.unlink()
    with pytest.raises(UsageError, match="is missing"):
        read_images(tmp_path)
    manifest = tmp_path / "images.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(values | {"format": 99}))
    with pytest.raises(UsageError, match="format 99; this version reads format 2"):
        read_images(tmp_path)
    part_name, pixels_name = values["files"]
    wrong: list[dict[str, object]] = [
        {"files": {}},
        {"files": {pixels_name: ""}},
        {"files": {f"images/../{part_name}": "", pixels_name: ""}},
        {"files": {part_name: "", "../pixels-0.parquet": ""}},
        {"files": [1, 2]},
        {"facts": {}},
        {"facts": values["facts"] | {"colour": "red"}},
        {"shape": 3},
        {"shape": [3, "4"]},
        {"shape": [3, 0]},
        {"fingerprint": 1},
    ]
    damaged = [json.dumps(values | each) for each in wrong]
    for text in ("[]", "{", '{"format": 2}', "[" * 100_000, *damaged):
        manifest.write_text(text)
        with pytest.raises(UsageError, match="not the description of ion images"):
            read_images(tmp_path)


def test_a_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    ions = ion_images()
    prints = [write_images(tmp_path / "a", ions), write_images(tmp_path / "b", ion_images(source="other"))]
    assert prints[0] == prints[1]
    moved = IonImages(ions.mz + 1e-6, ions.images, ions.mask)
    assert write_images(tmp_path / "c", moved) != prints[0]
    brighter = IonImages(ions.mz, ions.images, ions.mask, intensity=2 * ions.intensity)
    assert write_images(tmp_path / "e", brighter) != prints[0]
    assert write_images(tmp_path / "d", IonImages(ions.mz, ions.images, ~ions.mask)) != prints[0]


@few
@given(st.integers(0, 5000), st.integers(1, 1 << 24))
def test_parts_hold_all_rows_once(n_ions: int, n_pixels: int) -> None:
    parts = parts_of(n_ions, n_pixels)
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(n_ions))
    assert all((part.stop - part.start) * n_pixels * 4 <= 64 << 20 or part.stop - part.start == 1 for part in parts)


def test_arrays_that_do_not_fit_are_refused() -> None:
    mask = np.ones((2, 3), dtype=bool)
    images = np.zeros((2, 2, 3), dtype=np.float32)
    for values in (
        (np.array([1.0]), images, mask),
        (np.array([2.0, 1.0]), images, mask),
        (np.array([1.0, 2.0]), images.astype(float), mask),
        (np.array([1.0, 2.0]), images, mask.T),
        (np.array([1.0, 2.0]), images, mask, np.array([1.0])),
        (np.array([1.0, 2.0]), images, mask, np.ones(2), np.array([1.0])),
    ):
        with pytest.raises(ValueError, match=r"fit|ascending|float32"):
            IonImages(*values)
    with pytest.raises(ValueError, match="no ion images"):
        write_images("/nowhere", IonImages(np.empty(0), np.empty((0, 2, 3), dtype=np.float32), mask))


def test_the_nearest_ion() -> None:
    ions = IonImages(np.array([100.0, 200.0, 300.0]), np.zeros((3, 1, 1), np.float32), np.ones((1, 1), dtype=bool))
    assert [ions.nearest(mz) for mz in (0.0, 149.0, 150.0, 151.0, 999.0)] == [0, 0, 0, 1, 2]


@few
@given(st.sets(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=60))
def test_a_grid_puts_every_spectrum_at_its_place(places: set[tuple[int, int]]) -> None:
    x, y = np.array(sorted(places)).T
    _, grid = grid_of(x, y, np.ones_like(x), "a.imzML")
    image = grid.spread(np.arange(1, len(x) + 1))
    assert grid.mask.sum() == len(places)
    assert grid.mask.any(axis=0)[[0, -1]].all()
    assert grid.mask.any(axis=1)[[0, -1]].all()
    for number, (column, row) in enumerate(zip(x - x.min(), y - y.min(), strict=True)):
        assert image[row, column] == number + 1


def test_an_object_store_on_both_ends(tmp_path: Path, s3: S3Server) -> None:
    simulated(tmp_path / "a.imzML")
    for half in ("a.imzML", "a.ibd"):
        s3.put(f"bucket/run/{half}", (tmp_path / half).read_bytes())
    local = prepare(str(tmp_path / "a.imzML"), tmp_path / "out", PRESETS["paper"])
    assert prepare(s3.url("bucket/run/a.imzML"), s3.url("bucket/out"), PRESETS["paper"]) == local
    assert same(read_images(s3.url("bucket/out")), read_images(tmp_path / "out"))


def test_an_empty_positions_error_names_the_file_once(tmp_path: Path) -> None:
    path = write_imzml(tmp_path / "a.imzML", [([100.0], [1.0])], [(1, 1)])
    edit(path, lambda xml: xml.replace('name="position x" value="1"', 'name="position x" value=""'))
    with pytest.raises(UsageError) as caught:
        open_imzml(str(path))
    assert str(caught.value).count("a.imzML") == 1
