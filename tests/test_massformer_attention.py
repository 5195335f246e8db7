"""Graphormer's attention, its biases and the map of them, each against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from massformer_graphs import described, random_features, random_graph
from torch import Tensor

from ms2img.errors import UsageError
from ms2img.massformer.attention_map import atom_attention
from ms2img.massformer.batching import collate
from ms2img.massformer.conditions import ConditionVocabulary
from ms2img.massformer.encoders.attention import SelfAttention
from ms2img.massformer.encoders.graphormer import Graphormer, PairBias
from ms2img.massformer.encoders.pairs import READOUT_HOPS
from ms2img.massformer.model import ModelConfig, SpectrumModel, build
from ms2img.massformer.molecule.graph import BOND_SIZES, MolecularGraph
from ms2img.massformer.spectrum import SpectrumConfig

HEADS, WIDTH = 4, 16


def naive_attention(layer: SelfAttention, state: Tensor, bias: Tensor) -> Tensor:
    """One molecule, one head, one pair of nodes at a time (Eq. 1)."""
    m, n, width = state.shape
    d = width // layer.heads
    query, key, value = (
        state @ layer.project.weight[k * width : (k + 1) * width].T + layer.project.bias[k * width : (k + 1) * width]
        for k in range(3)
    )
    molecules = []
    for molecule in range(m):
        nodes = []
        for i in range(n):
            heads = []
            for head in range(layer.heads):
                part = slice(head * d, (head + 1) * d)
                scores = [
                    (query[molecule, i, part] * key[molecule, j, part]).sum() / math.sqrt(d)
                    + bias[molecule, head, i, j]
                    for j in range(n)
                ]
                shares = [torch.exp(score) for score in scores]
                total = sum(shares)
                heads.append(sum(share / total * value[molecule, j, part] for j, share in enumerate(shares)))
            nodes.append(torch.cat(heads))
        molecules.append(torch.stack(nodes))
    return torch.stack(molecules) @ layer.leave.weight.T + layer.leave.bias


def random_attention(seed: int) -> tuple[SelfAttention, Tensor, Tensor]:
    """A layer, states of 2 molecules of up to 5 nodes, and a bias in which the second has but 3."""
    torch.manual_seed(seed)
    layer = SelfAttention(width=WIDTH, heads=HEADS, dropout=0.0).double()
    state = torch.randn(2, 5, WIDTH, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, HEADS, 5, 5, dtype=torch.float64)
    bias[1, :, :, 3:] = -torch.inf
    return layer, state, bias.requires_grad_()


def test_attention_has_the_values_and_gradients_of_a_loop() -> None:
    layer, state, bias = random_attention(0)
    found, expected = layer(state, bias), naive_attention(layer, state, bias)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    wanted = [state, bias, *layer.parameters()]
    gradients = torch.autograd.grad((found * weights).sum(), wanted)
    for mine, theirs in zip(gradients, torch.autograd.grad((expected * weights).sum(), wanted), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_attention_of_the_first_rows_alone_is_that_of_all_rows() -> None:
    layer, state, bias = random_attention(1)
    torch.testing.assert_close(layer(state, bias, queries=2), layer(state, bias)[:, :2])


def test_the_weights_are_what_the_attention_mixes_with() -> None:
    layer, state, bias = random_attention(2)
    weights = layer.weights(state, bias)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, HEADS, 5, dtype=torch.float64))
    assert not weights[1, :, :, 3:].any()
    value = layer.project(state)[..., 2 * WIDTH :].unflatten(-1, (HEADS, -1)).transpose(1, 2)
    torch.testing.assert_close(layer.leave((weights @ value).transpose(1, 2).flatten(2)), layer(state, bias))


def naive_bias(bias: PairBias, graph: MolecularGraph, head: int, i: int, j: int) -> Tensor:
    """Spatial and edge encoding (Eq. 2) of two atoms, straight from the graph."""
    hops = bias.hops.weight[int(graph.distances[i, j]), head]
    bonds = [int(bond) for bond in graph.paths[i, j] if bond >= 0]
    if not bonds:
        return hops
    offsets = np.cumsum([0, *BOND_SIZES[:-1]])
    terms = []
    for place, bond in enumerate(bonds):
        rows = offsets + graph.bond_features[bond]
        terms.append(bias.places[place, head] @ bias.bonds.weight[rows].sum(dim=0))
    return hops + sum(terms) / len(terms)


@pytest.mark.parametrize("fragments", [1, 3])
def test_the_bias_of_every_pair_is_hops_and_mean_over_the_path(fragments: int) -> None:
    rng = np.random.default_rng(fragments)
    torch.manual_seed(0)
    bias = PairBias(width=WIDTH, heads=HEADS, initial_std=0.5).double()
    features = [random_features(rng, n, fragments=fragments) for n in (9, 1, 6)]
    found = bias(collate("massformer", features))
    assert found.shape == (3, HEADS, 10, 10)
    for molecule, one in enumerate(features):
        n = one.graph.n_atoms
        for head in range(HEADS):
            readout = bias.hops.weight[READOUT_HOPS, head]
            expected = torch.full((10, 10), -torch.inf, dtype=torch.float64)
            expected[: n + 1, : n + 1] = readout
            for i in range(n):
                for j in range(n):
                    expected[i + 1, j + 1] = naive_bias(bias, one.graph, head, i, j)
            torch.testing.assert_close(found[molecule, head, : n + 1], expected[: n + 1])
    assert torch.isneginf(found[1, :, 2:, 1:]).all()  # padding sees no atom, nor itself


def model_of(**settings) -> SpectrumModel:
    config = ModelConfig(layers=3, width=WIDTH, heads=HEADS, ffn=WIDTH, head_width=16, **settings)
    model = build(config, SpectrumConfig(mz_max=50.0), ConditionVocabulary(("[M+H]+",)), seed=1)
    for parameter in model.encoder.parameters():  # away from the small initial weights, where all atoms look alike
        torch.nn.init.normal_(parameter, std=0.4)
    return model.double().eval()


def test_the_map_is_the_product_of_the_layers_in_a_loop() -> None:
    model = model_of()
    molecules = collate("massformer", [random_features(np.random.default_rng(5), n) for n in (7, 4)])
    encoder = model.encoder
    assert isinstance(encoder, Graphormer)
    state, bias = encoder._start(molecules)
    layers = []
    for layer in encoder.layers:
        layers.append(layer.attention.weights(layer.attention_norm(state), bias).detach().numpy())
        state = layer(state, bias)
    found = atom_attention(model, molecules)
    assert found.dtype == torch.float32
    for molecule, n in enumerate((7, 4)):
        product = np.eye(8)
        for weights in layers:  # from the input up
            averaged = np.zeros((8, 8))
            for head in range(HEADS):
                averaged += weights[molecule, head] / HEADS
            product = averaged @ product
        row = product[0, 1:]
        np.testing.assert_allclose(found[molecule], row / row.sum(), rtol=1e-5)
        np.testing.assert_allclose(found[molecule].sum(), 1, rtol=1e-6)
        assert (found[molecule, :n] > 0).all()
        assert not found[molecule, n:].any()
    assert found[0].std() > 0.01  # a map of something


def test_the_map_leaves_the_model_as_it_was() -> None:
    model = model_of(dropout=0.5, attention_dropout=0.5)
    molecules = collate("massformer", [random_features(np.random.default_rng(5), 6)])
    quiet = atom_attention(model, molecules)
    torch.testing.assert_close(atom_attention(model.train(), molecules), quiet)  # dropout is off for it
    assert model.training


def test_a_model_without_attention_has_no_map() -> None:
    model = build(ModelConfig(kind="fp"), SpectrumConfig(), ConditionVocabulary(("[M+H]+",)))
    with pytest.raises(UsageError, match="a model of kind 'fp' has no attention; expected massformer"):
        atom_attention(model, {})


def test_the_last_layer_computes_the_readout_node_alone_and_nothing_changes() -> None:
    model = model_of()
    encoder = model.encoder
    assert isinstance(encoder, Graphormer)
    molecules = collate("massformer", [random_features(np.random.default_rng(6), n) for n in (3, 8)])
    state, bias = encoder._start(molecules)
    for layer in encoder.layers:
        state = layer(state, bias)
    torch.testing.assert_close(encoder(molecules), encoder.leave(state[:, 0]))


def test_a_bond_on_the_way_changes_the_attention_of_atoms_far_apart() -> None:
    rng = np.random.default_rng(8)
    graph = random_graph(rng, 8, rings=0)
    changed = MolecularGraph(
        atoms=graph.atoms, bonds=graph.bonds, degrees=graph.degrees, distances=graph.distances, paths=graph.paths,
        bond_features=(graph.bond_features + 1) % np.array(BOND_SIZES, dtype=np.int16),
    )  # fmt: skip
    model = model_of()
    one, two = (model.encode(collate("massformer", [described(rng, each)])) for each in (graph, changed))
    assert not torch.allclose(one, two)
