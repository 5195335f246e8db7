"""The network against an independent forward pass, Keras's initial weights, and counted parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from ms2img.errors import UsageError
from ms2img.learn.batches import ImageBatches
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import PRESETS, Cnn, CnnConfig, CnnEnsemble, build_cnn, prepared
from ms2img.ms2toimg.linear_model import LinearModel

TINY = CnnConfig(filters=3, units=4)


def reference_forward(network: Cnn, images: np.ndarray) -> np.ndarray:
    """Logits [n] of images [n, h, w] in numpy and SciPy: correlation, ReLU, then pooling, as the paper orders them."""
    config = network.config
    weight = {name: value.double().numpy() for name, value in network.state_dict().items()}
    logits = []
    for image in images:
        image = image**config.input_gamma
        squares = [range(0, side, config.input_pool) for side in image.shape]
        maps = [
            np.array(
                [
                    [image[y : y + squares[0].step, x : x + squares[1].step].mean() for x in squares[1]]
                    for y in squares[0]
                ]
            )
        ]
        for layer in range(config.conv_layers):
            kernel, bias = weight[f"convolutions.{layer}.weight"], weight[f"convolutions.{layer}.bias"]
            maps = [
                sum(correlate2d(m, kernel[out, i], mode="valid") for i, m in enumerate(maps)) + bias[out]
                for out in range(config.filters)
            ]
            if config.batch_norm:
                mean, variance = weight[f"norms.{layer}.running_mean"], weight[f"norms.{layer}.running_var"]
                gain, shift = weight[f"norms.{layer}.weight"], weight[f"norms.{layer}.bias"]
                maps = [(m - mean[i]) / np.sqrt(variance[i] + 1e-5) * gain[i] + shift[i] for i, m in enumerate(maps)]
            maps = [np.maximum(m, 0) for m in maps]
            if config.pool == "each" or layer == config.conv_layers - 1:
                maps = [m[: m.shape[0] // 2 * 2, : m.shape[1] // 2 * 2] for m in maps]
                maps = [m.reshape(m.shape[0] // 2, 2, m.shape[1] // 2, 2).max((1, 3)) for m in maps]
        x = np.stack(maps, axis=-1).ravel()  # rows, columns, filters: Keras's order
        for layer in range(config.dense_layers):
            x = np.maximum(weight[f"dense.{layer}.weight"] @ x + weight[f"dense.{layer}.bias"], 0)
        logits.append(weight["output.weight"] @ x + weight["output.bias"])
    return np.concatenate(logits)


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        CnnConfig(conv_layers=1, filters=2, dense_layers=0),
        CnnConfig(conv_layers=3, filters=3, dense_layers=2, units=5, pool="each", batch_norm=True),
        CnnConfig(filters=2, units=3, input_gamma=0.5, input_pool=2),
        CnnConfig(conv_layers=1, filters=2, units=3, input_gamma=2, input_pool=4),  # neither side a multiple
    ],
)
def test_forward_equals_an_independent_one(config: CnnConfig) -> None:
    rng = np.random.default_rng(0)
    network = build_cnn(config, 27, 24, seed=1).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():  # biases and batch statistics that matter
            if value.ndim == 1 and "var" not in name:
                value += torch.tensor(rng.normal(size=value.shape) * 0.3)
    images = rng.random((2, 27, 24))
    with torch.inference_mode():
        logits = network(torch.tensor(images[:, None], dtype=torch.float32))
    np.testing.assert_allclose(logits.numpy(), reference_forward(network, images), rtol=1e-4, atol=1e-5)
    assert logits.shape == (2,)


def test_pooling_before_relu_changes_no_gradient() -> None:
    network = build_cnn(TINY, 12, 11, seed=0).eval()
    x = torch.rand(3, 1, 12, 11)
    network(x).sum().backward()
    first = network.convolutions[0].weight
    assert first.grad is not None
    ours = first.grad.clone()
    network.zero_grad()
    maps = x
    for convolution in network.convolutions:
        maps = torch.relu(convolution(maps))
    y = torch.max_pool2d(maps, 2).permute(0, 2, 3, 1).flatten(1)
    for linear in network.dense:
        y = torch.relu(linear(y))
    network.output(y).sum().backward()
    assert first.grad is not None
    torch.testing.assert_close(ours, first.grad)


def test_paper_preset_has_the_paper_s_parameters() -> None:
    with torch.device("meta"):
        network = Cnn(PRESETS["paper"], 150, 140)
    convolutions = (9 * 1 + 1) * 48 + (9 * 48 + 1) * 48
    dense = (73 * 68 * 48 + 1) * 128 + 4 * (128 + 1) * 128 + (128 + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + dense


@pytest.mark.parametrize("config", [TINY, PRESETS["small"]])
def test_initial_weights_are_glorot_uniform_and_seeded(config: CnnConfig) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    network = build_cnn(config, 40, 38, seed=5)
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is not touched
    from_zero = [module.output for module in network.modules() if isinstance(module, LinearModel)]
    assert len(from_zero) == config.linear_member
    assert not any(layer.weight.any() or layer.bias.any() for layer in from_zero)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear) and module not in from_zero:
            area = module.weight[0, 0].numel() if module.weight.ndim == 4 else 1
            limit = np.sqrt(6 / ((module.weight.shape[0] + module.weight.shape[1]) * area))  # Keras's definition
            assert module.weight.abs().max() <= limit
            if module.weight.numel() > 500:
                assert module.weight.std().item() == pytest.approx(limit / np.sqrt(3), rel=0.1)
            assert module.bias is not None
            assert not module.bias.any()
    again, other = build_cnn(config, 40, 38, seed=5), build_cnn(config, 40, 38, seed=6)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert not torch.equal(*(next(one.parameters()) for one in (network, other)))


def test_dropout_follows_every_dense_layer_in_training_only() -> None:
    network = build_cnn(CnnConfig(filters=2, dense_layers=3, units=400), 12, 11, seed=0)
    x = torch.rand(1, 1, 12, 11)
    seen: list[torch.Tensor] = []
    for linear in (*network.dense[1:], network.output):
        linear.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    network.train()(x)
    training = [float((value == 0).float().mean()) for value in seen]
    seen.clear()
    network.eval()(x)
    # ReLU zeroes about half; dropout half of the rest.
    for dropped, kept in zip(training, [float((value == 0).float().mean()) for value in seen], strict=True):
        assert dropped - kept > 0.12
    torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)


def test_the_paper_s_input_is_the_image_itself() -> None:
    images = torch.rand(2, 1, 12, 11)
    assert prepared(images, PRESETS["paper"]) is images


ENSEMBLE = CnnConfig(filters=3, units=4, dropout=0.0, members=3)


def test_members_are_networks_of_their_own_and_their_probabilities_are_averaged() -> None:
    ensemble = build_cnn(ENSEMBLE, 12, 11, seed=0)
    assert isinstance(ensemble, CnnEnsemble)
    x = torch.rand(5, 1, 12, 11)
    logits = ensemble.train()(x)
    assert logits.shape == (3, 5)
    alone = Cnn(replace(ENSEMBLE, members=1), 12, 11)
    for member, expected in enumerate(logits):
        prefix = f"members.{member}."
        alone.load_state_dict(
            {key.removeprefix(prefix): v for key, v in ensemble.state_dict().items() if key.startswith(prefix)}
        )
        torch.testing.assert_close(alone(x), expected)
    assert not torch.allclose(logits[0], logits[1])  # different initial weights
    torch.testing.assert_close(torch.sigmoid(ensemble.eval()(x)), torch.sigmoid(logits).mean(0))
    first = build_cnn(replace(ENSEMBLE, members=1), 12, 11, seed=0)
    torch.testing.assert_close(first(x), logits[0])  # the first member is the network without others


def test_the_mean_probability_keeps_its_digits_at_both_ends() -> None:
    ensemble = build_cnn(ENSEMBLE, 12, 11, seed=0).eval()
    with torch.no_grad():
        for member, bias in zip(ensemble.members, (60.0, 61.0, 62.0), strict=True):
            member.output.weight.zero_()
            member.output.bias.fill_(bias)
        logit = ensemble(torch.rand(1, 1, 12, 11)).item()
        for member, bias in zip(ensemble.members, (-60.0, -61.0, -62.0), strict=True):
            member.output.bias.fill_(bias)
        mirrored = ensemble(torch.rand(1, 1, 12, 11)).item()
    expected = -np.log(np.mean(np.exp([-60.0, -61.0, -62.0])))
    assert logit == pytest.approx(expected, rel=1e-5)
    assert mirrored == pytest.approx(-expected, rel=1e-5)


def test_each_member_learns_as_if_it_were_alone() -> None:
    """A member's gradient is a third of its own in the mean over members: Adam's step is the same."""
    images = np.random.default_rng(0).integers(0, 255, (8, 12, 11)).astype(np.uint8)
    rows, none = np.arange(8), np.empty(0, dtype=np.int64)
    config = FitConfig(
        epochs=3, batch_size=4, learning_rate=1e-3, adam_epsilon=1e-15, threads=1, precision="float32", device="cpu"
    )
    batches = ImageBatches(
        images, rows % 2, train=rows, validation=none, batch_size=4, seed=0, device=torch.device("cpu")
    )
    together = fit(build_cnn(ENSEMBLE, 12, 11, seed=0), batches, config).weights
    alone = fit(build_cnn(replace(ENSEMBLE, members=1), 12, 11, seed=0), batches, config).weights
    for name, value in alone.items():
        torch.testing.assert_close(together[f"members.0.{name}"], value, rtol=1e-3, atol=1e-5)


def test_config_is_closed_and_travels() -> None:
    for config in (*PRESETS.values(), TINY):
        assert CnnConfig.from_dict(config.to_dict()) == config
    with pytest.raises(UsageError, match="unknown key 'filter'; did you mean 'filters'"):
        CnnConfig.from_dict({"filter": 3})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"filters": 0}, "filters: 0; expected an integer, 1 or more"),
        ({"conv_layers": 2.0}, "conv_layers: 2.0; expected an integer"),
        ({"dropout": 1.0}, "dropout: 1.0; expected a number at least 0 and below 1"),
        ({"pool": "never"}, "pool: 'never'; expected one of last, each"),
        ({"input_pool": 0}, "input_pool: 0; expected an integer, 1 or more"),
        ({"input_gamma": 0}, "input_gamma: 0; expected a number above 0"),
        ({"members": 0}, "members: 0; expected an integer, 1 or more"),
        ({"linear_member": 1}, "linear_member: 1; expected true or false"),
        ({"batch_norm": 1}, "batch_norm: 1; expected true or false"),
    ],
)
def test_config_out_of_range(values: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        CnnConfig(**values)


def test_images_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="images of 5x5 are too small for 2 convolutions"):
        build_cnn(TINY, 5, 5)
