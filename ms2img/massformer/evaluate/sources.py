"""What predicted spectra come from: a trained model, or one of the two floors. All are asked in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.floors import nearest_neighbour, precursor_only
from ms2img.massformer.evaluate.parts import Part
from ms2img.massformer.spectrum import SpectrumConfig

#: (SMILES, conditions), one each a row -> untransformed float32 [n, bins].
Predict = Callable[[Sequence[str], Sequence[Condition]], NDArray[np.float32]]


class Source(Protocol):
    """Something that says what the spectrum of a molecule looks like under conditions."""

    @property
    def name(self) -> str:
        """What tables and figures call it."""

    def spectra(self, asked: Asked) -> NDArray[np.float32]:
        """Untransformed spectra [n, bins], a row a question; an empty row where it has no answer."""


class Asked:
    """n questions: molecules (by id, with the tables that describe them) and the conditions of each.

    molecule_id, condition: one a question. precursor_mz: [n], m/z.
    smiles: of every molecule asked for.
    """

    def __init__(
        self,
        molecule_id: Sequence[str],
        condition: Sequence[Condition],
        *,
        precursor_mz: NDArray[np.float64],
        smiles: Mapping[str, str],
    ) -> None:
        self.molecule_id = tuple(molecule_id)
        self.condition = tuple(condition)
        self.precursor_mz = precursor_mz
        self.smiles = smiles

    @classmethod
    def of(cls, part: Part) -> Asked:
        """Each real spectrum's own molecule under its own conditions."""
        return cls(part.molecule_id, part.condition, precursor_mz=part.precursor_mz, smiles=part.smiles)

    def __len__(self) -> int:
        return len(self.molecule_id)


class ModelSource:
    """A trained model; `predict` is `SpectrumPredictor.predict`."""

    def __init__(self, name: str, predict: Predict) -> None:
        self.name = name
        self._predict = predict

    def spectra(self, asked: Asked) -> NDArray[np.float32]:
        """See `Source`."""
        return self._predict([asked.smiles[each] for each in asked.molecule_id], asked.condition)


class PrecursorSource:
    """The precursor's peak and nothing else."""

    name = "precursor only"

    def __init__(self, config: SpectrumConfig) -> None:
        self._config = config

    def spectra(self, asked: Asked) -> NDArray[np.float32]:
        """See `Source`."""
        return precursor_only(asked.precursor_mz, bin_width=self._config.bin_width, n_bins=self._config.n_bins)


class NeighbourSource:
    """The real spectrum of the training molecule most alike by Tanimoto, under the closest conditions."""

    name = "nearest neighbour"

    def __init__(self, training: Part, fingerprints: Mapping[str, NDArray[np.uint8]]) -> None:
        """`fingerprints`: bits of every training molecule and of every molecule that will be asked for."""
        self._training = training
        self._fingerprints = fingerprints
        self._library_bits = np.stack([fingerprints[each] for each in training.molecules])

    def spectra(self, asked: Asked) -> NDArray[np.float32]:
        """See `Source`; empty where the training part has no spectrum of the adduct."""
        names = sorted(set(asked.molecule_id))
        rows = nearest_neighbour(
            np.stack([self._fingerprints[each] for each in names]),
            asked.condition,
            np.searchsorted(np.array(names), np.array(asked.molecule_id)).astype(np.int64),
            library_fingerprint=self._library_bits,
            library=self._training.conditions,
            library_molecule=self._training.molecule_numbers(),
        )
        found = self._training.spectra[rows]
        found[rows < 0] = 0.0
        return found
