"""One part of a prediction: rows to the content of a library. The same here and in a Ray worker; free of Ray."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ms2img.massformer.conditions import Condition
from ms2img.massformer.peaks import PeakRule, peaks_of
from ms2img.massformer.predicted import PredictedSpectrum, mgf, msp, table
from pipelines.massformer.molecule_rows import MoleculeRow
from pipelines.shipped_model import Model, loaded

if TYPE_CHECKING:
    from ms2img.massformer.predictor import SpectrumPredictor
    from ms2img.massformer.questions import Molecule

NO_PEAKS = ("no_peaks", "the model predicts no peak")
Refusal = dict[str, str | int]  # row, id, smiles, code, message


@dataclass(frozen=True)
class Asked:
    """What is asked of every molecule; `kind`: "msp", "mgf" or "parquet"."""

    adducts: tuple[str, ...]
    energies: tuple[float, ...]
    energy_unit: str
    instrument_type: str
    peaks: PeakRule
    kind: str

    def key(self, rows: Sequence[MoleculeRow], model_version: str) -> str:
        """A hash of all that a part's content follows from."""
        said = [repr(self), model_version, *(repr(row) for row in rows)]
        return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class PartResult:
    """`content`: of the part's spectra, in the library's format. `refused`: one for a molecule, or for its adduct."""

    content: bytes
    molecules: int
    spectra: int
    refused: list[Refusal]


def predict_part(rows: Sequence[MoleculeRow], asked: Asked, predictor: SpectrumPredictor) -> PartResult:
    """Predict the rows' spectra, in the order of rows, adducts and energies.

    On one thread: sums split over threads round differently from machine to machine.
    """
    owners: list[MoleculeRow] = []
    conditions: list[Condition] = []
    refused: list[Refusal] = []
    for row in rows:
        energies = _energies(row, asked)
        if energies is None:
            refused.append(_refusal(row, "energy", f"'{row.energy}'; expected a number, 0 or more"))
            continue
        for adduct in (row.adduct,) if row.adduct else asked.adducts:
            owners += [row] * len(energies)
            conditions += [Condition(adduct, energy, asked.energy_unit, asked.instrument_type) for energy in energies]
    answer = predictor.answer([row.smiles for row in owners], conditions, threads=1)
    spectra: list[PredictedSpectrum] = []
    answered: set[int] = set()
    for at, (row, condition) in enumerate(zip(owners, conditions, strict=True)):
        peaks = [] if at in answer.errors else peaks_of(answer.spectra[at], predictor.spectrum, asked.peaks)
        if at in answer.errors or not peaks:
            code, _, message = answer.errors.get(at, ": ".join(NO_PEAKS)).partition(": ")
            refused.append(_refusal(row, code, message))
            continue
        answered.add(row.row)
        molecule, mz = answer.molecules[row.smiles], float(answer.precursor_mz[at])
        spectra.append(_spectrum(row, condition, molecule, mz, peaks, predictor.model_version))
    return PartResult(
        content=_content(spectra, asked.kind),
        molecules=len(answered),
        spectra=len(spectra),
        refused=sorted((json.loads(text) for text in {json.dumps(each) for each in refused}), key=_order),
    )


def predictor_of(model: Model, *, gpu: bool) -> SpectrumPredictor:
    """The model, loaded once in a worker process."""
    from ms2img.massformer.bundle import load_bundle

    found: SpectrumPredictor = loaded(model, load_bundle)
    if gpu:
        found.model.to("cuda")
    return found


def _spectrum(
    row: MoleculeRow,
    condition: Condition,
    molecule: Molecule,
    precursor_mz: float,
    peaks: Sequence[tuple[float, float]],
    model_version: str,
) -> PredictedSpectrum:
    return PredictedSpectrum(
        id=row.id,
        smiles=molecule.smiles,
        inchikey=molecule.inchikey,
        formula=molecule.formula,
        adduct=condition.adduct,
        precursor_mz=precursor_mz,
        collision_energy=condition.energy,
        energy_unit=condition.energy_unit,
        instrument_type=condition.instrument_type,
        peaks=peaks,
        model_version=model_version,
    )


def _energies(row: MoleculeRow, asked: Asked) -> tuple[float, ...] | None:
    """The row's own energy, else those asked for; None where it states one that is none."""
    if row.energy is None:
        return asked.energies
    try:
        energy = float(row.energy)
    except ValueError:
        return None
    return (energy,) if math.isfinite(energy) and energy >= 0 else None


def _refusal(row: MoleculeRow, code: str, message: str) -> Refusal:
    return {"row": row.row, "id": row.id, "smiles": row.smiles, "code": code, "message": message}


def _order(refusal: Refusal) -> tuple[int, str]:
    return int(refusal["row"]), str(refusal["message"])


def _content(spectra: Sequence[PredictedSpectrum], kind: str) -> bytes:
    if kind != "parquet":
        return msp(spectra) if kind == "msp" else mgf(spectra)
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table(spectra), sink)
    return sink.getvalue()
