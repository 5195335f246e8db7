"""ResNet18 (He et al., CVPR 2016) in plain torch, under the parameter names of torchvision's ``resnet18``.

Weights published for torchvision's therefore load into it; see `load_weights`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.errors import UsageError

BASE = 64  # channels of the first stage (He et al., Table 1)
_STAGES = (1, 2, 4, 8)  # channels of a stage, over those of the first; two blocks each (He et al., Table 1)
WIDTH = _STAGES[-1] * BASE  # of the representation (DeepION, Eqs. 2 and 3)
_CLASSIFIER = ("fc.weight", "fc.bias")  # of ImageNet's classes: no use here
_COUNTER = "num_batches_tracked"  # which weights stored before torch 0.4.1 lack, and nothing here reads


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a path that carries the input on: [b, before, h, w] -> [b, channels, ...]."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        carried = x if self.downsample is None else self.downsample(x)
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + carried)


class ResNet18(nn.Module):
    """Images of any size [b, 1 or 3, H, W] -> representations [b, 8 x base], or logits [b, classes].

    An image of one channel counts as three equal ones, the released DeepION's input. Starts, as torchvision's, from
    Kaiming's normal distribution, drawn from torch's global random state.

    Parameters
    ----------
    classes: of a classifier `fc` at the end; None: no such layer.
    base: channels of the first stage; 64 is ResNet18, and what published weights fit.
    """

    def __init__(self, classes: int | None = None, *, base: int = BASE) -> None:
        super().__init__()
        first, second, third, fourth = (times * base for times in _STAGES)
        self.width = fourth
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, stride=1)
        self.layer2 = _stage(first, second, stride=2)
        self.layer3 = _stage(second, third, stride=2)
        self.layer4 = _stage(third, fourth, stride=2)
        self.fc = nn.Linear(fourth, classes) if classes is not None else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = functional.max_pool2d(functional.relu(self.bn1(self._enter(images))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = x.mean(dim=(2, 3))
        return x if self.fc is None else self.fc(x)

    def _enter(self, images: Tensor) -> Tensor:
        """The first convolution; over equal channels it is one with the summed kernel, at a third of the work."""
        if images.shape[1] != 1:
            entered: Tensor = self.conv1(images)
            return entered
        return functional.conv2d(images, self.conv1.weight.sum(dim=1, keepdim=True), stride=2, padding=3)


def load_weights(path: str | Path, network: ResNet18) -> None:
    """Give `network` the weights in a safetensors file with torchvision's names, such as ImageNet's.

    The file's classifier is left aside where the network has none. Raises `UsageError`, naming the file and the tensor,
    when one is missing, unknown, of another shape or not finite; the network is then as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: cannot be read as a safetensors file of ResNet18 weights: {error}") from None
    wanted = network.state_dict()
    if network.fc is None:
        stored = {name: value for name, value in stored.items() if name not in _CLASSIFIER}
    for name in sorted(wanted.keys() | stored.keys()):
        if not (name.endswith(_COUNTER) and name not in stored):
            _require_fit(str(path), name, wanted.get(name), stored.get(name))
    network.load_state_dict(wanted | stored)


def _require_fit(path: str, name: str, wanted: Tensor | None, stored: Tensor | None) -> None:
    if stored is None:
        raise UsageError(f"{path}: tensor '{name}' is missing; expected torchvision's names of resnet18")
    if wanted is None:
        raise UsageError(f"{path}: tensor '{name}' is unknown; expected torchvision's names of resnet18")
    if stored.shape != wanted.shape:
        raise UsageError(f"{path}: tensor '{name}' is {tuple(stored.shape)}, expected {tuple(wanted.shape)}")
    if not bool(torch.isfinite(stored).all()):
        raise UsageError(f"{path}: tensor '{name}' holds values that are not finite")


def _stage(before: int, channels: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(before, channels, stride), BasicBlock(channels, channels, 1))
