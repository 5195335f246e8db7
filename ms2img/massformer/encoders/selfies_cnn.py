"""Convolutions over the SELFIES tokens of a molecule (MassFormer, sections 3.2 and 4.2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ms2img.massformer.encoders import Encoder
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.selfies_tokens import PADDING, SelfiesVocabulary


def piece(selfies: SelfiesVocabulary) -> Callable[[MoleculeFeatures], np.ndarray]:
    """What gives the codes int32 [l] that a batch needs of one molecule."""
    return lambda features: selfies.encode(features.tokens)


def stack(pieces: list[np.ndarray]) -> dict[str, Tensor]:
    """Codes int64 [m, l], padded to the longest."""
    codes = np.full((len(pieces), max(map(len, pieces))), PADDING, dtype=np.int64)
    for row, one in enumerate(pieces):
        codes[row, : len(one)] = one
    return {"tokens": torch.from_numpy(codes)}


class SelfiesCnn(Encoder):
    """Codes of `stack` -> [m, width]: an embedding, `layers` convolutions with ReLU, the largest value over the tokens.

    The paper's code pools neighbouring tokens and flattens what is left of 500; the maximum over all tokens needs no
    longest molecule. Padding is kept at zero between the layers, so that neighbours in a batch change nothing.
    """

    def __init__(self, *, symbols: int, layers: int, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(symbols, width, padding_idx=PADDING)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, kernel, padding=kernel // 2) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, molecules: dict[str, Tensor]) -> Tensor:
        """See the class."""
        tokens = molecules["tokens"]
        real = (tokens != PADDING)[:, None]
        state: Tensor = self.embedding(tokens).transpose(1, 2) * real
        for convolution in self.convolutions:
            state = self.dropout(torch.relu(convolution(state)) * real)
        return state.amax(dim=2)  # >= 0: the zeros of padding never win over a token
