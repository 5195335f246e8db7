"""Both painters: geometry by brute force, and matplotlib as the oracle of the fast one."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from render_inputs import make_points, random_points

from ms2img.ms2toimg.points import Points
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.scatter import draw_scatter

ROOT = Path(__file__).resolve().parent.parent
SIZES = [(75, 70), (150, 140), (300, 280), (101, 97)]
PT = 600 / 72  # source pixels


# Geometry ------------------------------------------------------------------------------------------------------------


def last_disc_covering(points: Points, config: RenderConfig, height: int, width: int, *, subrows: int) -> np.ndarray:
    """The grey of the last disc over each of height x width sample positions in the figure, one disc at a time.

    A row of samples is in a disc as far as the disc's chord reaches, averaged over `subrows` heights within the row.
    """
    subrow_mz = np.linspace(*config.fragment_mz, height * subrows, endpoint=False) + 750 / height / subrows
    precursor_mz = np.linspace(*config.precursor_mz, width, endpoint=False) + 700 / width
    # half axes in m/z of a marker whose diameter is the square root of its area in pt^2
    diameter_in = np.sqrt(config.area_min_pt2 + (config.area_max_pt2 - config.area_min_pt2) * points.size) / 72
    down, right = diameter_in / 2 * 1500 / config.fig_height_in, diameter_in / 2 * 1400 / config.fig_width_in
    canvas = np.zeros((height, width))
    for disc, (x, y) in enumerate(zip(points.precursor_mz, points.fragment_mz, strict=True)):
        chord = right[disc] * np.sqrt(np.clip(1 - ((subrow_mz - y) / down[disc]) ** 2, 0, None))
        reach = chord.reshape(height, subrows).mean(1)
        canvas[np.abs(precursor_mz - x) < reach[:, None]] = round(points.grey[disc] * 255)
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
    samples = last_disc_covering(points, config, height * down, width * right, subrows=3)
    expected = np.floor(samples.reshape(height, down, width, right).mean((1, 3)) + 0.5)
    np.testing.assert_array_equal(render(points, config), expected)


def test_area_stays_close_where_fragments_fall_between_samples() -> None:
    points, config = random_points(7, 60), RenderConfig(height=75, width=70, keep_above_precursor=True)
    expected = last_disc_covering(points, config, 1500, 1400, subrows=4).reshape(75, 20, 70, 20).mean((1, 3))
    image = render(points, config)
    assert np.abs(image - expected)[(image > 0) | (expected > 0)].mean() < 0.7


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
    # 150 pt^2: a quarter of the disc covers its corner pixel
    config = RenderConfig(renderer=renderer, resize=resize, area_max_pt2=150, keep_above_precursor=True)
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
    assert (render(points, config) != render(backwards, config)).mean() > 0.1


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("axis", [(100.0, 1500.0), (0.0, 1500.0), (133.0, 977.0)])
def test_nothing_is_drawn_wholly_above_the_diagonal(height: int, width: int, axis: tuple[float, float]) -> None:
    config = RenderConfig(height=height, width=width, precursor_mz=axis, resize="bilinear", area_min_pt2=60)
    grid = np.stack(np.meshgrid(np.linspace(*axis, 200), np.linspace(0, 1500, 200)), -1).reshape(-1, 2)
    image = render(make_points(grid[:, 0], grid[:, 1], 1.0, 1.0), config)
    low, high = (Fraction(value) for value in axis)
    for column in range(width):
        right = low + (high - low) * (column + 1) / width
        first_above = int(-(-right * height // 1500))  # the first row whose lower edge is not below `right`
        assert image[:first_above, column].all()
        assert not image[first_above:, column].any()


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


def test_the_oracles_figure_has_its_discs_in_place() -> None:
    # Two discs: matplotlib draws points that are all alike as one stamp, moved to whole source pixels.
    figure = draw_scatter(make_points([450.25, 1400.0], [301.5, 50.0], [0.25, 1.0], [0.5, 1.0]), RenderConfig())
    assert figure.shape == (4500, 4200)
    disc = figure[:, :3000]
    rows, columns = np.nonzero(disc)
    weight = disc[rows, columns] / disc.sum(dtype=np.int64)
    centre = ((rows + 0.5) @ weight, (columns + 0.5) @ weight)
    assert centre == pytest.approx((301.5 * 3, 350.25 * 3), abs=0.01)
    assert disc.max() == 128
    assert disc.sum(dtype=np.int64) / 128 == pytest.approx(np.pi / 4 * 18 * PT**2, rel=0.01)


@pytest.mark.parametrize(("fig_width_in", "dpi"), [(7.3, 99), (2.9, 100), (1.1, 333)])
def test_any_figure_has_the_shape_it_states(fig_width_in: float, dpi: int) -> None:
    config = RenderConfig(fig_width_in=fig_width_in, dpi=dpi)
    assert draw_scatter(make_points(500.0, 100.0, 1.0, 1.0), config).shape == config.source_shape


@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize(
    "wrong",
    [(99.0, 50.0, 1.0, 1.0), (500.0, 1501.0, 1.0, 1.0), (500.0, 50.0, 1.1, 1.0), (500.0, 50.0, 1.0, float("nan"))],
)
def test_points_outside_the_plane_never_reach_the_painter(wrong: tuple[float, ...], resize: Any) -> None:
    with pytest.raises(ValueError, match="a point"):
        render(make_points(*wrong), RenderConfig(resize=resize))


# The oracle on real runs ---------------------------------------------------------------------------------------------


def test_the_fast_painter_agrees_with_matplotlib_on_real_runs(shared: Path, tmp_path: Path) -> None:
    # The benchmark itself, on the two largest and the two smallest files: 12 rows of measured figures.
    by_size = sorted((shared / "data/qemistree/mgf").glob("*.mgf"), key=lambda path: path.stat().st_size)
    for path in (*by_size[:2], *by_size[-2:]):
        (tmp_path / path.name).symlink_to(path)
    options = ["--runs", "4", "--repeats", "1", "--json", "--data", str(tmp_path)]
    command = [sys.executable, "-m", "bench.render", *options]
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
