"""The logit shared out among pixels: where the answer is known, and complete where it is not."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

from ms2img.errors import UsageError
from ms2img.learn.batches import as_input
from ms2img.ms2toimg.cnn import Cnn, CnnConfig, CnnEnsemble, build_cnn
from ms2img.ms2toimg.explain.attribution import Attribution, attribute
from ms2img.ms2toimg.explain.methods import METHODS, Method

SHAPE = (40, 36)


def sparse_image(seed: int = 0, share: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=SHAPE) < share, rng.integers(1, 256, SHAPE), 0).astype(np.uint8)


def awakened(network: Cnn | CnnEnsemble, seed: int = 0) -> Cnn | CnnEnsemble:
    """Biases and running statistics as after a training: a fresh network is linear along any ray from black."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.3)
                module.weight.mul_(2)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.1)
        if isinstance(network, CnnEnsemble) and network.linear is not None:
            weight = network.linear.output.weight
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
            network.linear.scale.seen.fill_(10)
            network.linear.scale.squares.copy_(torch.rand(weight.shape[1], generator=generator) * 3)
    return network.eval()


class Weighted(nn.Module):
    """logit = bias + sum of weight x pixel."""

    def __init__(self, weight: np.ndarray, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images[:, 0] * self.weight).flatten(1).sum(1) + self.bias


@pytest.mark.parametrize("method", METHODS)
def test_of_a_linear_model_a_pixel_is_its_weight_times_its_value(method: Method) -> None:
    weight = np.random.default_rng(1).normal(size=SHAPE)
    image = sparse_image()
    found = attribute(Weighted(weight, -0.7), image, method)
    np.testing.assert_allclose(found.pixels, weight * image / 255, rtol=2e-4, atol=2e-5)
    assert found.black_logit == pytest.approx(-0.7)
    assert found.rest == pytest.approx(0, abs=1e-3)  # float32
    assert found.is_complete


@pytest.mark.parametrize(
    "config",
    [
        CnnConfig(conv_layers=2, filters=4, dense_layers=2, units=8),
        CnnConfig(conv_layers=2, filters=4, pool="each", batch_norm=True, dense_layers=1, units=8, input_pool=2),
        CnnConfig(conv_layers=2, filters=4, pool="each", dense_layers=1, units=8, members=2, linear_member=True),
        CnnConfig(conv_layers=1, filters=4, dense_layers=1, units=8, input_gamma=0.5),
    ],
    ids=["paper", "norm", "ensemble", "gamma"],
)
def test_integrated_gradients_add_up_to_the_difference_of_the_logits(config: CnnConfig) -> None:
    network = awakened(build_cnn(config, *SHAPE, seed=2))
    image = sparse_image(2)
    with torch.no_grad():
        black, logit = network(as_input(torch.tensor(np.stack([np.zeros_like(image), image])))).tolist()
    found = attribute(network, image)
    assert abs(logit - black) > 0.05  # or there would be nothing to explain
    assert (found.logit, found.black_logit) == pytest.approx((logit, black), abs=1e-5)
    assert abs(found.pixels.sum() - (logit - black)) <= max(0.01 * abs(logit - black), 1e-3)
    assert found.is_complete
    assert not found.pixels[image == 0].any()
    assert np.isfinite(found.pixels).all()


def test_steps_are_doubled_until_the_sum_is_right() -> None:
    class Step(nn.Module):
        """Almost all of the logit comes from a short stretch of the way."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid((images[:, 0, 0, 0] - 0.5123) * 2000) * 3

    found = attribute(Step(), np.full((1, 1), 255, np.uint8))
    assert found.steps > 64
    assert found.is_complete
    assert found.pixels[0, 0] == pytest.approx(3, rel=0.01)
    assert not Attribution(np.zeros((1, 1)), 3.0, 0.0, 64).is_complete


def test_what_stays_incomplete_at_the_most_steps_says_so() -> None:
    class Jump(nn.Module):
        """Constant but for a stretch far shorter than the finest step."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid((images[:, 0, 0, 0] - 0.5123) * 1e6) * 3

    found = attribute(Jump(), np.full((1, 1), 255, np.uint8))
    assert found.steps == 1024
    assert not found.is_complete


def test_gradients_of_a_mostly_empty_image_are_those_of_finite_differences() -> None:
    """A scored image is computed tile by tile; its gradient must be the whole image's. (Where all is black the pixels
    of a max-pool tie, and there is no derivative; such pixels get nothing.)"""
    network = awakened(build_cnn(CnnConfig(conv_layers=2, filters=4, units=8, dense_layers=1), 60, 60)).double()
    x = torch.zeros(1, 1, 60, 60, dtype=torch.float64)
    x[0, 0, 5:9, 5:9] = torch.rand(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    [gradient] = torch.autograd.grad(network(x).sum(), x)
    for row, column in ((5, 5), (6, 7), (7, 6), (8, 8)):
        moved = x.detach().repeat(2, 1, 1, 1)
        moved[:, 0, row, column] += torch.tensor([1e-6, -1e-6], dtype=torch.float64)
        with torch.no_grad():
            up, down = network(moved)  # without gradients: by tiles
        assert gradient[0, 0, row, column].item() == pytest.approx((up - down).item() / 2e-6, abs=1e-6)


def test_occlusion_is_the_change_of_the_logit_without_a_pixel() -> None:
    network = awakened(build_cnn(CnnConfig(conv_layers=1, filters=3, dense_layers=1, units=8), *SHAPE))
    image = sparse_image(4, share=0.02)
    found = attribute(network, image, "occlusion")
    for row, column in np.argwhere(image)[::5]:
        without = image.copy()
        without[row, column] = 0
        with torch.no_grad():
            logit, left = network(as_input(torch.tensor(np.stack([image, without])))).tolist()
        assert found.pixels[row, column] == pytest.approx(logit - left, abs=1e-5)


def test_without_captum_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UsageError, match=r"captum is not installed; remedy: pip install 'ms2img\[explain\]'"):
        attribute(Weighted(np.ones(SHAPE), 0.0), sparse_image())
