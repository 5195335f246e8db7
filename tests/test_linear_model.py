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
from ms2img.ms2toimg.linear_model import EPSILON, FLOOR, LEARNING_RATE, LinearModel, PixelScale

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


def test_it_starts_from_zero_whatever_the_memory_held() -> None:
    for _ in range(3):
        state = build_cnn(CNN, 40, 40).linear.state_dict()
        assert len(state) == 5
        assert not any(value.any() for value in state.values())


def test_it_is_stepped_by_its_own_options_and_the_network_by_the_config_s() -> None:
    """One step from zero: Adam with a large epsilon is a gradient step, by hand; the network's is the learning rate."""
    rng = np.random.default_rng(0)
    images, target = rng.integers(0, 256, (4, 12, 10)).astype(np.uint8), np.array([0, 1, 1, 1])
    rows, none = np.arange(4), np.empty(0, dtype=np.int64)
    config = FitConfig(epochs=1, batch_size=4, learning_rate=1e-4, threads=1, precision="float32", device="cpu")
    batches = ImageBatches(
        images, target, train=rows, validation=none, batch_size=4, seed=0, device=torch.device("cpu")
    )
    for members in (1, 3):
        cnn = replace(CNN, input_pool=1, members=members)
        network = build_cnn(cnn, 12, 10, seed=0)
        before = network.members[0].output.weight.detach().clone()
        weights = fit(network, batches, config).weights
        pixels = images.reshape(4, -1) / 255
        scaled = (pixels - pixels.mean(0)) / np.sqrt(pixels.var(0) + FLOOR**2)
        gradient = ((0.5 - target)[:, None] * scaled).mean(0)  # of the mean cross-entropy where every logit is 0
        step = LEARNING_RATE * gradient / (np.abs(gradient) + EPSILON)  # Adam's first, however many members there are
        np.testing.assert_allclose(weights["linear.output.weight"].numpy()[0], -step, rtol=1e-3, atol=1e-7)
        moved = (weights["members.0.output.weight"] - before).abs()
        assert float(moved.max()) == pytest.approx(1e-4, rel=0.01)


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
