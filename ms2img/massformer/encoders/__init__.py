"""Encoders: molecules to embeddings [m, d], one a row of the paper's Table 2 (MassFormer, section 4.2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

KINDS = ("massformer", "wln", "fp", "cnn")


class Encoder(nn.Module):
    """Molecules as `batching.collate` stacks them for the encoder's kind -> [m, width]."""

    width: int  # of an embedding

    def __call__(self, molecules: dict[str, Tensor]) -> Tensor:
        """`forward`, typed."""
        embeddings: Any = super().__call__(molecules)
        return embeddings
