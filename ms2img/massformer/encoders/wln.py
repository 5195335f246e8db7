"""Weisfeiler-Lehman network (MassFormer, section 4.2; Jin et al. 2017), as DGL-LifeSci's ``WLN``, which the paper uses.

    h_v = relu(W_in x_v)
    layers times, with the same weights:  h_v = relu(U [h_v, sum over neighbours u of relu(V [h_u, e_uv] + b)] + b')
    c_v = sum over neighbours u of (W_1 h_u * W_2 e_uv) * W_0 h_v
    embedding = relu(max over atoms of c_v)

Preset "small" has a layer norm inside the second line's relu, and one over the embedding.

x and e are the one-hot features of atoms and bonds, [..] concatenation, * element by element. An atom without
neighbours has c = 0. The atoms of a batch lie in one column, one molecule after the other: no padding.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.massformer.encoders import Encoder
from ms2img.massformer.encoders.categories import atom_rows
from ms2img.massformer.encoders.pairs import bond_kinds, kind_features
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.graph import ATOM_SIZES, BOND_SIZES

#: Largest standard deviation of initial weights; DGL-LifeSci, `WLNLinear`.
LARGEST_STD = 0.1


class FlatPiece(NamedTuple):
    """Rows of the atom table int64 [n, features]; for both directions of each bond: start, end, kind, int64 [2 m]."""

    atoms: np.ndarray
    start: np.ndarray
    end: np.ndarray
    kind: np.ndarray


def piece(features: MoleculeFeatures) -> FlatPiece:
    """What a batch needs of one molecule; worth keeping."""
    graph = features.graph
    bonds = graph.bonds.astype(np.int64)
    start, end = np.concatenate([bonds, bonds[:, ::-1]]).T
    return FlatPiece(atom_rows(graph), start, end, np.tile(bond_kinds(graph), 2))


def stack(pieces: list[FlatPiece]) -> dict[str, Tensor]:
    """m molecules of N atoms and M bonds together.

    atoms int64 [N, features]; start, end, kind int64 [2 M]; sizes int64 [m], atoms of each.
    """
    sizes = np.array([len(one.atoms) for one in pieces], dtype=np.int64)
    shift = np.repeat(np.cumsum(sizes) - sizes, [len(one.start) for one in pieces])
    arrays = {
        "atoms": np.concatenate([one.atoms for one in pieces]),
        "start": np.concatenate([one.start for one in pieces]) + shift,
        "end": np.concatenate([one.end for one in pieces]) + shift,
        "kind": np.concatenate([one.kind for one in pieces]),
        "sizes": sizes,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Wln(Encoder):
    """Molecules of `stack` -> [m, width]; the equations are the module's.

    A dense layer on one-hot features is the sum of rows of a table, and one on a concatenation the sum of two dense
    layers; bonds are so few kinds that their half is computed once a kind.

    norm: layer norms of atoms' new states, with the same weights in every layer, and of the embedding (ours). States
        are sums over neighbours of sums over neighbours, and c_v a product of three things that are learned: nothing
        else keeps either from growing.
    """

    def __init__(self, *, layers: int, width: int, norm: bool) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.atoms = nn.Embedding(sum(ATOM_SIZES), width)  # W_in
        self.message_atom = nn.Linear(width, width)  # V, the half for h_u, and b
        self.message_bond = nn.Embedding(sum(BOND_SIZES), width)  # V, the half for e_uv
        self.update = nn.Linear(2 * width, width)  # U and b'
        self.final_neighbour = nn.Linear(width, width, bias=False)  # W_1
        self.final_bond = nn.Embedding(sum(BOND_SIZES), width)  # W_2
        self.final_self = nn.Linear(width, width, bias=False)  # W_0
        self.between = nn.LayerNorm(width) if norm else nn.Identity()
        self.leave = nn.LayerNorm(width) if norm else nn.Identity()
        offsets = np.cumsum([0, *BOND_SIZES[:-1]])
        self.register_buffer("kinds", torch.from_numpy(kind_features() + offsets), persistent=False)
        self.kinds: Tensor
        self._initialise()

    def forward(self, molecules: dict[str, Tensor]) -> Tensor:
        """See the class."""
        start, end, kind = molecules["start"], molecules["end"], molecules["kind"]
        state = functional.relu(functional.embedding_bag(molecules["atoms"], self.atoms.weight, mode="sum"))
        bond = self.message_bond(self.kinds).sum(dim=1).index_select(0, kind)
        for _ in range(self.layers):
            message = functional.relu(self.message_atom(state).index_select(0, start) + bond)
            heard = summed(message, end, len(state))
            state = functional.relu(self.between(self.update(torch.cat([state, heard], dim=1))))
        bond = self.final_bond(self.kinds).sum(dim=1).index_select(0, kind)
        neighbour = self.final_neighbour(state).index_select(0, start) * bond
        compared = summed(neighbour, end, len(state)) * self.final_self(state)
        embeddings = functional.relu(torch.segment_reduce(compared, "max", lengths=molecules["sizes"]))
        return cast("Tensor", self.leave(embeddings))

    def _initialise(self) -> None:
        """Normal weights of deviation min(1 / sqrt(columns), LARGEST_STD), zero biases: DGL-LifeSci, `WLNLinear`."""
        atoms, bonds = sum(ATOM_SIZES), sum(BOND_SIZES)
        for weight, columns in (
            (self.atoms.weight, atoms),
            (self.message_atom.weight, bonds + self.width),
            (self.message_bond.weight, bonds + self.width),
            (self.update.weight, 2 * self.width),
            (self.final_neighbour.weight, self.width),
            (self.final_bond.weight, bonds),
            (self.final_self.weight, self.width),
        ):
            nn.init.normal_(weight, std=min(columns**-0.5, LARGEST_STD))
        nn.init.zeros_(self.message_atom.bias)
        nn.init.zeros_(self.update.bias)


def summed(values: Tensor, into: Tensor, count: int) -> Tensor:
    """Rows [k, width] added up by number int64 [k]: [count, width]; zeros where there is none."""
    return values.new_zeros(count, values.shape[1]).index_add(0, into, values)
