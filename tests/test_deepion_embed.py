"""Ion images to vectors, on SIMULATED classes and on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ms2img.deepion.colocalise import nearest, precision_at_k
from ms2img.deepion.embed import METRICS, min_max, reduced, representations
from ms2img.deepion.resnet import ResNet18
from ms2img.errors import UsageError


@pytest.fixture(scope="module")
def encoder() -> ResNet18:
    torch.manual_seed(0)
    return ResNet18()


def test_representations_do_not_depend_on_the_batch(encoder: ResNet18) -> None:
    images = np.random.default_rng(0).random((7, 12, 18)).astype(np.float32)
    images.flags.writeable = False
    together = representations(encoder.train(), images, batch_size=7)
    assert together.shape == (7, 512)
    assert not encoder.training
    assert np.allclose(representations(encoder, images, batch_size=3), together, rtol=1e-4, atol=1e-5)
    assert representations(encoder, images[:0]).shape == (0, 512)
    spoilt = images.copy()
    spoilt[4, 0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="image 4 is not finite"):
        representations(encoder, spoilt, batch_size=3)


def test_columns_are_scaled_to_0_and_1() -> None:
    vectors = np.random.default_rng(0).normal(3, 5, (20, 4)).astype(np.float32)
    vectors[:, 2] = 7
    scaled = min_max(vectors)
    expected = (vectors - vectors.min(0)) / (vectors.max(0) - vectors.min(0) + (np.arange(4) == 2))
    assert np.allclose(scaled, expected, atol=1e-6)
    assert not scaled[:, 2].any()


@pytest.mark.slow  # UMAP compiles itself first
@pytest.mark.parametrize("metric", METRICS.values())
def test_umap_keeps_neighbours_together(metric: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 15)
    vectors = np.abs(rng.normal(0, 1, (4, 512)))[labels] + rng.normal(0, 0.1, (60, 512))
    placed = reduced(vectors, seed=1, metric=metric)
    assert placed.shape == (60, 20)
    assert placed.min() == 0
    assert placed.max() == 1
    assert precision_at_k(nearest(placed, top=5).rows, labels) == 1


@pytest.mark.slow
def test_umap_is_the_same_for_the_same_seed_and_takes_few_images() -> None:
    vectors = np.random.default_rng(0).random((9, 16)).astype(np.float32)
    assert np.array_equal(reduced(vectors, seed=3), reduced(vectors, seed=3))
    assert reduced(vectors[:4], seed=0).shape == (4, 20)


def test_three_images_have_no_neighbourhood() -> None:
    vectors = np.random.default_rng(0).random((9, 16)).astype(np.float32)
    with pytest.raises(UsageError, match="3 ion images: UMAP needs four or more"):
        reduced(vectors[:3], seed=0)


def test_real_images_give_different_vectors(encoder: ResNet18, shared: Path) -> None:
    with np.load(shared / "data/imzml/timstof_maldi_20x20_165_ion_images.npz", allow_pickle=False) as stored:
        images = max((stored[name] for name in stored.files), key=lambda a: a.ndim * 1e9 + a.size).astype(np.float32)
    images = images[::4] / images[::4].max(axis=(1, 2), keepdims=True)
    vectors = representations(encoder, images)
    assert vectors.shape == (42, 512)
    assert len(np.unique(vectors, axis=0)) == 42
