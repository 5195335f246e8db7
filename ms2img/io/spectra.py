"""From single spectra to a checked `SPECTRA` table; what every reader ends in."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.schema import SPECTRA, require

#: What one file says of its spectra, before a run's name is put on them.
UNNAMED = pa.schema([field for field in SPECTRA if field.name != "sample_id"])
_SCALARS = [field for field in UNNAMED if not pa.types.is_list(field.type)]

_ADDUCT_CHARGE = re.compile(r"\](\d{0,3})([+-])$")  # "[M+2H]2+" -> "2", "+"


def charge_of_adduct(adduct: str | None) -> int | None:
    """The signed charge an adduct's notation ends in: ``[M+2H]2+`` is 2, ``[M-H]-`` is -1; None if it has none."""
    found = _ADDUCT_CHARGE.search(adduct or "")
    if found is None:
        return None
    size = int(found[1] or "1")
    return (size if found[2] == "+" else -size) if size <= np.iinfo(np.int8).max else None


class SpectraBuilder:
    """Collects spectra in file order (8 bytes a number, no Python objects), then checks them all at once.

    `position` of `append` says where in the file the spectrum stands; it appears in the message of a refusal.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._positions: list[str] = []
        self._columns: dict[str, list[object]] = {field.name: [] for field in _SCALARS}
        self._mz = array("d")
        self._intensity = array("d")
        self._offsets = array("i", [0])

    def __len__(self) -> int:
        return len(self._positions)

    def append(
        self,
        position: str,
        *,
        spectrum_id: str,
        precursor_mz: float,
        mz: Sequence[float],
        intensity: Sequence[float],
        precursor_intensity: float | None = None,
        rt_seconds: float | None = None,
        charge: int | None = None,
        adduct: str | None = None,
        polarity: str | None = None,
        collision_energy: str | None = None,
    ) -> None:
        """Add one spectrum; `mz` and `intensity` are equally long and may be empty.

        A missing charge is taken from the adduct, a missing polarity from the charge's sign.
        """
        charge = charge if charge is not None else charge_of_adduct(adduct)
        if polarity is None and charge is not None:
            polarity = "positive" if charge > 0 else "negative"
        values = (
            spectrum_id,
            precursor_mz,
            precursor_intensity,
            rt_seconds,
            charge,
            adduct,
            polarity,
            collision_energy,
        )
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        self._positions.append(position)
        self._mz.extend(mz)
        self._intensity.extend(intensity)
        self._offsets.append(len(self._mz))

    def table(self) -> pa.Table:
        """All spectra, schema `UNNAMED`.

        Raises `RunError` BAD_VALUE with the position of the first precursor, fragment or intensity that is not finite,
        or negative; a precursor m/z of 0 is refused too, unless the spectrum has no peaks.
        """
        mz, intensity = np.frombuffer(self._mz), np.frombuffer(self._intensity)
        with np.errstate(over="ignore"):
            intensity32 = intensity.astype(np.float32)
        self._refuse_peaks("fragment m/z", mz, ~(np.isfinite(mz) & (mz >= 0)))
        self._refuse_peaks("fragment intensity", intensity, ~(np.isfinite(intensity32) & (intensity >= 0)))

        precursor_mz = np.array(self._columns["precursor_mz"], dtype=np.float64)
        # mzmine writes PEPMASS=0 for a feature without MS/MS: harmless while there is no peak to place.
        is_empty = np.diff(np.frombuffer(self._offsets, dtype=np.int32)) == 0
        is_sound = np.isfinite(precursor_mz) & ((precursor_mz > 0) | (is_empty & (precursor_mz == 0)))
        self._refuse_spectra("precursor m/z", precursor_mz, ~is_sound)
        height = np.array([0.0 if h is None else h for h in self._columns["precursor_intensity"]], dtype=np.float64)
        self._refuse_spectra("precursor intensity", height, ~(np.isfinite(height) & (height >= 0)))

        offsets = pa.array(np.frombuffer(self._offsets, dtype=np.int32))
        columns = [pa.array(self._columns[field.name], field.type) for field in _SCALARS]
        columns += [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (mz, intensity32)]
        return pa.Table.from_arrays(columns, schema=UNNAMED)

    def _refuse_peaks(self, what: str, values: np.ndarray, bad: np.ndarray) -> None:
        if bad.any():
            index = int(bad.argmax())
            spectrum = int(np.searchsorted(np.frombuffer(self._offsets, dtype=np.int32), index, side="right")) - 1
            self._refuse(what, values[index], spectrum)

    def _refuse_spectra(self, what: str, values: np.ndarray, bad: np.ndarray) -> None:
        if bad.any():
            index = int(bad.argmax())
            self._refuse(what, values[index], index)

    def _refuse(self, what: str, value: float, spectrum: int) -> None:
        message = f"{what} {value:g} is impossible: expected a finite number above 0 (an intensity may be 0)"
        raise RunError(Code.BAD_VALUE, message, path=self._path, position=self._positions[spectrum])


def name_sample(spectra: pa.Table, sample_id: str) -> pa.Table:
    """Put the run's name on every row of an `UNNAMED` table; the result's schema is `SPECTRA`."""
    names = pa.array([sample_id], pa.string()).take(pa.array(np.zeros(len(spectra), dtype=np.int64)))
    named = pa.Table.from_arrays([names, *spectra.columns], schema=SPECTRA)
    return require(named, SPECTRA, what="spectra table")
