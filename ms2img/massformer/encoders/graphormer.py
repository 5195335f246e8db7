"""Graphormer: a transformer over the atoms of a molecule and a readout node (MassFormer, section 3.3).

An atom starts as the sum of the embeddings of its features and of its degree (centrality encoding). Attention has a
bias for every pair (Eq. 1): a weight a head for the hops between them (spatial encoding), and the mean over the bonds
of the path of ``w_p . e_p`` (edge encoding, Eq. 2), p the place in the path. The readout node has hops of its own.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.massformer.encoders import Encoder
from ms2img.massformer.encoders.attention import SelfAttention
from ms2img.massformer.encoders.categories import atom_rows
from ms2img.massformer.encoders.pairs import HOPS, PairClasses, class_paths, kind_features, pair_classes, stacked
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.graph import ATOM_SIZES, BOND_SIZES, MAX_PATH

#: Degrees told apart; atoms with more bonds count as the last. Graphormer has 512, of which no molecule uses more.
DEGREES = 16


class GraphPiece(NamedTuple):
    """A molecule ready to be stacked: rows of the atom table int64 [n, features], degrees int64 [n], its pairs."""

    atoms: np.ndarray
    degrees: np.ndarray
    pairs: PairClasses


def piece(features: MoleculeFeatures) -> GraphPiece:
    """What a batch needs of one molecule; worth keeping."""
    graph = features.graph
    degrees = np.minimum(graph.degrees, DEGREES - 1).astype(np.int64)
    return GraphPiece(atom_rows(graph), degrees, pair_classes(graph))


def stack(pieces: list[GraphPiece]) -> dict[str, Tensor]:
    """m molecules, padded to the n atoms of the largest.

    atoms int64 [m, n, features], degrees int64 [m, n]; pairs int64 [m, n + 1, n + 1], places among u classes of pairs
    or u for padding; class_hops int64 [u] and class_steps int64 [u, MAX_PATH], see `pairs.class_paths`.
    """
    n = max(len(one.atoms) for one in pieces)
    atoms = np.zeros((len(pieces), n, len(ATOM_SIZES)), dtype=np.int64)
    degrees = np.zeros((len(pieces), n), dtype=np.int64)
    for row, one in enumerate(pieces):
        atoms[row, : len(one.atoms)] = one.atoms
        degrees[row, : len(one.atoms)] = one.degrees
    keys, pairs = stacked([one.pairs for one in pieces], n + 1)
    hops, steps = class_paths(keys)
    arrays = {"atoms": atoms, "degrees": degrees, "pairs": pairs, "class_hops": hops, "class_steps": steps}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class PairBias(nn.Module):
    """Spatial and edge encoding: the bias of every pair and head, the same in all layers as in Graphormer."""

    def __init__(self, *, width: int, heads: int, initial_std: float) -> None:
        super().__init__()
        self.hops = nn.Embedding(HOPS, heads)
        self.bonds = nn.Embedding(sum(BOND_SIZES), width)  # e: a bond is the sum of its features
        self.places = nn.Parameter(torch.empty(MAX_PATH, heads, width))  # w
        nn.init.normal_(self.places, std=initial_std)
        offsets = np.cumsum([0, *BOND_SIZES[:-1]])
        self.register_buffer("kinds", torch.from_numpy(kind_features() + offsets), persistent=False)
        self.kinds: Tensor

    def forward(self, molecules: dict[str, Tensor]) -> Tensor:
        """[m, heads, n + 1, n + 1]; -inf where the key is padding."""
        table = self.class_bias(molecules["class_hops"], molecules["class_steps"]).t()
        padding = table.new_full((len(table), 1), -torch.inf)
        pairs = molecules["pairs"]
        # One row a head, taken along the columns: torch's backward of an embedding takes five times as long.
        bias = torch.cat([table, padding], dim=1).index_select(1, pairs.flatten())
        return bias.view(len(table), *pairs.shape).transpose(0, 1)

    def class_bias(self, hops: Tensor, steps: Tensor) -> Tensor:
        """Bias of u classes of pairs, from hops int64 [u] and steps int64 [u, MAX_PATH]: [u, heads]."""
        bonds = self.bonds(self.kinds).sum(dim=1)  # [kinds, width]
        terms = torch.einsum("phd,kd->pkh", self.places, bonds)
        terms = functional.pad(terms, (0, 0, 1, 0))  # step 0, none, adds nothing: [MAX_PATH, 1 + kinds, heads]
        rows = steps + terms.shape[1] * torch.arange(MAX_PATH, device=steps.device)
        edges = functional.embedding_bag(rows, terms.flatten(0, 1), mode="sum")
        length = (steps > 0).sum(dim=1, keepdim=True).clamp(min=1)
        encoded: Tensor = self.hops(hops) + edges / length
        return encoded


class GraphormerLayer(nn.Module):
    """Attention and a feed-forward half, each added to its input; norms before the halves or after the sums."""

    def __init__(
        self, *, width: int, heads: int, ffn: int, norm_first: bool, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention = SelfAttention(width=width, heads=heads, dropout=attention_dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, ffn), nn.GELU(), nn.Dropout(dropout), nn.Linear(ffn, width), nn.Dropout(dropout)
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, state: Tensor, bias: Tensor, *, queries: int | None = None) -> Tensor:
        """[m, n, width] -> the same, or only its first `queries` rows."""
        kept = state[:, :queries]
        if self.norm_first:
            kept = kept + self.dropout(self.attention(self.attention_norm(state), bias, queries=queries))
            kept = kept + self.feed_forward(self.feed_forward_norm(kept))
        else:
            kept = self.attention_norm(kept + self.dropout(self.attention(state, bias, queries=queries)))
            kept = self.feed_forward_norm(kept + self.feed_forward(kept))
        return kept

    def weights(self, state: Tensor, bias: Tensor) -> Tensor:
        """The attention that `forward` pays on this state, [m, heads, n, n]."""
        return self.attention.weights(self.attention_norm(state) if self.norm_first else state, bias)


class Graphormer(Encoder):
    """Molecules of `stack` -> the readout node's last state [m, width].

    norm_first: norms before each half (Graphormer's paper, Eq. 8 and 9), and one at the end. Otherwise as Graphormer's
    released code has it for its base size, which MassFormer's takes over: a norm on the embeddings, norms after each
    half, and a dense layer, GELU and norm at the end.
    initial_std: of all initial weights but norms and biases, as in Graphormer's `init_graphormer_params`.
    """

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        ffn: int,
        norm_first: bool,
        dropout: float,
        attention_dropout: float,
        initial_std: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.atoms = nn.Embedding(sum(ATOM_SIZES), width)
        self.degrees = nn.Embedding(DEGREES, width)
        self.readout = nn.Parameter(torch.empty(width))
        self.bias = PairBias(width=width, heads=heads, initial_std=initial_std)
        self.enter = nn.Identity() if norm_first else nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            GraphormerLayer(
                width=width,
                heads=heads,
                ffn=ffn,
                norm_first=norm_first,
                dropout=dropout,
                attention_dropout=attention_dropout,
            )
            for _ in range(layers)
        )
        last = nn.LayerNorm(width)
        self.leave = last if norm_first else nn.Sequential(nn.Linear(width, width), nn.GELU(), last)
        nn.init.normal_(self.readout, std=initial_std)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=initial_std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, molecules: dict[str, Tensor]) -> Tensor:
        """See the class."""
        state, bias = self._start(molecules)
        for number, layer in enumerate(self.layers, start=1):
            # Of the last layer only the readout node is used.
            state = layer(state, bias, queries=1 if number == len(self.layers) else None)
        embeddings: Tensor = self.leave(state[:, 0])
        return embeddings

    def attention(self, molecules: dict[str, Tensor]) -> list[Tensor]:
        """Every layer's attention [m, heads, n + 1, n + 1], row and column 0 the readout node's; call `eval` first."""
        state, bias = self._start(molecules)
        weights = []
        for layer in self.layers:
            weights.append(cast("GraphormerLayer", layer).weights(state, bias))
            state = layer(state, bias)
        return weights

    def _start(self, molecules: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """State [m, n + 1, width] and bias before the first layer."""
        rows = molecules["atoms"]
        atoms = functional.embedding_bag(rows.flatten(0, 1), self.atoms.weight, mode="sum")
        atoms = atoms.view(*rows.shape[:2], self.width) + self.degrees(molecules["degrees"])
        state = torch.cat([self.readout.expand(len(rows), 1, -1), atoms], dim=1)
        return self.dropout(self.enter(state)), self.bias(molecules)
