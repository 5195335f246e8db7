"""From single spectra to a checked `SPECTRA` table; what every reader ends in."""

from __future__ import annotations

import math
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

MAX_CHARGE = 127  # the column's type
# Bounds of one run's table (ours): ten times what the longest real runs have, and under half a GB each. Arrays of zeros
# can be compressed a thousandfold, so that a file of 1 MB could hold more.
MAX_PEAKS, MAX_SPECTRA = 40_000_000, 1_000_000
# Spectra or peaks (ours) after which a batch is checked and packed: a Python object costs ten times its number.
BATCH_SPECTRA, BATCH_PEAKS = 4096, 1 << 20

_ADDUCT_CHARGE = re.compile(r"\](\d{0,3})([+-])$")  # "[M+2H]2+" -> "2", "+"


def charge_of_adduct(adduct: str | None) -> int | None:
    """The signed charge an adduct's notation ends in: ``[M+2H]2+`` is 2, ``[M-H]-`` is -1; None if it has none."""
    found = _ADDUCT_CHARGE.search(adduct or "")
    if found is None:
        return None
    size = int(found[1] or "1")
    return (size if found[2] == "+" else -size) if size <= MAX_CHARGE else None


class SpectraBuilder:
    """Collects spectra in file order, checked and packed batch by batch: 12 bytes a peak, some 80 a spectrum.

    `position` of `append` says where in the file the spectrum stands; it appears in the message of a refusal.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._packed: list[pa.RecordBatch] = []
        self._n_spectra = self._n_peaks = 0  # also the packed ones
        self._start_batch()

    def _start_batch(self) -> None:
        self._positions: list[str] = []
        self._columns: dict[str, list[object]] = {field.name: [] for field in _SCALARS}
        self._mz = array("d")
        self._intensity = array("f")
        self._offsets = array("i", [0])

    def __len__(self) -> int:
        return self._n_spectra

    def append(
        self,
        position: str,
        *,
        spectrum_id: str,
        precursor_mz: float,
        mz: Sequence[float] | np.ndarray,
        intensity: Sequence[float] | np.ndarray,
        precursor_intensity: float | None = None,
        rt_seconds: float | None = None,
        charge: int | None = None,
        adduct: str | None = None,
        polarity: str | None = None,
        collision_energy: str | None = None,
    ) -> None:
        """Add one spectrum; `mz` and `intensity` are equally long and may be empty.

        A missing charge is taken from the adduct, a missing polarity from the charge's sign. A retention time that is
        negative or not finite, as some programs write an unknown one, and a charge beyond int8 are null.

        Raises `RunError` TOO_LARGE beyond `MAX_PEAKS` or `MAX_SPECTRA`, and as `table`.
        """
        self._n_spectra, self._n_peaks = self._n_spectra + 1, self._n_peaks + len(mz)
        if self._n_peaks > MAX_PEAKS or self._n_spectra > MAX_SPECTRA:
            message = f"more than {MAX_PEAKS:,} peaks or {MAX_SPECTRA:,} spectra; expected one run's MS/MS"
            raise RunError(Code.TOO_LARGE, message, path=self._path, position=position)
        charge = charge if charge is not None else charge_of_adduct(adduct)
        if charge is not None and not 0 < abs(charge) <= MAX_CHARGE:
            charge = None
        if rt_seconds is not None and not 0 <= rt_seconds < math.inf:
            rt_seconds = None
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
        _extend(self._mz, mz)
        _extend(self._intensity, intensity)
        self._offsets.append(len(self._mz))
        if len(self._positions) >= BATCH_SPECTRA or len(self._mz) >= BATCH_PEAKS:
            self._pack()

    def table(self) -> pa.Table:
        """All spectra, schema `UNNAMED`.

        Raises `RunError` BAD_VALUE with the position of the first precursor, fragment or intensity that is not finite,
        or negative; a precursor m/z of 0 is refused too, unless the spectrum has no peaks.
        """
        if self._positions or not self._packed:
            self._pack()
        return pa.Table.from_batches(self._packed, UNNAMED)

    def _pack(self) -> None:
        """Check the spectra since the last batch and make one of them."""
        mz, intensity = np.frombuffer(self._mz), np.frombuffer(self._intensity, np.float32)
        self._refuse_peaks("fragment m/z", mz, ~(np.isfinite(mz) & (mz >= 0)))
        self._refuse_peaks("fragment intensity", intensity, ~(np.isfinite(intensity) & (intensity >= 0)))

        precursor_mz = np.array(self._columns["precursor_mz"], dtype=np.float64)
        # mzmine writes PEPMASS=0 for a feature without MS/MS: harmless while there is no peak to place.
        is_empty = np.diff(np.frombuffer(self._offsets, dtype=np.int32)) == 0
        is_sound = np.isfinite(precursor_mz) & ((precursor_mz > 0) | (is_empty & (precursor_mz == 0)))
        self._refuse_spectra("precursor m/z", precursor_mz, ~is_sound)
        height = np.array([0.0 if h is None else h for h in self._columns["precursor_intensity"]], dtype=np.float64)
        self._refuse_spectra("precursor intensity", height, ~(np.isfinite(height) & (height >= 0)))

        offsets = pa.array(np.frombuffer(self._offsets, dtype=np.int32))
        columns = [pa.array(self._columns[field.name], field.type) for field in _SCALARS]
        columns += [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (mz, intensity)]
        self._packed.append(pa.RecordBatch.from_arrays(columns, schema=UNNAMED))
        self._start_batch()

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
        message = f"{what} {value:g} is impossible: expected a number above 0 (an intensity: 0 to 3e38)"
        raise RunError(Code.BAD_VALUE, message, path=self._path, position=self._positions[spectrum])


def _extend(numbers: array[float], values: Sequence[float] | np.ndarray) -> None:
    """Append values; those beyond float32 become infinite in it, and are refused as such."""
    if isinstance(values, np.ndarray):
        with np.errstate(over="ignore"):
            numbers.frombytes(np.ascontiguousarray(values, numbers.typecode).view(np.uint8).data)
    else:
        numbers.extend(values)


def name_sample(spectra: pa.Table, sample_id: str) -> pa.Table:
    """Put the run's name on every row of an `UNNAMED` table; the result's schema is `SPECTRA`."""
    names = pa.array([sample_id], pa.string()).take(pa.array(np.zeros(len(spectra), dtype=np.int64)))
    named = pa.Table.from_arrays([names, *spectra.columns], schema=SPECTRA)
    return require(named, SPECTRA, what="spectra table")
