"""Which point lights which pixel: the renderer is the oracle, asked point by point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from render_inputs import make_points, random_points

from ms2img.ms2toimg.explain.cover import cover_of
from ms2img.ms2toimg.points import Points, grey_levels
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.render_config import RenderConfig

SIZES = [(75, 70), (150, 140), (101, 97), (30, 28)]


def alone(points: Points, i: int, config: RenderConfig) -> np.ndarray:
    """How much of each pixel is point i's, 0-255, by painting it white and all others black."""
    white = np.zeros(points.n_fragments)
    white[i] = 1.0
    return render(replace(points, grey=white), config)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("keep", [True, False])
def test_the_light_of_all_points_is_the_image_to_the_last_level(height: int, width: int, keep: bool) -> None:
    config = RenderConfig(height=height, width=width, keep_above_precursor=keep)
    points = random_points(height, 150)
    image = cover_of(points, config).image()
    np.testing.assert_array_equal(np.floor(image + 0.5), render(points, config))


@pytest.mark.parametrize("resize", ["area", "bilinear"])
def test_each_point_has_what_the_renderer_shows_of_it_alone(resize: str) -> None:
    config = RenderConfig(height=40, width=37, resize=resize, area_max_pt2=900, keep_above_precursor=True)
    points = random_points(3, 25)
    points = replace(points, grey=np.clip(points.grey, 0.01, 1))
    cover = cover_of(points, config)
    levels = grey_levels(points.grey) if resize == "area" else 255 * points.grey
    seen = 0
    for i in range(points.n_fragments):
        share = np.zeros(40 * 37)
        mine = cover.point == i
        share[cover.pixel[mine]] = cover.light[mine] / levels[i]
        np.testing.assert_array_equal(np.floor(share.reshape(40, 37) * 255 + 0.5 + 1e-9), alone(points, i, config))
        seen += mine.sum()
    assert seen == len(cover.point) > 100  # and nothing beside


@pytest.mark.parametrize(("renderer", "resize", "levels"), [("fast", "bilinear", 1), ("matplotlib", "area", 3)])
def test_other_painters_are_taken_apart_to_a_few_levels(renderer: str, resize: str, levels: int) -> None:
    config = RenderConfig(height=50, width=46, dpi=100, renderer=renderer, resize=resize)
    points = random_points(5, 60)
    difference = np.abs(cover_of(points, config).image() - render(points, config))
    assert difference.max() <= levels
    assert difference.mean() < 0.3


def test_a_covered_point_has_no_light_and_a_later_one_takes_it_all() -> None:
    config = RenderConfig(height=75, width=70)
    points = make_points([500, 500], [300, 300], [0.2, 0.9], [1.0, 0.5])
    cover = cover_of(points, config)
    assert set(cover.point.tolist()) == {1}
    hidden, ring = cover_of(make_points([500, 500], [300, 300], [0.9, 0.2], [0.5, 1.0]), config).brightness()
    assert hidden > 0
    assert ring > 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 30))
def test_splitting_a_value_a_pixel_neither_makes_nor_loses_any(seed: int, n: int) -> None:
    config = RenderConfig(height=20, width=18)
    points = random_points(seed, n)
    cover = cover_of(points, config)
    pixels = np.random.default_rng(seed).normal(size=(20, 18))
    lit = cover.image() > 0
    np.testing.assert_allclose(cover.split(pixels).sum(), pixels[lit].sum(), atol=1e-9)
    # a value that is the image itself comes back as each point's brightness
    np.testing.assert_allclose(cover.split(cover.image()), cover.brightness(), atol=1e-9)
