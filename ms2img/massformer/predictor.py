"""SMILES and conditions in, spectra out: what a loaded model does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ms2img.errors import UsageError
from ms2img.learn.hardware import torch_threads
from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.batching import collate
from ms2img.massformer.conditions import Condition, ConditionVocabulary
from ms2img.massformer.library.adducts import parse_adduct
from ms2img.massformer.model import SpectrumModel
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.selfies_tokens import SelfiesVocabulary
from ms2img.massformer.questions import (
    PAPER_STRUCTURES,
    Molecule,
    Structures,
    conditions_of,
    encoded,
    molecules_of,
)
from ms2img.massformer.spectrum import SpectrumConfig, untransformed

if TYPE_CHECKING:
    import pyarrow as pa

MOLECULES_AT_ONCE = 64  # encoded together, those of like size (ours)
SPECTRA_AT_ONCE = 1024  # predicted together (ours): 4 MB of float32 at 1 Da


@dataclass(frozen=True, eq=False)
class Predicted:
    """The answer to n rows.

    spectra: float32 [n, bins], zeros where the row is refused. precursor_mz: float64 [n], NaN where the molecule is
    refused or the adduct not understood. molecules: by SMILES as given. errors: by row, "code: message".
    """

    spectra: NDArray[np.float32]
    precursor_mz: NDArray[np.float64]
    molecules: Mapping[str, Molecule]
    errors: Mapping[int, str]


class SpectrumPredictor:
    """A model together with what it takes to ask it. On a GPU after ``predictor.model.to("cuda")``."""

    def __init__(
        self,
        model: SpectrumModel,
        *,
        spectrum: SpectrumConfig,
        vocabulary: ConditionVocabulary,
        selfies: SelfiesVocabulary,
        model_version: str,
        structures: Structures = PAPER_STRUCTURES,
    ) -> None:
        self.model = model.eval()
        self.spectrum = spectrum
        self.vocabulary = vocabulary
        self.selfies = selfies
        self.model_version = model_version
        self.structures = structures

    def predict(self, smiles: Sequence[str], conditions: pa.Table | Sequence[Condition]) -> NDArray[np.float32]:
        """Spectra float32 [n, bins] of n molecules under n conditions: untransformed, base peak 1.

        conditions: a `Condition` a row, or a table with the columns of LIBRARY_SPECTRA. Raises `UsageError` for the
        first row that is refused; `answer` tells of every row.
        """
        return self.spectra(smiles, conditions)

    def spectra(
        self, smiles: Sequence[str], conditions: pa.Table | Sequence[Condition], *, transformed: bool = False
    ) -> NDArray[np.float32]:
        """As `predict`; `transformed`: as the model was trained on them, for cosine similarities."""
        answer = self.answer(smiles, conditions, transformed=transformed)
        for row, error in sorted(answer.errors.items()):
            raise UsageError(f"row {row + 1}: {error}")
        return answer.spectra

    def answer(
        self,
        smiles: Sequence[str],
        conditions: pa.Table | Sequence[Condition],
        *,
        transformed: bool = False,
        threads: int | None = None,
    ) -> Predicted:
        """As `predict`, with what is known of each molecule, and the refused rows told apart.

        threads: of the CPU; with one, equal rows in equal order give equal numbers on every machine of a kind.
        """
        listed = conditions if isinstance(conditions, Sequence) else conditions_of(conditions)
        if len(smiles) != len(listed):
            raise UsageError(f"{len(smiles)} molecules and {len(listed)} conditions; expected one each a row")
        molecules, refused = molecules_of(smiles, self.model.config.kind, self.structures)
        errors = {row: refused[each] for row, each in enumerate(smiles) if each in refused}
        precursor_mz = np.full(len(smiles), np.nan)
        for row, condition in enumerate(listed):
            if row in errors:
                continue
            if condition.adduct not in self.vocabulary.adducts:
                known = ", ".join(self.vocabulary.adducts)
                errors[row] = f"adduct: '{condition.adduct}' is none of those that the model knows ({known})"
            else:
                precursor_mz[row] = parse_adduct(condition.adduct).mz(molecules[smiles[row]].exact_mass)
        kept = np.array([row for row in range(len(smiles)) if row not in errors], dtype=np.int64)
        spectra = np.zeros((len(smiles), self.spectrum.n_bins), dtype=np.float32)
        if len(kept):
            names = list(molecules)
            place = {name: number for number, name in enumerate(names)}
            spectra[kept] = self.of_features(
                [molecules[name].features for name in names],
                np.array([place[smiles[row]] for row in kept]),
                encoded(self.vocabulary, [listed[row] for row in kept], precursor_mz[kept]),
                precursor_mz[kept],
                transformed=transformed,
                threads=threads,
            )
        return Predicted(spectra, precursor_mz, molecules, errors)

    def of_features(
        self,
        features: Sequence[MoleculeFeatures],
        molecule_of: NDArray[np.int64],
        conditions: NDArray[np.float32],
        precursor_mz: NDArray[np.float64],
        *,
        transformed: bool = False,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        """Spectra float32 [n, bins] of molecules whose features are at hand, each encoded once.

        molecule_of: int [n], the molecule of each row. conditions: float32 [n, c] of `ConditionVocabulary.encode_all`.
        """
        spectra = np.zeros((len(molecule_of), self.spectrum.n_bins), dtype=np.float32)
        by_molecule = _rows_by_molecule(molecule_of)
        by_size = sorted(by_molecule, key=lambda number: (features[number].graph.n_atoms, number))
        with torch.inference_mode(), torch_threads(threads):
            for start in range(0, len(by_size), MOLECULES_AT_ONCE):
                numbers = by_size[start : start + MOLECULES_AT_ONCE]
                rows = np.concatenate([by_molecule[number] for number in numbers])
                owners = np.repeat(np.arange(len(numbers)), [len(by_molecule[number]) for number in numbers])
                some_features = [features[number] for number in numbers]
                molecules = collate(self.model.config.kind, some_features, selfies=self.selfies, device=self._device)
                embeddings = self.model.encode(molecules)
                for first in range(0, len(rows), SPECTRA_AT_ONCE):
                    some = slice(first, first + SPECTRA_AT_ONCE)
                    batch = self._batch(molecules, owners[some], conditions[rows[some]], precursor_mz[rows[some]])
                    spectra[rows[some]] = self.model.spectra(embeddings, batch).float().cpu().numpy()
        if transformed:
            sums = spectra.sum(axis=1, keepdims=True)
            return np.divide(spectra, sums, out=np.zeros_like(spectra), where=sums > 0)
        return untransformed(spectra, self.spectrum)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _batch(
        self,
        molecules: dict[str, torch.Tensor],
        owners: NDArray[np.int64],
        conditions: NDArray[np.float32],
        precursor_mz: NDArray[np.float64],
    ) -> SpectrumBatch:
        n = len(owners)
        return SpectrumBatch(
            molecules=molecules,
            molecule_rows=torch.from_numpy(owners).to(self._device),
            conditions=torch.from_numpy(conditions).to(self._device),
            precursor_mz=torch.from_numpy(precursor_mz.astype(np.float32)).to(self._device),
            target=torch.empty((n, 0), device=self._device),
            size=n,
            weight=1.0,
            rows=torch.arange(n),
        )


def _rows_by_molecule(molecule_of: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(molecule_of, kind="stable")
    numbers, starts = np.unique(molecule_of[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))
