"""The linear member: pixels on their own scale, against numpy, and what it brings to an ensemble."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ms2img.learn.batches import ImageBatches
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.metrics import roc_auc
from ms2img.learn.predict import predict_probabilities
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn
from ms2img.ms2toimg.linear_model import FLOOR, LinearModel, PixelScale

CNN = CnnConfig(conv_layers=1, filters=2, dense_layers=0, linear_member=True, input_pool=2)


@settings(deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 9))
def test_pixels_are_scaled_by_all_images_seen_however_they_were_batched(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 1, (sum(sizes), 6)).astype(np.float32)
    images[:, 2] = 0  # a pixel that is always black
    scale = PixelScale(6)
    for part in np.split(images, np.cumsum(sizes)[:-1]):
        in_training = scale.train()(torch.from_numpy(part))
    expected = (images - images.mean(0)) / np.sqrt(images.var(0) + FLOOR**2)
    found = scale.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(in_training.numpy(), found[-sizes[-1] :], atol=1e-5)  # the same in training
    assert float(scale.seen) == len(images)  # and scoring counts for nothing
    assert not found[:, 2].any()


def test_before_any_training_it_is_finite() -> None:
    model = LinearModel(3, 4).eval()
    assert torch.isfinite(model(torch.rand(2, 1, 3, 4))).all()


def test_logits_are_a_weighted_sum_of_scaled_pixels() -> None:
    model = LinearModel(3, 4)
    x = torch.rand(5, 1, 3, 4)
    model.train()(x)
    flat = x.flatten(1).numpy()
    scaled = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + FLOOR**2)
    expected = scaled @ model.output.weight.detach().numpy()[0] + model.output.bias.item()
    np.testing.assert_allclose(model.eval()(x).detach().numpy(), expected, atol=1e-5)


def test_as_a_member_it_is_one_more_opinion_on_the_pooled_image() -> None:
    network = build_cnn(CNN, 13, 10, seed=0)
    x = torch.rand(4, 1, 13, 10)
    assert network.linear.output.in_features == 7 * 5
    logits = network.train()(x)
    assert logits.shape == (2, 4)
    mean = torch.sigmoid(network.eval()(x))
    torch.testing.assert_close(mean, torch.sigmoid(logits).mean(0))
    alone = build_cnn(replace(CNN, linear_member=False), 13, 10, seed=0)
    torch.testing.assert_close(alone.train()(x), logits[0])  # the network is what it is without it


def test_building_leaves_no_garbage_in_the_statistics() -> None:
    for _ in range(3):
        scale = build_cnn(CNN, 40, 40).linear.scale
        assert not scale.seen.any() and not scale.total.any() and not scale.squares.any()  # noqa: PT018


@pytest.mark.parametrize("members", [1, 2])
def test_it_learns_which_of_many_pixels_matter_from_few_images(members: int) -> None:
    """Ten faint pixels in noise that has the sum of hundreds: the linear member finds them."""
    rng = np.random.default_rng(0)
    target = np.arange(80) % 2
    images = (rng.random((80, 20, 20)) < 0.3).astype(np.uint8) * rng.integers(1, 250, (80, 20, 20)).astype(np.uint8)
    rows, columns = np.divmod(rng.choice(400, 10, replace=False), 20)
    images[:, rows, columns] = target[:, None] * 40
    config = FitConfig(
        epochs=40, batch_size=8, learning_rate=1e-3, weight_decay=10, threads=1, precision="float32", device="cpu"
    )
    batches = ImageBatches(
        images,
        target,
        train=np.arange(24),
        validation=np.empty(0, dtype=np.int64),
        batch_size=8,
        seed=0,
        device=torch.device("cpu"),
    )
    auc = {}
    for linear in (False, True):
        network = build_cnn(replace(CNN, input_pool=1, linear_member=linear, members=members), 20, 20, seed=0)
        fit(network, batches, config)
        auc[linear] = roc_auc(target[24:], predict_probabilities(network, images[24:]))
    assert auc[True] > 0.9
    assert auc[True] > auc[False]
