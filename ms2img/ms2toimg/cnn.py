"""The convolutional network of MS2toImg, "CNN Architecture and Training Procedure", and a smaller one of ours.

What the paper leaves open takes Keras's defaults, its framework's: valid padding, Glorot-uniform weights, zero biases.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.settings import Settings

KERNEL = 3  # MS2toImg, "CNN Architecture and Training Procedure"
POOL = 2  # likewise


@dataclass(frozen=True)
class CnnConfig(Settings):
    """The shape of the network; raises `UsageError` for a value out of range. The defaults are preset ``paper``."""

    conv_layers: int = 2  # MS2toImg, Figure 2; searched 1-3
    filters: int = 48  # of each convolution; MS2toImg, Figure 2; searched 16-64
    pool: str = "last"  # a max-pool after the "last" convolution (MS2toImg, Figure 2) or after "each"
    batch_norm: bool = False  # after each convolution
    dense_layers: int = 5  # MS2toImg, Figure 2; searched 1-3
    units: int = 128  # of each dense layer: ours, the paper's is in a supplement; searched 32-512
    dropout: float = 0.5  # after each dense layer; MS2toImg, "Model architecture"; searched 0.1-0.5

    def __post_init__(self) -> None:
        self._require_int("conv_layers", low=1)
        self._require_int("filters", low=1)
        self._require_one_of("pool", ("last", "each"))
        if not isinstance(self.batch_norm, bool):
            raise UsageError(f"batch_norm: {self.batch_norm!r}; expected true or false")
        self._require_int("dense_layers", low=0)
        self._require_int("units", low=1)
        self._require_float("dropout", low=0.0, high=1.0)


PRESETS: dict[str, CnnConfig] = {
    "paper": CnnConfig(),
    # Ours, for some tens of accessions: far fewer weights, and normalised activations that train in few steps.
    "small": CnnConfig(conv_layers=3, filters=16, pool="each", batch_norm=True, dense_layers=1, units=64),
}

#: How each preset is trained unless told otherwise.
TRAINING: dict[str, FitConfig] = {"paper": FitConfig(), "small": FitConfig(learning_rate=1e-3, batch_size=16)}


class Cnn(nn.Module):
    """Grey images [n, 1, height, width] in 0-1 -> logits [n] of being active.

    Raises `UsageError` when the images are too small for the convolutions.
    """

    def __init__(self, config: CnnConfig, height: int, width: int) -> None:
        super().__init__()
        self.config = config
        rows, columns = height, width
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for layer in range(config.conv_layers):
            channels = config.filters if layer else 1
            self.convolutions.append(nn.Conv2d(channels, config.filters, KERNEL))
            self.norms.append(nn.BatchNorm2d(config.filters) if config.batch_norm else nn.Identity())
            rows, columns = rows - KERNEL + 1, columns - KERNEL + 1
            if self._pools_after(layer):
                rows, columns = rows // POOL, columns // POOL
        if rows < 1 or columns < 1:
            raise UsageError(f"images of {height}x{width} are too small for {config.conv_layers} convolutions")
        width_in = rows * columns * config.filters
        self.dense = nn.ModuleList()
        for _ in range(config.dense_layers):
            self.dense.append(nn.Linear(width_in, config.units))
            width_in = config.units
        self.output = nn.Linear(width_in, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images float [n, 1, height, width] -> logits [n]. Shapes of preset ``paper`` at 150 x 140 on the right."""
        x = images  #                                                       [n, 1, 150, 140]
        for layer, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(x))  #                                     [n, 48, 148, 138], [n, 48, 146, 136]
            if self._pools_after(layer):
                x = functional.max_pool2d(x, POOL)  #                       [n, 48, 73, 68]
            # ReLU rises, so max(relu(x)) = relu(max(x)): after the pool it has a quarter of the work.
            x = functional.relu(x)
        x = x.permute(0, 2, 3, 1).flatten(1)  #                             [n, 73 * 68 * 48], in Keras's order
        for linear in self.dense:
            x = functional.relu(linear(x))  #                               [n, 128]
            x = functional.dropout(x, self.config.dropout, self.training)
        return self.output(x).squeeze(1)  #                                 [n]

    def _pools_after(self, layer: int) -> bool:
        return self.config.pool == "each" or layer == self.config.conv_layers - 1


def build_cnn(config: CnnConfig, height: int, width: int, *, seed: int = 0) -> Cnn:
    """A network for images of `height` x `width`, its initial weights a function of `seed` alone.

    Glorot-uniform weights and zero biases (Keras's defaults). Raises `UsageError` when the images are too small.
    """
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        network = Cnn(config, height, width)
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return network
