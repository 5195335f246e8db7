"""Two networks that look at two views of one image: SimSiam (the paper) and BYOL (the released code).

DeepION, section 3.2: encoder f (ResNet18, 512), projection g, prediction q (Eqs. 2-7). SimSiam compares q's answer to
one view with g's to the other. BYOL compares it with that of a target, a second encoder and projection that follow the
first with momentum. Neither lets gradients through what is compared with: that is what keeps the embeddings apart.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ms2img.deepion.resnet import BASE, ResNet18
from ms2img.errors import UsageError
from ms2img.learn.settings import Settings

METHODS = ("simsiam", "byol")


@dataclass(frozen=True)
class SiameseConfig(Settings):
    """Shape and start of a model, and Adam's moments; the paper's by default. `UsageError` for a value out of range."""

    method: str = "simsiam"
    base: int = BASE  # channels of the encoder's first stage; a representation has 8 times as many numbers
    hidden: int = 2048  # SimSiam, section 4: the projection's hidden layers
    width: int = 2048  # SimSiam, section 4: projection and prediction
    bottleneck: int = 512  # SimSiam, section 4: the prediction's hidden layer
    momentum: float = 0.0  # BYOL: the share of its weights that the target keeps in a step
    initial_std: float | None = 0.02  # DeepION, section 3.3, of the heads (its encoder is pretrained); None: torch's
    beta1: float = 0.5  # DeepION, section 3.3
    beta2: float = 0.99  # DeepION, section 3.3

    def __post_init__(self) -> None:
        self._require_one_of("method", METHODS)
        for size in ("base", "hidden", "width", "bottleneck"):
            self._require_int(size, low=1)
        for share in ("momentum", "beta1", "beta2"):
            self._require_float(share, low=0.0, high=1.0)
        if self.initial_std is not None:
            self._require_float("initial_std", low=0.0, high=math.inf, low_open=True)
        if self.method == "simsiam" and self.momentum:
            raise UsageError(f"momentum: {self.momentum}, but 'simsiam' has no target that follows; expected 0")


class Answer(NamedTuple):
    """What a model makes of two views of b images: p, and h of the same network or its target, each [b, width].

    No gradient leads back from the targets.
    """

    first_prediction: Tensor
    second_prediction: Tensor
    first_target: Tensor
    second_target: Tensor


class Siamese(nn.Module):
    """Encoder, projection and prediction, and with BYOL a target of the first two; weights from torch's global state.

    `encoder` is what is kept of it: [b, 1, H, W] -> [b, 8 x base].
    """

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__()
        self.config = config
        #: Read by `ms2img.learn.fit`: Adam's moments, and torch's own place and size for epsilon.
        self.adam_options = {"betas": (config.beta1, config.beta2), "eps": 1e-8}
        self.encoder = ResNet18(base=config.base)
        self.projection = _projection(config, self.encoder.width)
        self.prediction = _perceptron(config.width, config.bottleneck, config.width)
        if config.initial_std is not None:
            _start_normal([self.projection, self.prediction], config.initial_std)
        self.target: nn.Sequential | None = None
        if config.method == "byol":
            self.target = copy.deepcopy(nn.Sequential(self.encoder, self.projection)).requires_grad_(False)

    def forward(self, first: Tensor, second: Tensor) -> Answer:
        """Two views of the same images, each float [b, 1, H, W]."""
        h1, h2 = self.projection(self.encoder(first)), self.projection(self.encoder(second))
        p1, p2 = self.prediction(h1), self.prediction(h2)
        if self.target is not None:
            with torch.no_grad():
                h1, h2 = self.target(first), self.target(second)
        return Answer(p1, p2, h1.detach(), h2.detach())

    @torch.no_grad()
    def follow(self) -> None:
        """Move BYOL's target a step: momentum x its weights + (1 - momentum) x the trained ones. SimSiam: nothing.

        To be called once before each step of the optimiser: before the first the two are equal, so that is the same as
        after each. Running means of batch norms are the target's own, from the batches it sees.
        """
        if self.target is not None:
            trained = nn.Sequential(self.encoder, self.projection).parameters()
            for ours, theirs in zip(self.target.parameters(), trained, strict=True):
                ours.lerp_(theirs, 1 - self.config.momentum)

    def restart_target(self) -> None:
        """Make BYOL's target equal to the trained networks, after these were given other weights. SimSiam: nothing."""
        if self.target is not None:
            self.target.load_state_dict(nn.Sequential(self.encoder, self.projection).state_dict())


def build(config: SiameseConfig, *, seed: int) -> Siamese:
    """A model with new weights, the same for the same seed; torch's global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Siamese(config)


def _projection(config: SiameseConfig, before: int) -> nn.Module:
    """g: three layers with SimSiam (DeepION, section 3.2; no bias before a batch norm), two with BYOL."""
    if config.method == "byol":
        return _perceptron(before, config.hidden, config.width)
    return nn.Sequential(
        nn.Linear(before, config.hidden, bias=False),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(config.hidden, config.hidden, bias=False),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(config.hidden, config.width, bias=False),
        nn.BatchNorm1d(config.width, affine=False),
    )


def _perceptron(before: int, hidden: int, after: int) -> nn.Module:
    """q of either, and BYOL's g: two layers, no batch norm at the end."""
    return nn.Sequential(
        nn.Linear(before, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, after)
    )


def _start_normal(heads: list[nn.Module], std: float) -> None:
    for head in heads:
        for module in head.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
