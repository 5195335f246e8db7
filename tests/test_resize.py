"""The two resize rules against overlaps written out, and against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ms2img.ms2toimg.resize import resize_area, resize_bilinear


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
