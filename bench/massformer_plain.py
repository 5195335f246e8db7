"""MassFormer as it is commonly written, with the weights of ours: what `bench.massformer_throughput` compares with.

Batches are drawn without regard to size and padded to their largest molecule, a molecule is encoded for each of its
spectra, the bias is looked up for every pair and every step of its path, attention weights are written out, and every
layer computes every node: Graphormer's released collator and encoder, in plain torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.encoders.categories import atom_rows
from ms2img.massformer.encoders.graphormer import DEGREES, Graphormer, GraphormerLayer
from ms2img.massformer.encoders.pairs import READOUT_HOPS, bond_kinds
from ms2img.massformer.model import SpectrumModel
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.graph import ATOM_SIZES, MAX_PATH


def collate(features: Sequence[MoleculeFeatures]) -> dict[str, Tensor]:
    """Every graph padded to the n atoms of the largest, one after the other.

    atoms [m, n, features], degrees [m, n], hops [m, n + 1, n + 1], steps [m, n + 1, n + 1, MAX_PATH] (0: none, else
    1 + kind of bond), padding bool [m, n + 1].
    """
    n = max(one.graph.n_atoms for one in features)
    stacked: dict[str, list[Tensor]] = {name: [] for name in ("atoms", "degrees", "hops", "steps", "padding")}
    for one in features:
        graph, size = one.graph, one.graph.n_atoms
        atoms = torch.zeros(n, len(ATOM_SIZES), dtype=torch.int64)
        atoms[:size] = torch.from_numpy(atom_rows(graph))
        degrees = torch.zeros(n, dtype=torch.int64)
        degrees[:size] = torch.from_numpy(np.minimum(graph.degrees, DEGREES - 1).astype(np.int64))
        hops = torch.full((n + 1, n + 1), READOUT_HOPS, dtype=torch.int64)
        hops[1 : size + 1, 1 : size + 1] = torch.from_numpy(graph.distances.astype(np.int64))
        steps = torch.zeros(n + 1, n + 1, MAX_PATH, dtype=torch.int64)
        kinds = np.append(1 + bond_kinds(graph), 0)
        steps[1 : size + 1, 1 : size + 1] = torch.from_numpy(kinds[graph.paths])
        padding = torch.arange(n + 1) > size
        for name, tensor in zip(stacked, (atoms, degrees, hops, steps, padding), strict=True):
            stacked[name].append(tensor)
    return {name: torch.stack(tensors) for name, tensors in stacked.items()}


def predict(model: SpectrumModel, batch: SpectrumBatch) -> Tensor:
    """What ``model(batch)`` predicts, the long way; `batch` holds molecules of `collate`, one a spectrum."""
    encoder = cast("Graphormer", model.encoder)
    molecules = batch.molecules
    atoms = encoder.atoms(molecules["atoms"]).sum(dim=2) + encoder.degrees(molecules["degrees"])
    state = torch.cat([encoder.readout.expand(len(atoms), 1, -1), atoms], dim=1)
    state = encoder.dropout(encoder.enter(state))
    bias = _bias(encoder, molecules)
    for layer in encoder.layers:
        state = _layer(cast("GraphormerLayer", layer), state, bias)
    return model.spectra(encoder.leave(state[:, 0]), batch)


def _bias(encoder: Graphormer, molecules: dict[str, Tensor]) -> Tensor:
    """[m, heads, n + 1, n + 1]; a lookup for every pair and every step of its path, as Graphormer's `GraphAttnBias`."""
    bonds = encoder.bias.bonds(encoder.bias.kinds).sum(dim=1)
    terms = functional.pad(torch.einsum("phd,kd->pkh", encoder.bias.places, bonds), (0, 0, 1, 0))
    steps = molecules["steps"]
    rows = steps + terms.shape[1] * torch.arange(MAX_PATH, device=steps.device)
    edges = functional.embedding(rows, terms.flatten(0, 1)).sum(dim=3)  # [m, n + 1, n + 1, heads]
    length = (steps > 0).sum(dim=3, keepdim=True).clamp(min=1)
    bias = (encoder.bias.hops(molecules["hops"]) + edges / length).permute(0, 3, 1, 2)
    return bias.masked_fill(molecules["padding"][:, None, None], -torch.inf)


def _layer(layer: GraphormerLayer, state: Tensor, bias: Tensor) -> Tensor:
    """One layer, norms first, on all nodes, its attention written out."""
    attention = layer.attention
    query, key, value = attention.project(layer.attention_norm(state)).chunk(3, dim=-1)
    query, key, value = (part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in (query, key, value))
    weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias, dim=-1)
    weights = functional.dropout(weights, attention.dropout, layer.training)
    mixed = attention.leave((weights @ value).transpose(1, 2).flatten(2))
    state = state + layer.dropout(mixed)
    return cast("Tensor", state + layer.feed_forward(layer.feed_forward_norm(state)))
