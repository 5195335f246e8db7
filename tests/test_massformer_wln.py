"""The Weisfeiler-Lehman network against one written with torch_geometric's message passing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from massformer_graphs import permuted, random_features, random_graph
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MessagePassing, global_max_pool

from ms2img.massformer.batching import collate
from ms2img.massformer.encoders.wln import Wln
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.graph import ATOM_SIZES, BOND_SIZES, MolecularGraph

WIDTH = 24


class Messages(MessagePassing):
    """The sum over neighbours of what a function makes of their state and the bond's features."""

    def __init__(self, of) -> None:
        super().__init__(aggr="add")
        self.of = of

    def forward(self, state, edge_index, bond):
        return self.propagate(edge_index, state=state, bond=bond)

    def message(self, state_j, bond):
        return self.of(state_j, bond)


def one_hot(numbers: np.ndarray, sizes: tuple[int, ...]) -> torch.Tensor:
    columns = [functional.one_hot(torch.tensor(numbers[:, k].astype(int)), size) for k, size in enumerate(sizes)]
    return torch.cat(columns, dim=1).double()


def data_of(graph: MolecularGraph) -> Data:
    bonds = torch.tensor(graph.bonds.astype(int)).T
    features = one_hot(graph.bond_features, BOND_SIZES)
    return Data(
        x=one_hot(graph.atoms, ATOM_SIZES),
        edge_index=torch.cat([bonds, bonds.flip(0)], dim=1),
        edge_attr=torch.cat([features, features]),
    )


def reference(encoder: Wln, graphs: list[MolecularGraph]) -> torch.Tensor:
    """The equations of the module, on one-hot features and concatenations."""
    batch = Batch.from_data_list([data_of(graph) for graph in graphs])
    v = torch.cat([encoder.message_atom.weight, encoder.message_bond.weight.T], dim=1)
    message = Messages(
        lambda state, bond: functional.linear(torch.cat([state, bond], dim=1), v, encoder.message_atom.bias).relu()
    )
    compare = Messages(lambda state, bond: encoder.final_neighbour(state) * (bond @ encoder.final_bond.weight))
    state = (batch.x @ encoder.atoms.weight).relu()
    for _ in range(encoder.layers):
        heard = message(state, batch.edge_index, batch.edge_attr)
        state = functional.linear(torch.cat([state, heard], dim=1), encoder.update.weight, encoder.update.bias)
        state = normalised(encoder.between, state).relu()
    compared = compare(state, batch.edge_index, batch.edge_attr) * encoder.final_self(state)
    return normalised(encoder.leave, global_max_pool(compared, batch.batch).relu())


def normalised(norm: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """A layer norm written out; nothing for a model without."""
    if isinstance(norm, torch.nn.Identity):
        return rows
    scaled = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    return scaled * norm.weight + norm.bias


def molecules(seed: int) -> list[MoleculeFeatures]:
    rng = np.random.default_rng(seed)
    return [random_features(rng, int(n), fragments=1 + seed % 2) for n in rng.integers(1, 20, 8)]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_gradients_are_those_of_torch_geometric(seed: int, layers: int, norm: bool) -> None:
    torch.manual_seed(seed)
    features = molecules(seed)
    encoder = Wln(layers=layers, width=WIDTH, norm=norm).double()
    torch.nn.init.normal_(encoder.message_atom.bias)
    if norm:
        torch.nn.init.normal_(encoder.between.weight)
        torch.nn.init.normal_(encoder.leave.bias)
    found, expected = encoder(collate("wln", features)), reference(encoder, [one.graph for one in features])
    assert (expected > 0).any()
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    parameters = list(encoder.parameters())
    gradients = torch.autograd.grad((found * weights).sum(), parameters)
    for mine, theirs in zip(gradients, torch.autograd.grad((expected * weights).sum(), parameters), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_an_atom_alone_compares_to_nothing() -> None:
    rng = np.random.default_rng(0)
    assert not Wln(layers=3, width=WIDTH, norm=False)(collate("wln", [random_features(rng, 1)])).any()


def test_the_order_of_atoms_and_bonds_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    graph = random_graph(rng, 14)
    other = permuted(graph, rng.permutation(14))
    bits = random_features(rng, 3)
    encoder = Wln(layers=3, width=WIDTH, norm=False).double()
    one, two = (
        encoder(collate("wln", [MoleculeFeatures(each, bits.fingerprint, bits.tokens)])) for each in (graph, other)
    )
    torch.testing.assert_close(one, two)
