"""Which atoms a MassFormer looks at (MassFormer, section 3.4, "Attention Map")."""

from __future__ import annotations

import torch
from torch import Tensor

from ms2img.errors import UsageError
from ms2img.massformer.encoders.graphormer import Graphormer
from ms2img.massformer.model import SpectrumModel


def atom_attention(model: SpectrumModel, molecules: dict[str, Tensor]) -> Tensor:
    """Attention on each atom, float32 [m, n], every row summing to 1; 0 for padding.

    The product of the layers' attention, each averaged over its heads: entry (i, j) of the product is what node i of
    the last layer takes, over all ways through the layers, from node j of the input. Of it the row of the readout node,
    without the readout node itself, normalised.

    molecules: of `batching.collate`. Raises `UsageError` for a model that has no attention.
    """
    if not isinstance(model.encoder, Graphormer):
        raise UsageError(f"attention maps: a model of kind '{model.config.kind}' has no attention; expected massformer")
    training = model.training
    model.eval()
    with torch.inference_mode():
        layers = [weights.mean(dim=1) for weights in model.encoder.attention(molecules)]
    model.train(training)
    row = layers[-1][:, :1]
    for weights in reversed(layers[:-1]):
        row = row @ weights
    atoms = row[:, 0, 1:]
    return (atoms / atoms.sum(dim=1, keepdim=True)).float()
