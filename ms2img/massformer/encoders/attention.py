"""Multi-head self-attention with a bias for every pair of atoms (MassFormer, Eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """``softmax(q k^T / sqrt(d) + bias) v``, d the width of a head, heads side by side; then a dense layer.

    dropout: of attention weights, while training.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.project = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, state: Tensor, bias: Tensor, *, queries: int | None = None) -> Tensor:
        """State [m, n, width] and bias [m, heads, n, n] -> [m, n, width], or only the first `queries` rows of it.

        A bias of -inf keeps a key from being seen. Torch's fused attention; where the bias wants a gradient, which no
        fused kernel for CPUs gives, torch itself takes the long way.
        """
        query, key, value = self._projected(state, queries)
        seen = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias[:, :, : query.shape[2]].to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )
        mixed: Tensor = self.leave(seen.transpose(1, 2).flatten(2))
        return mixed

    def weights(self, state: Tensor, bias: Tensor) -> Tensor:
        """The attention itself, [m, heads, n, n], each row summing to 1, in float32 at least and without dropout."""
        query, key, _ = self._projected(state, None)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return torch.softmax(scores + bias, dim=-1)

    def _projected(self, state: Tensor, queries: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [m, heads, q, d], keys and values [m, heads, n, d]."""
        if queries is None:
            query, key, value = self.project(state).chunk(3, dim=-1)
        else:
            width = state.shape[-1]
            weight, offset = self.project.weight, self.project.bias
            query = functional.linear(state[:, :queries], weight[:width], offset[:width])
            key, value = functional.linear(state, weight[width:], offset[width:]).chunk(2, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        return query, key, value
