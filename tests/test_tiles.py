"""Convolutions over occupied tiles against those over whole images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ms2img.learn.batches import ImageBatches
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit import FitResult, fit
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg import cnn as cnn_module
from ms2img.ms2toimg.cnn import Cnn, CnnConfig, build_cnn
from ms2img.ms2toimg.tiles import Layer, convolve_tiles

CONFIG = CnnConfig(filters=3, dense_layers=1, units=4, dropout=0.0)


def random_network(config: CnnConfig, height: int, width: int) -> Cnn:
    """A float64 network whose empty pixels give something: biases and batch statistics are not those of the start."""
    network = build_cnn(config, height, width, seed=3).double()
    generator = torch.Generator().manual_seed(4)
    for name, value in network.state_dict().items():
        if value.ndim == 1:
            value += (0.3 * torch.rand(value.shape, generator=generator)) if "var" in name else 0.1
    assert isinstance(network, Cnn)
    return network


def sparse_images(n: int, height: int, width: int, spots: int, seed: int) -> torch.Tensor:
    """float64 [n, 1, height, width]: a few bright pixels each, one image empty."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(n, height * width, dtype=torch.float64)
    for image in images[1:]:
        image[torch.randint(height * width, (spots,), generator=generator)] = 1.0
    return images.view(n, 1, height, width)


def outcome(network: Cnn, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the gradient of a sum in which every image weighs differently."""
    logits = network(images)
    weights = torch.linspace(-1, 2, len(logits), dtype=logits.dtype)
    return logits.detach(), list(torch.autograd.grad((logits * weights).sum(), list(network.parameters())))


def whole(monkeypatch: pytest.MonkeyPatch, network: Cnn, images: torch.Tensor) -> tuple[torch.Tensor, list]:
    with monkeypatch.context() as patch:
        patch.setattr(cnn_module, "convolve_tiles", lambda *_: None)
        return outcome(network, images)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    conv_layers=st.integers(1, 3),
    pool=st.sampled_from(["last", "each"]),
    height=st.integers(50, 90),
    width=st.integers(50, 90),
    spots=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_the_whole_image(
    monkeypatch: pytest.MonkeyPatch, conv_layers: int, pool: str, height: int, width: int, spots: int, seed: int
) -> None:
    network = random_network(replace(CONFIG, conv_layers=conv_layers, pool=pool), height, width)
    images = sparse_images(6, height, width, spots, seed)
    logits, gradients = outcome(network, images)
    expected, expected_gradients = whole(monkeypatch, network, images)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)
    for found, right in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-11)


def pixels_computed(network: Cnn, images: torch.Tensor) -> int:
    """Input pixels that the first convolution is given."""
    seen: list[int] = []
    handle = network.convolutions[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].numel()))
    network(images)
    handle.remove()
    return sum(seen)


def test_work_follows_what_is_occupied() -> None:
    network = random_network(CONFIG, 150, 140)
    images = torch.zeros(32, 1, 150, 140, dtype=torch.float64)
    empty = pixels_computed(network, images)
    images[:, :, 70:100, 20:60] = 1.0
    some = pixels_computed(network, images)
    assert empty < 0.02 * images.numel()
    assert empty < some < 0.25 * images.numel()
    images[:] = 1.0
    assert pixels_computed(network, images) == images.numel()  # nothing to save


def test_batch_statistics_are_over_whole_images() -> None:
    network = random_network(replace(CONFIG, batch_norm=True), 150, 140)
    images = sparse_images(4, 150, 140, 2, 0)
    assert pixels_computed(network.train(), images) == images.numel()
    assert pixels_computed(network.eval(), images) < images.numel()


def test_gradients_of_pixels_are_of_all_pixels() -> None:
    network = random_network(CONFIG, 150, 140)
    images = sparse_images(2, 150, 140, 1, 0).requires_grad_()
    network(images).sum().backward()
    assert images.grad is not None
    assert (images.grad[0] != 0).any()  # the empty image


def test_the_gradient_of_many_empty_tiles_is_summed_in_float32() -> None:
    """In bfloat16 a sum of 1s stops at 256."""
    layer = Layer(kernel=3, channels_in=1, channels_out=1, pool=1)
    bias = torch.zeros(1, requires_grad=True, dtype=torch.bfloat16)
    images = torch.zeros(32, 1, 302, 302)
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.bfloat16)
    found = convolve_tiles(images, [layer], lambda x: torch.conv2d(x.bfloat16(), weight, bias))
    assert found is not None
    assert found.shape == (32, 300, 300, 1)
    found.sum(dtype=torch.float32).backward()
    assert bias.grad is not None
    assert float(bias.grad) == pytest.approx(32 * 300 * 300, rel=0.01)


class Halfway:
    """Saves the state after the second epoch and stops there."""

    def __init__(self, path: Path) -> None:
        self.path, self.epochs = path, 0

    def epoch(self, metrics: Mapping[str, float]) -> None:
        self.epochs += 1

    def checkpoint(self, state: TrainingState) -> None:
        state.save(self.path)

    def should_stop(self) -> bool:
        return self.epochs == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_over_tiles_repeats_and_resumes_to_the_bit(precision: str, tmp_path: Path) -> None:
    images = (255 * sparse_images(24, 60, 56, 8, 0)[:, 0]).to(torch.uint8).numpy()
    config = FitConfig(epochs=4, batch_size=8, precision=precision, threads=1, seed=1, device="cpu", learning_rate=1e-3)

    def train(reporter: Halfway | None = None, resume: Path | None = None) -> FitResult:
        network = build_cnn(replace(CONFIG, dropout=0.3), 60, 56, seed=2)
        assert pixels_computed(network, torch.tensor(images[:8, None] / 255.0, dtype=torch.float32)) < 8 * 60 * 56
        batches = ImageBatches(
            images, np.arange(24) % 2, train=np.arange(18), validation=np.arange(18, 24), batch_size=8, seed=1,
            device=torch.device("cpu"),
        )  # fmt: skip
        return fit(network, batches, config, reporter, resume=resume)

    path = tmp_path / "state.safetensors"
    whole, again, _ = train(), train(), train(Halfway(path))
    resumed = train(resume=path)
    assert whole.history == again.history == resumed.history
    for name, value in whole.weights.items():
        assert torch.equal(value, again.weights[name])
        assert torch.equal(value, resumed.weights[name])
