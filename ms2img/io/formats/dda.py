"""The scans of a raw run to its spectra table: data-dependent acquisition, one row an MS/MS scan.

What a scan does not state of its precursor's intensity is looked up in the MS1 scans around it; nothing else of MS1 is
kept, so memory follows the MS/MS.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.formats import mzml, mzxml
from ms2img.io.formats.centroid import centroid
from ms2img.io.formats.scan import Floats, Precursor, Scan
from ms2img.io.formats.spectra import SpectraBuilder
from ms2img.io.read_config import ReadOptions

EARLY_SCANS = 500  # MS/MS scans (ours) after which a DIA run is refused without reading gigabytes of it
MAX_CHARGE = 127  # what the schema's int8 holds
NAN = float("nan")


def read_mzml(path: str, options: ReadOptions) -> pa.Table:
    """The MS/MS scans of an mzML file, schema `ms2img.io.formats.spectra.UNNAMED`. Raises `RunError` as `read_dda`."""
    return read_dda(mzml.read_scans(path), options, path=path)


def read_mzxml(path: str, options: ReadOptions) -> pa.Table:
    """The MS/MS scans of an mzXML file, schema `ms2img.io.formats.spectra.UNNAMED`. Raises `RunError` as `read_dda`."""
    return read_dda(mzxml.read_scans(path), options, path=path)


def read_dda(scans: Iterable[Scan], options: ReadOptions, *, path: str) -> pa.Table:
    """One row an MS/MS scan (MS level 2), also without peaks; schema `ms2img.io.formats.spectra.UNNAMED`.

    Precursor m/z and intensity are the selected ion's. A missing intensity, or one of 0, is that of the highest peak
    within ``ms1_window_ppm`` in the MS1 scan before, else in the one after (of the same polarity). If neither has such
    a peak it is 0, below what the instrument saw; it stays null in a run where no precursor has any.

    Raises `RunError`: EMPTY, NO_MSMS (with the number of MS1 scans), PROFILE_MSMS, DIA (with the width), MALFORMED and
    BAD_VALUE (with the scan), and as the scans' reader.
    """
    run = _Run(options, path)
    for scan in scans:
        run.take(scan)
    return run.table()


@dataclass(slots=True)
class _Sought:
    """A row whose precursor's intensity the MS1 scan before did not have."""

    row: int
    mz: float
    polarity: str | None


class _Run:
    """What is known of a run while its scans stream by."""

    def __init__(self, options: ReadOptions, path: str) -> None:
        self._options = options
        self._path = path
        self._builder = SpectraBuilder(path)
        self._surveys: list[Scan] = []  # the latest MS1 scan of each polarity, the latest first
        self._sought: list[_Sought] = []
        self._found = array("d")  # a row's intensity out of MS1, 0 where there is none, NaN where the scan states it
        self._n_ms1 = self._n_msms = self._n_other = self._n_without_ion = 0
        self._widths = array("d")

    def take(self, scan: Scan) -> None:
        """The next scan of the file."""
        if scan.ms_level == 1:
            self._take_survey(scan)
        elif scan.ms_level == 2:
            self._take_msms(scan)
        else:
            self._n_other += 1

    def _take_survey(self, scan: Scan) -> None:
        self._n_ms1 += 1
        rest = []
        for sought in self._sought:
            if _same_polarity(scan.polarity, sought.polarity):
                self._found[sought.row] = self._highest(scan, sought.mz)
            else:
                rest.append(sought)
        self._sought = rest
        self._surveys = [scan, *(other for other in self._surveys if other.polarity != scan.polarity)]

    def _take_msms(self, scan: Scan) -> None:
        self._n_msms += 1
        precursor = scan.precursor
        if precursor is None or precursor.mz is None:
            self._n_without_ion += 1
        else:
            self._widths.append(precursor.isolation_width or 0.0)
            self._found.append(NAN if precursor.intensity else self._intensity_before(precursor.mz, scan.polarity))
            self._append(scan, precursor, precursor.mz)
        if self._n_msms == EARLY_SCANS:
            self._refuse_dia()

    def _append(self, scan: Scan, precursor: Precursor, precursor_mz: float) -> None:
        mz, intensity = scan.peaks()
        if scan.is_profile and len(mz):
            mz, intensity = self._centroided(scan, mz, intensity)
        self._builder.append(
            scan.position,
            spectrum_id=scan.id,
            precursor_mz=precursor_mz,
            precursor_intensity=precursor.intensity or None,
            rt_seconds=scan.rt_seconds,
            charge=_signed(precursor.charge, scan.polarity),
            polarity=scan.polarity,
            collision_energy=precursor.collision_energy,
            mz=mz,
            intensity=intensity,
        )

    def _centroided(self, scan: Scan, mz: Floats, intensity: Floats) -> tuple[Floats, Floats]:
        if self._options.profile_msms == "refuse":
            message = "MS/MS in profile mode; centroid it on export, or with the option profile_msms"
            raise RunError(Code.PROFILE_MSMS, message, path=self._path, position=scan.position)
        for what, values in (("m/z", mz), ("intensity", intensity)):
            bad = ~(np.isfinite(values) & (values >= 0))
            if bad.any():
                message = f"fragment {what} {values[bad][0]:g} is impossible: expected a finite number, not negative"
                raise RunError(Code.BAD_VALUE, message, path=self._path, position=scan.position)
        return centroid(mz, intensity)

    def _intensity_before(self, mz: float, polarity: str | None) -> float:
        """The intensity in the MS1 scan before; where it has none the row waits for the one after."""
        before = next((scan for scan in self._surveys if _same_polarity(scan.polarity, polarity)), None)
        found = self._highest(before, mz) if before is not None else 0.0
        if not found:
            self._sought.append(_Sought(len(self._builder), mz, polarity))
        return found

    def _highest(self, survey: Scan, mz: float) -> float:
        """Intensity of the highest peak around `mz`, 0 if there is none."""
        highest = survey.highest(mz, mz * self._options.ms1_window_ppm * 1e-6)
        if not (np.isfinite(highest) and highest >= 0):
            message = f"MS1 intensity {highest:g} is impossible: expected a finite number, not negative"
            raise RunError(Code.BAD_VALUE, message, path=self._path, position=survey.position)
        return highest

    def _refuse_dia(self) -> None:
        """Raise `RunError` DIA where most MS/MS scans so far name no ion or isolate too wide a window."""
        if 2 * self._n_without_ion > self._n_msms:
            message = (
                f"{self._n_without_ion} of {self._n_msms} MS/MS scans name no selected ion (all-ion fragmentation or "
                "DIA); expected data-dependent MS/MS"
            )
            raise RunError(Code.DIA, message, path=self._path)
        widths = np.frombuffer(self._widths)
        wide = widths[widths > self._options.dia_isolation_mz]
        if 2 * len(wide) > self._n_msms:
            message = (
                f"{len(wide)} of {self._n_msms} MS/MS scans isolate more than {self._options.dia_isolation_mz:g} m/z "
                f"(median {np.median(wide):g}): DIA; expected data-dependent MS/MS (option dia_isolation_mz)"
            )
            raise RunError(Code.DIA, message, path=self._path)

    def table(self) -> pa.Table:
        """The rows, once all scans are taken."""
        if not self._n_msms:
            others = f" and {self._n_other} of a level other than 1 or 2" if self._n_other else ""
            if not self._n_ms1 + self._n_other:
                raise RunError(Code.EMPTY, "no scan at all", path=self._path)
            message = f"no MS/MS: {self._n_ms1} scans of MS1{others}; expected data-dependent MS/MS"
            raise RunError(Code.NO_MSMS, message, path=self._path)
        self._refuse_dia()
        return self._with_found(self._builder.table())

    def _with_found(self, table: pa.Table) -> pa.Table:
        """The table with what MS1 says; without MS1, or if it never has a precursor, absent values stay null."""
        found = np.frombuffer(self._found)
        place = table.schema.get_field_index("precursor_intensity")
        stated = table["precursor_intensity"].to_numpy()
        if not self._n_ms1 or not (np.isfinite(stated).any() or np.nansum(found)):
            return table
        intensity = np.where(np.isnan(found), stated, found)
        return table.set_column(place, table.schema.field(place), pa.array(intensity))


def _same_polarity(one: str | None, other: str | None) -> bool:
    return one == other or one is None or other is None


def _signed(charge: int | None, polarity: str | None) -> int | None:
    """Charge with the polarity's sign; None where it is 0, as some writers say "unknown", or has no polarity."""
    if not charge or polarity is None or abs(charge) > MAX_CHARGE:
        return None
    return abs(charge) if polarity == "positive" else -abs(charge)
