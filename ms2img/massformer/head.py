"""Embedding and conditions to a spectrum: the head that all four models share (MassFormer, sections 3.3 and 4.2).

What the paper leaves open follows the released code (``model.Predictor``), which follows NEIMS (Wei et al. 2019):
blocks with a bottleneck, and a prediction from both ends. One vector counts bins from 0, the other counts losses back
from the precursor, so that a neutral loss has one place whatever the molecule's mass; a gate mixes them bin by bin.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.massformer.spectrum import EDGE

NORMS = ("batch", "layer")
OUTPUTS = ("relu", "softplus")
#: Hidden width of a block over its width; released code, from NEIMS.
BOTTLENECK = 0.5
#: Da above the precursor m/z where a peak of its own isotopes may stand, in presets of ours: M + 1. The released code
#: allows none (``prec_mass_offset: 0``), NEIMS 5.
ISOTOPE_MARGIN = 1.0


class Block(nn.Module):
    """norm, LeakyReLU, dropout, dense, norm, LeakyReLU, dense (released code, ``NeimsBlock``), added to its input."""

    def __init__(self, width: int, *, dropout: float, norm: str, skip: bool) -> None:
        super().__init__()
        hidden = round(BOTTLENECK * width)
        make = nn.BatchNorm1d if norm == "batch" else nn.LayerNorm
        self.skip = skip
        self.layers = nn.Sequential(
            make(width),
            nn.LeakyReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, hidden),
            make(hidden),
            nn.LeakyReLU(),
            nn.Linear(hidden, width),
        )

    def forward(self, state: Tensor) -> Tensor:
        """[b, width] -> [b, width]."""
        change: Tensor = self.layers(state)
        return state + change if self.skip else change


class SpectrumHead(nn.Module):
    """Embeddings and conditions to spectra.

    Parameters
    ----------
    embedding, conditions: columns of the two inputs.
    width, layers: of the blocks.
    n_bins, bin_width: of the spectrum; Da.
    margin: Da above the precursor that are predicted, see `ISOTOPE_MARGIN`. It counts in whole bins, rounded up.
    dropout, norm, skip: see `Block`; `norm` is one of `NORMS`.
    output: one of `OUTPUTS`. Where "relu" (released code) is 0 it has no gradient: a bin that a spectrum has lost stays
        lost, and 20 molecules cannot be learned by heart; "softplus" can.
    """

    def __init__(
        self,
        *,
        embedding: int,
        conditions: int,
        width: int,
        layers: int,
        n_bins: int,
        bin_width: float,
        margin: float,
        dropout: float,
        norm: str,
        skip: bool,
        output: str,
    ) -> None:
        super().__init__()
        self.n_bins = n_bins
        self.bin_width = bin_width
        self.margin_bins = math.ceil(margin / bin_width - 1e-9)
        self.activation = functional.relu if output == "relu" else functional.softplus
        # One dense layer on the two side by side, in its two halves: the molecules' half is computed once a molecule.
        self.enter_molecule = nn.Linear(embedding, width, bias=False)
        self.enter_condition = nn.Linear(conditions, width)
        self.blocks = nn.Sequential(*(Block(width, dropout=dropout, norm=norm, skip=skip) for _ in range(layers)))
        # Forward, reverse and gate as one product: a third of the calls.
        self.leave = nn.Linear(width, 3 * n_bins)

    def forward(self, embeddings: Tensor, molecule_rows: Tensor, conditions: Tensor, precursor_mz: Tensor) -> Tensor:
        """Embeddings [m, d]; which of them int64 [b], conditions [b, c] and precursor Da [b] of each spectrum.

        Returns [b, n_bins], float32 also where the layers compute in less: >= 0, and 0 in every bin above `last_bins`.
        """
        state = self.enter_molecule(embeddings).index_select(0, molecule_rows) + self.enter_condition(conditions)
        thirds: Tensor = self.leave(self.blocks(state))
        thirds = thirds.to(torch.promote_types(thirds.dtype, torch.float32))
        forward, reverse, gate = thirds.chunk(3, dim=1)
        last = self.last_bins(precursor_mz)
        mixed = torch.lerp(counted_back(reverse, last), forward, torch.sigmoid(gate))
        inside = torch.arange(self.n_bins, device=last.device) <= last[:, None]
        return self.activation(mixed) * inside

    def last_bins(self, precursor_mz: Tensor) -> Tensor:
        """int64 [b]: the last bin that may hold a peak, that of the precursor m/z plus the margin; may be >= n_bins."""
        return torch.floor(precursor_mz.double() / self.bin_width + EDGE).long() + self.margin_bins


def counted_back(reverse: Tensor, last: Tensor) -> Tensor:
    """Bin j of row i takes ``reverse[i, last[i] - j]``, and 0 where that is before or after the row.

    reverse: [b, bins]; last: int64 [b].
    """
    n_bins = reverse.shape[1]
    place = last[:, None] - torch.arange(n_bins, device=last.device)
    inside = (place >= 0) & (place < n_bins)
    return reverse.gather(1, place.clamp(0, n_bins - 1)) * inside
