"""What a model is given at a time: molecules once each, and the spectra that are asked of them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SpectrumBatch(NamedTuple):
    """This worker's part of a batch of b spectra of m molecules.

    molecules: what the encoder takes, m molecules, each once however many of the spectra are its own; the keys are
        the encoder's (`batching.collate`).
    molecule_rows: int64 [b], which of the m molecules each spectrum is of.
    conditions: float32 [b, c], `ConditionVocabulary.encode`.
    precursor_mz: float32 [b], Da.
    target: float32 [b, bins], transformed (`spectrum.transformed`); [b, 0] where nothing is known, in prediction.
    size: spectra of the whole batch, over all workers.
    weight: makes the mean over the workers of (weight x mean loss of the part) the mean loss of the whole batch; 1 for
        a single worker, 0 for a part that only fills an empty place.
    rows: int64 [b], numbers of the spectra in the arrays that the batches are cut from; on the CPU.
    """

    molecules: dict[str, Tensor]
    molecule_rows: Tensor
    conditions: Tensor
    precursor_mz: Tensor
    target: Tensor
    size: int
    weight: float
    rows: Tensor
