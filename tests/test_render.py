"""The painters: geometry by brute force, matplotlib as oracle, equal bytes, and golden hashes that guard the version."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ms2img.errors import RunError, UsageError
from ms2img.ms2toimg.points import Points, points_from_spectra
from ms2img.ms2toimg.render import STAGE_VERSION, render
from ms2img.ms2toimg.render_config import RenderConfig, parse_size
from ms2img.ms2toimg.resize import resize_area, resize_bilinear
from ms2img.ms2toimg.scatter import draw_scatter
from tests.test_points import table

ROOT = Path(__file__).resolve().parent.parent
SIZES = [(75, 70), (150, 140), (300, 280), (101, 97)]
PT = 600 / 72  # source pixels


def make_points(precursor_mz: Any, fragment_mz: Any, size: Any, grey: Any) -> Points:
    columns = np.broadcast_arrays(
        *(np.asarray(values, np.float64) for values in (precursor_mz, fragment_mz, size, grey))
    )
    columns = [np.atleast_1d(column).copy() for column in columns]
    return Points(*columns, 1, 0, 0, 0, 0, "file")


def random_points(seed: int, n_spectra: int, *, row_mz: float | None = None) -> Points:
    """Spectra of 1-12 fragments all over the plane; fragments on multiples of `row_mz`, if given."""
    rng = np.random.default_rng(seed)
    per_spectrum = rng.integers(1, 13, n_spectra)
    fragment_mz = rng.uniform(0, 1500, per_spectrum.sum())
    if row_mz is not None:
        fragment_mz = np.floor(fragment_mz / row_mz) * row_mz
    precursor_mz = np.repeat(np.append(rng.uniform(100, 1500, n_spectra - 2), [100.0, 1499.9]), per_spectrum)
    return make_points(
        precursor_mz,
        fragment_mz,
        np.repeat(rng.uniform(0, 1, n_spectra) ** 3, per_spectrum),
        rng.uniform(size=len(fragment_mz)),
    )


# Geometry ------------------------------------------------------------------------------------------------------------


def last_disc_covering(points: Points, config: RenderConfig, height: int, width: int) -> np.ndarray:
    """The grey of the last disc over each of height x width sample positions in the figure, one disc at a time."""
    mz_down = (config.fragment_mz[1] - config.fragment_mz[0]) / height
    mz_right = (config.precursor_mz[1] - config.precursor_mz[0]) / width
    fragment_mz = config.fragment_mz[0] + (np.arange(height)[:, None] + 0.5) * mz_down
    precursor_mz = config.precursor_mz[0] + (np.arange(width) + 0.5) * mz_right
    # half axes in m/z of a marker whose diameter is the square root of its area in pt^2
    diameter_pt = np.sqrt(config.area_min_pt2 + (config.area_max_pt2 - config.area_min_pt2) * points.size)
    inch_down = (config.fragment_mz[1] - config.fragment_mz[0]) / config.fig_height_in
    inch_right = (config.precursor_mz[1] - config.precursor_mz[0]) / config.fig_width_in
    canvas = np.zeros((height, width))
    for x, y, diameter, grey in zip(
        points.precursor_mz, points.fragment_mz, diameter_pt / 72, points.grey, strict=True
    ):
        down = (fragment_mz - y) / (diameter / 2 * inch_down)
        right = (precursor_mz - x) / (diameter / 2 * inch_right)
        canvas[down**2 + right**2 < 1] = round(grey * 255)
    return canvas


@pytest.mark.parametrize(
    ("height", "width", "seed"), [(30, 28, 0), (30, 19, 1), (17, 40, 2), (60, 56, 3), (9, 5, 4), (75, 70, 5)]
)
def test_area_counts_the_samples_of_the_last_disc_over_each(height: int, width: int, seed: int) -> None:
    config = RenderConfig(
        height=height, width=width, dpi=100, area_min_pt2=64, area_max_pt2=900, keep_above_precursor=True
    )
    # Eight samples a tile, tiles of at most the smallest disc's 8 pt, a power of two of them a pixel:
    down = 8 * 2 ** max(0, int(np.ceil(np.log2(540 / height / 8))))
    right = 8 * 2 ** max(0, int(np.ceil(np.log2(504 / width / 8))))
    points = random_points(seed, 60, row_mz=1500 / (height * down))
    samples = last_disc_covering(points, config, height * down, width * right)
    expected = np.floor(samples.reshape(height, down, width, right).mean((1, 3)) + 0.5)
    np.testing.assert_array_equal(render(points, config), expected)


def test_area_stays_close_where_fragments_fall_between_samples() -> None:
    points, config = random_points(7, 400), RenderConfig(height=75, width=70, keep_above_precursor=True)
    expected = last_disc_covering(points, config, 2250, 2100).reshape(75, 30, 70, 30).mean((1, 3))
    image = render(points, config)
    assert np.abs(image - expected)[(image > 0) | (expected > 0)].mean() < 1.0


@pytest.mark.parametrize(("height", "width"), [(75, 70), (60, 56), (41, 37), (300, 280), (100, 280), (400, 300)])
def test_bilinear_is_torchs_on_the_whole_figure(height: int, width: int) -> None:
    config = RenderConfig(height=height, width=width, dpi=40, resize="bilinear", area_min_pt2=30, area_max_pt2=400)
    points = random_points(height, 150)
    x, y = (points.precursor_mz - 100) / 1400 * 280, points.fragment_mz / 1500 * 300
    radius = np.sqrt(30 + 370 * points.size) / 2 * 40 / 72
    figure = np.zeros((300, 280))
    for disc in range(points.n_fragments):
        distance = np.hypot(np.arange(280) + 0.5 - x[disc], np.arange(300)[:, None] + 0.5 - y[disc])
        cover = np.clip(radius[disc] + 0.5 - distance, 0, 1)
        figure += cover * (round(points.grey[disc] * 255) - figure)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(figure)[None, None], (height, width), mode="bilinear", align_corners=False, antialias=False
    )[0, 0].numpy()
    kept = render(points, config.model_copy(update={"keep_above_precursor": True}))
    np.testing.assert_allclose(kept, expected, atol=0.501)
    masked = render(points, config)
    np.testing.assert_array_equal(masked[masked > 0], kept[masked > 0])


@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize("renderer", ["fast", "matplotlib"])
def test_row_0_is_fragment_0_and_column_0_is_the_lowest_precursor(renderer: Any, resize: Any) -> None:
    config = RenderConfig(renderer=renderer, resize=resize, keep_above_precursor=True)
    corners = [(100.0, 0.0), (1499.99, 0.0), (100.0, 1499.99), (1499.99, 1499.99)]
    places = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    levels = [1.0, 0.8, 0.6, 0.4]
    image = render(make_points(*zip(*corners, strict=True), 1.0, levels), config)
    assert [image[place] for place in places] == [255, 204, 153, 102]
    assert image[4:-4].max() == 0
    assert image[:, 4:-4].max() == 0


@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize("renderer", ["fast", "matplotlib"])
def test_a_later_point_covers_an_earlier_one(renderer: Any, resize: Any) -> None:
    config = RenderConfig(renderer=renderer, resize=resize)
    centre = (20, 40)  # precursor 500-510, fragment 200-210: wholly under a marker of 60 pt^2 at its middle
    for levels in itertools.permutations([0.2, 0.6, 1.0]):
        image = render(make_points(505.0, 205.0, 1.0, levels), config)
        assert image[centre] == 255 * levels[-1]


def test_order_matters_between_spectra_of_other_columns_and_sizes() -> None:
    config = RenderConfig(height=75, width=70)
    points = random_points(3, 900)
    backwards = make_points(
        *(values[::-1] for values in (points.precursor_mz, points.fragment_mz, points.size, points.grey))
    )
    assert (render(points, config) != render(backwards, config)).mean() > 0.2


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("axis", [(100.0, 1500.0), (0.0, 1500.0), (133.0, 977.0)])
def test_nothing_is_drawn_wholly_above_the_diagonal(height: int, width: int, axis: tuple[float, float]) -> None:
    config = RenderConfig(height=height, width=width, precursor_mz=axis, resize="bilinear", area_min_pt2=60)
    grid = np.stack(np.meshgrid(np.linspace(*axis, 200), np.linspace(0, 1500, 200)), -1).reshape(-1, 2)
    everywhere = make_points(grid[:, 0], grid[:, 1], 1.0, 1.0)
    low, high = (Fraction(value) for value in axis)
    for column in range(width):
        right = low + (high - low) * (column + 1) / width
        first_above = -(-right * height // 1500)  # the first row whose lower edge is not below `right`
        image_column = render(everywhere, config)[:, column] if column == 0 else image[:, column]
        if column == 0:
            image = render(everywhere, config)
        assert image_column[: int(first_above)].all()
        assert not image_column[int(first_above) :].any()


# Marker sizes --------------------------------------------------------------------------------------------------------


def drawn_area_pt2(points: Points, config: RenderConfig) -> float:
    """Area of a lone white disc from the sum of its greys."""
    figure_pt2 = config.fig_height_in * config.fig_width_in * 72**2
    return float(render(points, config).sum()) / 255 / (config.height * config.width) * figure_pt2


@pytest.mark.parametrize(("size", "area"), [(0.0, 4.0), (0.5, 32.0), (1.0, 60.0)])
def test_the_disc_fills_a_square_of_the_stated_area(size: float, area: float) -> None:
    config = RenderConfig(height=300, width=280)
    disc = make_points(803.3, 401.7, size, 1.0)
    assert drawn_area_pt2(disc, config) == pytest.approx(np.pi / 4 * area, rel=0.04)
    oracle = drawn_area_pt2(disc, config.model_copy(update={"renderer": "matplotlib"}))
    assert oracle == pytest.approx(np.pi / 4 * area, rel=0.01)


@pytest.mark.parametrize("resize", ["area", "bilinear"])
def test_markers_grow_with_intensity(resize: Any) -> None:
    config = RenderConfig(height=300, width=280, resize=resize)
    areas = [drawn_area_pt2(make_points(803.3, 401.7, size, 1.0), config) for size in np.linspace(0, 1, 9)]
    assert all(a < b for a, b in itertools.pairwise(areas))


def test_the_oracles_figure_has_its_disc_in_place() -> None:
    source = draw_scatter(make_points(450.25, 301.5, 0.25, 0.5), RenderConfig())
    assert source.shape == (4500, 4200)
    rows, columns = np.nonzero(source)
    weight = source[rows, columns] / source.sum(dtype=np.int64)
    centre = ((rows + 0.5) @ weight, (columns + 0.5) @ weight)
    assert centre == pytest.approx((301.5 * 3, 350.25 * 3), abs=0.3)
    assert source.max() == 128
    assert np.ptp(rows) + 1 == pytest.approx(np.sqrt(18) * PT, abs=2)


@pytest.mark.parametrize(("fig_width_in", "dpi"), [(7.3, 99), (2.9, 100), (1.1, 333)])
def test_any_figure_has_the_shape_it_states(fig_width_in: float, dpi: int) -> None:
    config = RenderConfig(fig_width_in=fig_width_in, dpi=dpi)
    assert draw_scatter(make_points(500.0, 100.0, 1.0, 1.0), config).shape == config.source_shape


# Resize rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shapes", [(45, 42, 15, 14), (37, 53, 5, 7), (37, 53, 37, 53), (10, 9, 13, 20), (450, 420, 150, 140)]
)
def test_area_weighs_each_source_pixel_by_its_overlap(shapes: tuple[int, int, int, int]) -> None:
    h, w, height, width = shapes
    source = np.random.default_rng(0).integers(0, 256, (h, w), dtype=np.uint8)

    def overlap(n: int, count: int) -> np.ndarray:
        pixel = np.arange(count)[:, None] * n / count
        return np.clip(np.minimum(pixel + n / count, np.arange(n) + 1) - np.maximum(pixel, np.arange(n)), 0, None)

    expected = overlap(h, height) @ source @ overlap(w, width).T * (height * width / (h * w))
    np.testing.assert_allclose(resize_area(source, height, width), expected, atol=0.5 + 1e-9)
    if h % height == 0 and w % width == 0:
        exact = source.reshape(height, h // height, width, w // width).mean((1, 3))
        np.testing.assert_array_equal(resize_area(source, height, width), np.floor(exact + 0.5))


@pytest.mark.parametrize(("height", "width"), [(15, 14), (9, 10), (31, 40), (90, 84), (100, 90), (120, 100)])
def test_bilinear_agrees_with_torch(height: int, width: int) -> None:
    source = np.random.default_rng(1).integers(0, 256, (90, 84), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(source)[None, None].double(), (height, width), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(resize_bilinear(source, height, width), expected, atol=0.5 + 1e-4)


def test_bilinear_of_30_by_30_blocks_is_the_mean_of_the_central_four() -> None:
    source = np.random.default_rng(2).integers(0, 256, (4500, 4200), dtype=np.uint8)
    central = source.reshape(150, 30, 140, 30)[:, 14:16, :, 14:16].mean((1, 3))
    np.testing.assert_array_equal(resize_bilinear(source, 150, 140), np.floor(central + 0.5))


# The oracle on real runs ---------------------------------------------------------------------------------------------


def test_the_fast_painter_agrees_with_matplotlib_on_real_runs(shared: Path) -> None:
    # The benchmark itself, on the two densest and the two sparsest runs: 12 rows of measured figures.
    command = [
        sys.executable,
        "-m",
        "bench.render",
        "--runs",
        "4",
        "--json",
        "--data",
        str(shared / "data/qemistree/mgf"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    expected = {
        (rule, size, group)
        for rule in ("area", "bilinear")
        for size in ("75x70", "150x140", "300x280")
        for group in ("dense", "sparse")
    }
    assert {(row["resize"], row["size"], row["group"]) for row in rows} == expected
    for row in rows:
        assert row["ssim_min"] >= 0.98, row
        assert row["mae_max"] <= 2, row


# Equal bytes ---------------------------------------------------------------------------------------------------------


def digest(image: np.ndarray) -> str:
    return hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()


def test_threads_paint_the_same_bytes() -> None:
    points = random_points(11, 500)
    configs = [RenderConfig(height=h, width=w, resize=rule) for h, w in SIZES for rule in ("area", "bilinear")]
    alone = [digest(render(points, config)) for config in configs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda config: digest(render(points, config)), configs * 4))
    assert together == alone * 4


def test_a_process_that_may_not_keep_machine_code_paints_the_same_bytes() -> None:
    script = """
import numba.core.caching as caching
caching._CacheImpl._locator_classes = []  # as where no folder is writable
from tests.test_render import GOLDEN, golden_digest
from ms2img.ms2toimg import rasterise
assert type(rasterise._paint_tiles._cache).__name__ == "NullCache"
print(*(golden_digest(name) for name in ("area 150x140", "bilinear 150x140")))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [GOLDEN["area 150x140"][1], GOLDEN["bilinear 150x140"][1]]


def test_importing_the_room_costs_neither_numba_nor_matplotlib() -> None:
    script = "import sys, ms2img.ms2toimg.render; print({'numba', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def golden_spectra() -> Any:
    """300 spectra by a low-discrepancy formula, so that no random generator's version enters the hashes."""
    golden, other = 0.6180339887498949, 0.7548776662466927
    spectra = []
    for s in range(300):
        precursor_mz = 90 + 1420 * (s * golden % 1)
        peaks = [
            (precursor_mz * 1.02 * ((7 * s + 3 * k) * other % 1), 1 + 999 * ((s + 11 * k) * golden % 1) ** 4)
            for k in range(s % 40)
        ]
        spectra.append((precursor_mz, 1e5 * (s * other % 1) ** 9 if s % 3 else 0.0, peaks))
    return table(*spectra)


#: The version of the pixels below, then for each name the options and the hash of the image.
GOLDEN_VERSION = 1
GOLDEN: dict[str, tuple[dict[str, Any], str]] = {}


def golden_digest(name: str) -> str:
    config = RenderConfig(**GOLDEN[name][0])
    return digest(render(points_from_spectra(golden_spectra(), config, path="golden"), config))


@pytest.mark.parametrize("name", GOLDEN)
def test_pixels_change_only_with_the_stage_version(name: str) -> None:
    assert golden_digest(name) == GOLDEN[name][1], (
        "the pixels changed: raise STAGE_VERSION in ms2img/ms2toimg/render.py, so that data sets are converted anew, "
        "and set GOLDEN_VERSION and the hashes here to match"
    )
    assert STAGE_VERSION == GOLDEN_VERSION, "STAGE_VERSION was raised: set GOLDEN_VERSION and the hashes here to match"


# Options -------------------------------------------------------------------------------------------------------------

#: For each option another value, and the other options it needs to show.
OTHER_VALUE: dict[str, tuple[Any, dict[str, Any]]] = {
    "height": (151, {}),
    "width": (141, {}),
    "renderer": ("matplotlib", {}),
    "resize": ("bilinear", {}),
    "precursor_mz": ((100.0, 1400.0), {}),
    "fragment_mz": ((0.0, 1400.0), {}),
    "fig_height_in": (7.0, {}),
    "fig_width_in": (6.0, {}),
    "dpi": (300, {"resize": "bilinear"}),
    "area_min_pt2": (5.0, {}),
    "area_max_pt2": (70.0, {}),
    "intensity_cut": (0.01, {}),
    "scale": ("minmax", {}),
    "missing_precursor_intensity": ("refuse", {}),
    "keep_above_precursor": (True, {}),
    "precursor_tolerance": (5.0, {}),
}


@pytest.mark.parametrize("name", RenderConfig.model_fields)
def test_no_option_is_ignored(name: str) -> None:
    value, needed = OTHER_VALUE[name]
    spectra = golden_spectra()
    if name == "missing_precursor_intensity":
        spectra = table((200.0, None, [(50.0, 1.0)]))

    def outcome(config: RenderConfig) -> str:
        try:
            return digest(render(points_from_spectra(spectra, config, path="run"), config))
        except RunError as error:
            return str(error)

    assert outcome(RenderConfig(**needed)) != outcome(RenderConfig(**needed, **{name: value}))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"precursor_mz": (1500, 100)}, "precursor_mz needs"),
        ({"fragment_mz": (0, float("inf"))}, "fragment_mz needs"),
        ({"area_min_pt2": 70}, "exceeds"),
        ({"fig_width_in": 200}, "each side"),
        ({"height": 0}, "height"),
        ({"resise": "area"}, "did you mean 'resize'"),
    ],
)
def test_a_config_that_cannot_be_drawn_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        RenderConfig.resolve(options)


def test_size_is_height_by_width() -> None:
    assert parse_size("150x140") == (150, 140)
    assert parse_size(" 75X70 ") == (75, 70)


@pytest.mark.parametrize("text", ["150", "150x", "x140", "150x140x3", "-150x140", "15.0x14", "0x140", "150x99999", ""])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--size"):
        parse_size(text)


@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize(
    "wrong",
    [(99.0, 50.0, 1.0, 1.0), (500.0, 1501.0, 1.0, 1.0), (500.0, 50.0, 1.1, 1.0), (500.0, 50.0, 1.0, float("nan"))],
)
def test_points_outside_the_plane_never_reach_the_painter(wrong: tuple[float, ...], resize: Any) -> None:
    with pytest.raises(ValueError, match="a point"):
        render(make_points(*wrong), RenderConfig(resize=resize))
