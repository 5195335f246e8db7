"""The encoder against torchvision's published parameter list and a plain functional forward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ms2img.deepion.resnet import WIDTH, ResNet18, load_weights
from ms2img.errors import UsageError

#: torchvision's ``resnet18().named_parameters()``: a block's, and what stands before and behind the blocks.
BLOCK = ["conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"]
DOWNSAMPLE = ["downsample.0.weight", "downsample.1.weight", "downsample.1.bias"]
NAMES = [
    *("conv1.weight", "bn1.weight", "bn1.bias"),
    *(f"layer1.0.{name}" for name in BLOCK),
    *(f"layer1.1.{name}" for name in BLOCK),
    *(f"layer2.0.{name}" for name in BLOCK + DOWNSAMPLE),
    *(f"layer2.1.{name}" for name in BLOCK),
    *(f"layer3.0.{name}" for name in BLOCK + DOWNSAMPLE),
    *(f"layer3.1.{name}" for name in BLOCK),
    *(f"layer4.0.{name}" for name in BLOCK + DOWNSAMPLE),
    *(f"layer4.1.{name}" for name in BLOCK),
    *("fc.weight", "fc.bias"),
]
SHAPES = {
    "conv1.weight": (64, 3, 7, 7),
    "bn1.weight": (64,),
    "layer1.0.conv1.weight": (64, 64, 3, 3),
    "layer2.0.conv1.weight": (128, 64, 3, 3),
    "layer2.0.downsample.0.weight": (128, 64, 1, 1),
    "layer3.1.conv2.weight": (256, 256, 3, 3),
    "layer4.0.downsample.0.weight": (512, 256, 1, 1),
    "layer4.1.bn2.bias": (512,),
    "fc.weight": (1000, 512),
}


@pytest.fixture(scope="module")
def network() -> ResNet18:
    """Weights, means and variances of a network that has seen something."""
    torch.manual_seed(0)
    model = ResNet18(classes=1000)
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    return model.eval()


def plain_forward(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """ResNet18 as He et al. (2016) draw it, written out, without modules; up to the mean over pixels."""

    def norm(x: Tensor, at: str) -> Tensor:
        mean, var = (w[f"{at}.running_{which}"][:, None, None] for which in ("mean", "var"))
        return (x - mean) / torch.sqrt(var + 1e-5) * w[f"{at}.weight"][:, None, None] + w[f"{at}.bias"][:, None, None]

    x = norm(functional.conv2d(x, w["conv1.weight"], stride=2, padding=3), "bn1").clamp(min=0)
    x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for layer in (1, 2, 3, 4):
        for number in (0, 1):
            at = f"layer{layer}.{number}"
            stride = 2 if layer > 1 and number == 0 else 1
            y = norm(functional.conv2d(x, w[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1").clamp(min=0)
            y = norm(functional.conv2d(y, w[f"{at}.conv2.weight"], padding=1), f"{at}.bn2")
            if stride == 2:
                x = norm(functional.conv2d(x, w[f"{at}.downsample.0.weight"], stride=2), f"{at}.downsample.1")
            x = (x + y).clamp(min=0)
    return functional.adaptive_avg_pool2d(x, 1).flatten(1)


def test_parameters_are_torchvisions_by_name_shape_and_number(network: ResNet18) -> None:
    parameters = dict(network.named_parameters())
    assert list(parameters) == NAMES
    assert {name: tuple(parameters[name].shape) for name in SHAPES} == SHAPES
    assert sum(value.numel() for value in parameters.values()) == 11_689_512  # torchvision's documentation
    assert len(network.state_dict()) == 122  # with three buffers for each of the 20 batch norms


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (3, 3), (1, 9)])
def test_forward_is_the_papers_at_any_size(network: ResNet18, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        representation = plain_forward(network.state_dict(), images)
        logits = representation @ network.fc.weight.T + network.fc.bias
        torch.testing.assert_close(network(images), logits, rtol=1e-4, atol=1e-4)


def test_one_channel_counts_as_three_equal_ones(network: ResNet18) -> None:
    grey = torch.rand(2, 1, 40, 24)
    with torch.no_grad():
        torch.testing.assert_close(network(grey), network(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_starts_as_torchvision_does() -> None:
    torch.manual_seed(1)
    network = ResNet18()
    weight = network.layer3[1].conv1.weight  # Kaiming, fan out: variance 2 / (256 channels x 9)
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert bool((network.bn1.weight == 1).all())
    assert not bool(network.bn1.bias.any())
    assert network(torch.rand(2, 1, 20, 30)).shape == (2, WIDTH)


def test_published_weights_load_without_their_classifier(network: ResNet18, tmp_path: Path) -> None:
    stored = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(stored, tmp_path / "imagenet.safetensors")
    encoder = ResNet18()
    load_weights(tmp_path / "imagenet.safetensors", encoder)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.eval()(images), plain_forward(network.state_dict(), images), rtol=1e-4, atol=1e-4
        )


def test_weights_that_do_not_fit_are_named_and_change_nothing(network: ResNet18, tmp_path: Path) -> None:
    good = network.state_dict()
    bad = {
        "missing": ({k: v for k, v in good.items() if k != "layer1.0.bn1.bias"}, "'layer1.0.bn1.bias' is missing"),
        "unknown": (good | {"head.weight": torch.zeros(1)}, "'head.weight' is unknown"),
        "shape": (good | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, r"'conv1.weight' is \(64, 1, 7, 7\)"),
        "finite": (good | {"bn1.bias": torch.full((64,), torch.nan)}, "'bn1.bias' holds values that are not finite"),
    }
    encoder = ResNet18()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    for name, (tensors, message) in bad.items():
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path)
        with pytest.raises(UsageError, match=f"{name}.safetensors: tensor {message}"):
            load_weights(path, encoder)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    (tmp_path / "text").write_text("no weights")
    for path in (tmp_path / "text", tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="cannot be read as a safetensors file"):
            load_weights(path, encoder)
