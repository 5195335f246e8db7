"""Predicted spectra as a library: MSP in MS-DIAL's field names, MGF in matchms's, or a table.

Every spectrum says that it was predicted, and by which model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ms2img.massformer.library.adducts import parse_adduct

MAKER = "predicted by ms2img, model"

#: One row a predicted spectrum.
PREDICTED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # of the molecule, as the input has it
        pa.field("smiles", pa.string(), nullable=False),  # canonical, without stereochemistry
        pa.field("inchikey", pa.string(), nullable=False),  # of `smiles`
        pa.field("formula", pa.string(), nullable=False),  # Hill order
        pa.field("adduct", pa.string(), nullable=False),  # "[M+H]+"
        pa.field("precursor_mz", pa.float64(), nullable=False),  # Da / charge
        pa.field("collision_energy", pa.float64()),  # in `energy_unit`; null: not stated
        pa.field("energy_unit", pa.string(), nullable=False),  # "NCE" | "eV"
        pa.field("instrument_type", pa.string(), nullable=False),  # "" where not stated
        pa.field("mz", pa.list_(pa.float64()), nullable=False),  # one m/z a bin, Da
        pa.field("intensity", pa.list_(pa.float32()), nullable=False),  # base peak 1000
        pa.field("model_version", pa.string(), nullable=False),  # hash of the model's bundle
    ]
)


@dataclass(frozen=True)
class PredictedSpectrum:
    """A row of `PREDICTED`; `peaks`: (m/z, intensity)."""

    id: str
    smiles: str
    inchikey: str
    formula: str
    adduct: str
    precursor_mz: float
    collision_energy: float | None
    energy_unit: str
    instrument_type: str
    peaks: Sequence[tuple[float, float]]
    model_version: str

    @property
    def energy(self) -> str:
        """The collision energy with its unit; empty where it is not stated."""
        return "" if self.collision_energy is None else f"{self.collision_energy:g} {self.energy_unit}"


def msp(spectra: Iterable[PredictedSpectrum]) -> bytes:
    """Entries of an MSP library, as MS-DIAL, mzmine and matchms read it."""
    return "".join(_msp_entry(spectrum) for spectrum in spectra).encode()


def mgf(spectra: Iterable[PredictedSpectrum]) -> bytes:
    """Entries of an MGF library, keys as matchms and mzmine have them."""
    return "".join(_mgf_entry(spectrum) for spectrum in spectra).encode()


def table(spectra: Iterable[PredictedSpectrum]) -> pa.Table:
    """The spectra as a table of schema `PREDICTED`."""
    rows = [
        {
            **{name: getattr(spectrum, name) for name in PREDICTED.names if name not in ("mz", "intensity")},
            "mz": [mz for mz, _ in spectrum.peaks],
            "intensity": [intensity for _, intensity in spectrum.peaks],
        }
        for spectrum in spectra
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTED)


def _msp_entry(spectrum: PredictedSpectrum) -> str:
    fields = {
        "NAME": spectrum.id,
        "PRECURSORMZ": f"{spectrum.precursor_mz:.5f}",
        "PRECURSORTYPE": spectrum.adduct,
        "IONMODE": parse_adduct(spectrum.adduct).polarity.capitalize(),
        "FORMULA": spectrum.formula,
        "SMILES": spectrum.smiles,
        "INCHIKEY": spectrum.inchikey,
        "INSTRUMENTTYPE": spectrum.instrument_type,
        "COLLISIONENERGY": spectrum.energy,
        "COMMENT": f"{MAKER} {spectrum.model_version}",
        "Num Peaks": str(len(spectrum.peaks)),
    }
    lines = [f"{key}: {_line(value)}" for key, value in fields.items() if value]
    return "\n".join([*lines, *(f"{mz:.4f}\t{intensity:.2f}" for mz, intensity in spectrum.peaks), "", ""])


def _mgf_entry(spectrum: PredictedSpectrum) -> str:
    adduct = parse_adduct(spectrum.adduct)
    fields = {
        "TITLE": spectrum.id,
        "PEPMASS": f"{spectrum.precursor_mz:.5f}",
        "CHARGE": f"{abs(adduct.charge)}{'+' if adduct.charge > 0 else '-'}",
        "MSLEVEL": "2",
        "IONMODE": adduct.polarity,
        "COMPOUND_NAME": spectrum.id,
        "ADDUCT": spectrum.adduct,
        "FORMULA": spectrum.formula,
        "SMILES": spectrum.smiles,
        "INCHIKEY": spectrum.inchikey,
        "INSTRUMENT_TYPE": spectrum.instrument_type,
        "COLLISION_ENERGY": spectrum.energy,
        "COMMENT": f"{MAKER} {spectrum.model_version}",
    }
    lines = [f"{key}={_line(value)}" for key, value in fields.items() if value]
    peaks = [f"{mz:.4f} {intensity:.2f}" for mz, intensity in spectrum.peaks]
    return "\n".join(["BEGIN IONS", *lines, *peaks, "END IONS", "", ""])


def _line(text: str) -> str:
    """A foreign text as one line, whatever it held."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
