"""Cosine distance between predicted and measured spectra (MassFormer, section 3.5, Eq. 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.learn.objective import autocast
from ms2img.massformer.batch import SpectrumBatch

NORM_FLOOR = 1e-8  # a spectrum of zeros has the cosine 0 with everything (ours)


class CosineObjective:
    """1 - cosine, on spectra as the model predicts them: binned and transformed.

    Parameters
    ----------
    molecule_of: int [n], the molecule of each spectrum of the arrays that the batches are cut from
        (`SpectrumBatch.rows`): the epoch is chosen by the mean over molecules of the mean over their spectra, so that
        one measured at twenty energies counts no more than another.
    """

    measures = ()

    def __init__(self, molecule_of: np.ndarray) -> None:
        self._molecule_of = molecule_of

    def losses(self, model: nn.Module, batch: SpectrumBatch, precision: torch.dtype) -> tuple[Tensor, ...]:
        """Mean cosine distance of the batch's spectra."""
        return (1 - _cosines(model, batch, precision).mean(),)

    def parts(self, batch: SpectrumBatch, size: int) -> list[SpectrumBatch]:
        """See `ms2img.learn.objective.Objective.parts`; molecules stay whole, so each part encodes all of them."""
        n = len(batch.target)
        columns = ("molecule_rows", "conditions", "precursor_mz", "target", "rows")
        pieces = zip(*(torch.split(getattr(batch, name), size) for name in columns), strict=True)
        return [
            batch._replace(**dict(zip(columns, piece, strict=True)), weight=batch.weight * len(piece[0]) / n)
            for piece in pieces
        ]

    def validate(
        self, model: nn.Module, validation: Iterator[SpectrumBatch], precision: torch.dtype
    ) -> dict[str, float]:
        """``validation_cosine``, the mean per molecule, and ``validation_loss``, what it lacks of 1."""
        rows, cosines = spectrum_cosines(model, validation, precision)
        if not len(rows):
            return {}
        if not np.isfinite(cosines).all():
            raise FloatingPointError("the validation predictions are not finite; a lower learning rate may help")
        cosine = float(np.mean(molecule_means(cosines, self._molecule_of[rows])))
        return {"validation_loss": 1 - cosine, "validation_cosine": cosine}


def spectrum_cosines(
    model: nn.Module, batches: Iterable[SpectrumBatch], precision: torch.dtype = torch.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Of every spectrum of some batches its row, and its cosine to the prediction: int64 [n], float64 [n]."""
    rows, cosines = [np.empty(0, np.int64)], [np.empty(0)]
    for batch in batches:
        rows.append(batch.rows.numpy())
        cosines.append(_cosines(model, batch, precision).detach().double().cpu().numpy())
    return np.concatenate(rows), np.concatenate(cosines)


def molecule_means(values: np.ndarray, molecules: np.ndarray) -> np.ndarray:
    """Mean of `values` [n] over the spectra of each molecule, float64 [distinct molecules], by molecule number."""
    _, rows = np.unique(molecules, return_inverse=True)
    sums: np.ndarray = np.bincount(rows, weights=values)
    return sums / np.bincount(rows)


def _cosines(model: nn.Module, batch: SpectrumBatch, precision: torch.dtype) -> Tensor:
    """float32 [b]."""
    with autocast(batch.target.device, precision):
        predicted = model(batch)
    return functional.cosine_similarity(predicted.float(), batch.target.float(), dim=1, eps=NORM_FLOOR)
