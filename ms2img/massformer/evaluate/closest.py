"""Which spectrum of a molecule was taken under the conditions closest to those asked for.

The rule, wherever real spectra stand in for others (distractors of the ranking, the nearest-neighbour floor): the same
adduct; of these the smallest difference of the collision energies, in the unit that is asked in (eV or NCE; a library
has both); of equals the same instrument type first, then the first row. An unknown energy is infinitely far from a
known one, and equal to another unknown one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.conditions import Condition


@dataclass(frozen=True)
class Conditions:
    """The conditions of n real spectra: adduct and instrument type [n], the energy in both units [n], NaN: unknown."""

    adduct: NDArray[np.str_]
    instrument: NDArray[np.str_]
    energy_ev: NDArray[np.float64]
    energy_nce: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.adduct)

    def energy(self, unit: str) -> NDArray[np.float64]:
        """The energies in "eV" or "NCE": [n]."""
        return self.energy_ev if unit == "eV" else self.energy_nce


def closest_rows(
    condition: Condition, *, of: Conditions, molecule: NDArray[np.int64], within: float = np.inf
) -> NDArray[np.intp]:
    """For every molecule with a spectrum of the adduct, the row of its closest one: rows by rising molecule.

    molecule: [n] of the spectra in `of`. within: leaves out molecules whose closest differs by more, in the unit of
    `condition`.
    """
    rows = np.flatnonzero(of.adduct == condition.adduct)
    off = energy_difference(condition.energy, of.energy(condition.energy_unit)[rows])
    order = np.lexsort((rows, of.instrument[rows] != condition.instrument_type, off, molecule[rows]))
    rows, off = rows[order], off[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = molecule[rows][1:] != molecule[rows][:-1]
    return rows[first & (off <= within)]


def energy_difference(energy: float | None, others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute differences [n]; of an unknown (None, NaN) and a known energy infinity, of two unknown ones 0."""
    if energy is None:
        return np.where(np.isnan(others), 0.0, np.inf)
    return np.where(np.isnan(others), np.inf, np.abs(others - energy))


def rows_by_condition(conditions: Sequence[Condition]) -> dict[Condition, NDArray[np.intp]]:
    """Rows by the condition they share, in the order in which conditions first occur."""
    rows: dict[Condition, list[int]] = {}
    for row, condition in enumerate(conditions):
        rows.setdefault(condition, []).append(row)
    return {condition: np.array(found, dtype=np.intp) for condition, found in rows.items()}
