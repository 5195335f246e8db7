"""Fingerprints as they are, or through dense layers (MassFormer, section 4.2)."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from ms2img.massformer.encoders import Encoder
from ms2img.massformer.molecule.description import MoleculeFeatures


def piece(features: MoleculeFeatures) -> np.ndarray:
    """What a batch needs of one molecule."""
    return features.fingerprint


def stack(pieces: list[np.ndarray]) -> dict[str, Tensor]:
    """Fingerprints uint8 [m, bits]."""
    return {"fingerprint": torch.from_numpy(np.stack(pieces))}


class FingerprintEncoder(Encoder):
    """Molecules of `stack` -> [m, width]; without layers the bits themselves, [m, bits], as in the paper."""

    def __init__(self, *, bits: int, layers: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width if layers else bits
        columns = [bits, *[width] * layers]
        self.layers = nn.Sequential()
        for before, after in itertools.pairwise(columns):
            self.layers.extend([nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)])

    def forward(self, molecules: dict[str, Tensor]) -> Tensor:
        """See the class."""
        bits = molecules["fingerprint"].float()
        embeddings: Tensor = self.layers(bits)
        return embeddings
