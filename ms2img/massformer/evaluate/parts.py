"""The real spectra of one part of a library (test, training, a held-out library), as arrays a row a spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.closest import Conditions
from ms2img.massformer.spectrum import SpectrumConfig, binned

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """n real spectra of the molecules of one part, in the order of molecule_id and spectrum_id."""

    spectrum_id: tuple[str, ...]
    molecule_id: tuple[str, ...]  # [n]
    condition: tuple[Condition, ...]  # [n], what a model is asked for
    conditions: Conditions  # [n], what closeness is judged by
    precursor_mz: NDArray[np.float64]  # [n]
    spectra: NDArray[np.float32]  # [n, bins], untransformed
    smiles: dict[str, str]  # of every molecule
    exact_mass: dict[str, float]  # of every molecule, Da

    def __len__(self) -> int:
        return len(self.spectrum_id)

    @property
    def molecules(self) -> list[str]:
        """The molecules that have a spectrum here, sorted."""
        return sorted(set(self.molecule_id))

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Of each spectrum, what is kept apart when energies are merged: adduct and instrument type (section 4.4)."""
        return [(each.adduct, each.instrument_type) for each in self.condition]

    def molecule_numbers(self) -> NDArray[np.int64]:
        """Of each spectrum, the number of its molecule in `molecules`: [n]."""
        return np.searchsorted(np.array(self.molecules), np.array(self.molecule_id)).astype(np.int64)


def part_of(molecules: pa.Table, spectra: pa.Table, config: SpectrumConfig) -> Part:
    """All the spectra given, binned. `molecules`, `spectra`: tables of a library (`library.tables`), which may be
    filtered: `ms2img.massformer.selection` does."""
    rows = sorted(spectra.to_pylist(), key=lambda row: (row["molecule_id"], row["spectrum_id"]))
    known = {row["molecule_id"]: row for row in molecules.to_pylist()}
    used = sorted({row["molecule_id"] for row in rows})
    arrays = [binned(np.asarray(row["mz"]), np.asarray(row["intensity"]), config) for row in rows]
    return Part(
        spectrum_id=tuple(row["spectrum_id"] for row in rows),
        molecule_id=tuple(row["molecule_id"] for row in rows),
        condition=tuple(_condition(row) for row in rows),
        conditions=Conditions(
            adduct=np.array([row["adduct"] for row in rows], dtype=np.str_),
            instrument=np.array([row["instrument_type"] for row in rows], dtype=np.str_),
            energy_ev=np.array([row["energy_ev"] for row in rows], dtype=np.float64),
            energy_nce=np.array([row["energy_nce"] for row in rows], dtype=np.float64),
        ),
        precursor_mz=np.array([row["precursor_mz"] for row in rows], dtype=np.float64),
        spectra=np.stack(arrays) if arrays else np.zeros((0, config.n_bins), dtype=np.float32),
        smiles={name: known[name]["smiles"] for name in used},
        exact_mass={name: known[name]["exact_mass"] for name in used},
    )


def _condition(row: dict[str, Any]) -> Condition:
    return Condition(
        adduct=row["adduct"],
        energy=row["energy_ev"] if row["energy_unit"] == "eV" else row["energy_nce"],
        energy_unit=row["energy_unit"] or "NCE",  # of an unknown energy none is stated
        instrument_type=row["instrument_type"],
    )
