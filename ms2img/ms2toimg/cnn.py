"""The convolutional network of MS2toImg, "CNN Architecture and Training Procedure", and smaller ones of ours.

What the paper leaves open takes Keras's defaults, its framework's: valid padding, Glorot-uniform weights, zero biases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.settings import Settings
from ms2img.ms2toimg.linear_model import LinearModel
from ms2img.ms2toimg.tiles import Layer, convolve_tiles

KERNEL = 3  # MS2toImg, "CNN Architecture and Training Procedure"
POOL = 2  # likewise


@dataclass(frozen=True)
class CnnConfig(Settings):
    """The shape of the network; raises `UsageError` for a value out of range. The defaults are preset ``paper``."""

    input_pool: int = 1  # the image is averaged over squares of so many pixels first; 1: as it is (the paper)
    input_gamma: float = 1.0  # intensity ** gamma before that: below 1 weak fragments count for more; 1: the paper
    conv_layers: int = 2  # MS2toImg, Figure 2; searched 1-3
    filters: int = 48  # of each convolution; MS2toImg, Figure 2; searched 16-64
    pool: str = "last"  # a max-pool after the "last" convolution (MS2toImg, Figure 2) or after "each"
    batch_norm: bool = False  # after each convolution
    dense_layers: int = 5  # MS2toImg, Figure 2; searched 1-3
    units: int = 128  # of each dense layer: ours, the paper's is in a supplement; searched 32-512
    dropout: float = 0.5  # after each dense layer; MS2toImg, "Model architecture"; searched 0.1-0.5
    members: int = 1  # networks of this shape, trained side by side, whose probabilities are averaged; 1: the paper
    linear_member: bool = False  # beside them a linear model of the pixels, see `LinearModel`

    def __post_init__(self) -> None:
        self._require_int("input_pool", low=1)
        self._require_float("input_gamma", low=0.0, high=math.inf, low_open=True)
        self._require_int("conv_layers", low=1)
        self._require_int("filters", low=1)
        self._require_one_of("pool", ("last", "each"))
        for switch in ("batch_norm", "linear_member"):
            if not isinstance(getattr(self, switch), bool):
                raise UsageError(f"{switch}: {getattr(self, switch)!r}; expected true or false")
        self._require_int("dense_layers", low=0)
        self._require_int("units", low=1)
        self._require_float("dropout", low=0.0, high=1.0)
        self._require_int("members", low=1)


PRESETS: dict[str, CnnConfig] = {
    "paper": CnnConfig(),
    # Ours, for small cohorts of tens of accessions, developed by bench/recipe.py: few weights, normalised activations
    # that train in few steps, and the mean of several networks and a linear model, which err in different places.
    "small": CnnConfig(
        conv_layers=3,
        filters=16,
        pool="each",
        batch_norm=True,
        dense_layers=1,
        units=64,
        members=3,
        linear_member=True,
    ),
}

#: How each preset is trained unless told otherwise.
TRAINING: dict[str, FitConfig] = {
    "paper": FitConfig(),
    # The decay forgets the random initial weights of pixels that no training image lights. The last epoch is kept: the
    # two or three accessions that could choose one choose by chance, and teach more as part of the training.
    "small": FitConfig(learning_rate=1e-3, batch_size=16, weight_decay=10.0, epochs=40, keep="last"),
}


class Cnn(nn.Module):
    """One network: grey images [n, 1, height, width] in 0-1 -> logits [n] of being active.

    Raises `UsageError` when the images are too small for the convolutions.
    """

    def __init__(self, config: CnnConfig, height: int, width: int) -> None:
        super().__init__()
        self.config = config
        rows, columns = prepared_size(config, height, width)
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        self._layers: list[Layer] = []
        for layer in range(config.conv_layers):
            channels = config.filters if layer else 1
            self.convolutions.append(nn.Conv2d(channels, config.filters, KERNEL))
            self.norms.append(nn.BatchNorm2d(config.filters) if config.batch_norm else nn.Identity())
            self._layers.append(Layer(KERNEL, channels, config.filters, POOL if self._pools_after(layer) else 1))
            rows, columns = self._layers[-1].output(rows), self._layers[-1].output(columns)
        if rows < 1 or columns < 1:
            raise UsageError(f"images of {height}x{width} are too small for {config.conv_layers} convolutions")
        width_in = rows * columns * config.filters
        self.dense = nn.ModuleList()
        for _ in range(config.dense_layers):
            self.dense.append(nn.Linear(width_in, config.units))
            width_in = config.units
        self.output = nn.Linear(width_in, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images float [n, 1, height, width] -> logits [n]."""
        return self.classify(prepared(images, self.config))

    def classify(self, x: Tensor) -> Tensor:
        """`prepared` images [n, 1, 150, 140] -> logits [n]; the shapes are those of preset ``paper``."""
        x = self._features(x).flatten(1)  #                                 [n, 73 * 68 * 48], in Keras's order
        for linear in self.dense:
            x = functional.relu(linear(x))  #                               [n, 128]
            x = functional.dropout(x, self.config.dropout, self.training)
        return self.output(x).squeeze(1)  #                                 [n]

    def _features(self, x: Tensor) -> Tensor:
        """What the dense layers see: [n, 73, 68, 48]."""
        # The batch statistics are over all pixels of the images, so that training needs them whole.
        tiled = None if self.config.batch_norm and self.training else convolve_tiles(x, self._layers, self._convolve)
        return self._convolve(x).permute(0, 2, 3, 1) if tiled is None else tiled

    def _convolve(self, x: Tensor) -> Tensor:
        """Images [n, 1, 150, 140], or tiles of such -> [n, 48, 73, 68]."""
        for layer, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(x))  #                                     [n, 48, 148, 138], [n, 48, 146, 136]
            if self._pools_after(layer):
                x = functional.max_pool2d(x, POOL)  #                       [n, 48, 73, 68]
            # ReLU rises, so max(relu(x)) = relu(max(x)): after the pool it has a quarter of the work.
            x = functional.relu(x, inplace=True)
        return x

    def _pools_after(self, layer: int) -> bool:
        return self.config.pool == "each" or layer == self.config.conv_layers - 1


class CnnEnsemble(nn.Module):
    """``config.members`` independent networks, and the linear model if there is to be one, as one module.

    While it trains it gives the logits of every member, [members, n], so that each learns on its own whatever the
    others say; otherwise it gives [n], the logit of the mean of their probabilities.
    """

    def __init__(self, config: CnnConfig, height: int, width: int) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(Cnn(config, height, width) for _ in range(config.members))
        self.linear = (
            LinearModel(*prepared_size(config, height, width), share=1 / (config.members + 1))
            if config.linear_member
            else None
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images float [n, 1, height, width] -> logits, see the class."""
        x = prepared(images, self.config)
        each = [cast("Cnn", member).classify(x) for member in self.members]
        if self.linear is not None:
            each.append(self.linear(x))
        logits = torch.stack(each)  # [members, n]
        if self.training:
            return logits
        logits = logits.float()
        # log(p / (1 - p)) of the mean p, from the logs of both means: exact where p itself would round to 0 or 1.
        return functional.logsigmoid(logits).logsumexp(0) - functional.logsigmoid(-logits).logsumexp(0)


def prepared(images: Tensor, config: CnnConfig) -> Tensor:
    """Images [n, 1, height, width] as the convolutions see them: intensity ** gamma, then means over squares of pixels.

    What is left over at the right and lower edge is a mean over fewer pixels.
    """
    x = images if config.input_gamma == 1 else images**config.input_gamma
    return x if config.input_pool == 1 else functional.avg_pool2d(x, config.input_pool, ceil_mode=True)


def prepared_size(config: CnnConfig, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a `prepared` image."""
    return -(-height // config.input_pool), -(-width // config.input_pool)


def network_of(config: CnnConfig, height: int, width: int) -> Cnn | CnnEnsemble:
    """The network of a config, its weights as torch leaves them; `UsageError` when the images are too small.

    Under ``torch.device("meta")`` it costs nothing, which is how weights are counted.
    """
    alone = config.members == 1 and not config.linear_member
    return Cnn(config, height, width) if alone else CnnEnsemble(config, height, width)


def require_size(config: CnnConfig, height: int, width: int) -> None:
    """`UsageError` when images of this size are too small for the config's convolutions; no weight is made."""
    with torch.device("meta"):
        network_of(config, height, width)


def build_cnn(config: CnnConfig, height: int, width: int, *, seed: int = 0) -> Cnn | CnnEnsemble:
    """A network for images of `height` x `width`, its initial weights a function of `seed` alone.

    Glorot-uniform weights and zero biases (Keras's defaults); a linear member starts from zero. Raises `UsageError`
    when the images are too small.
    """
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        network = network_of(config, height, width)
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    if isinstance(network, CnnEnsemble) and network.linear is not None:
        network.linear.reset()
    return network
