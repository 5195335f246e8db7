"""MGF (Mascot generic format), as written by mzmine, MSConvert, GNPS and others; parsed by pyteomics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TextIO

import pyarrow as pa
from pyteomics import mgf
from pyteomics.auxiliary import PyteomicsError

from ms2img.errors import Code, RunError
from ms2img.io.formats.ion_text import parse_charge, parse_polarity
from ms2img.io.formats.spectra import SpectraBuilder
from ms2img.io.text import open_text

HEADER_CHARS = 1 << 24  # file-wide parameters and comments above the first entry (ours): two lines of the longest kind
MAX_ENTRY_LINES = 2_000_000  # ours: twice a profile spectrum of a time-of-flight instrument; 64 bytes each while read

_ID_KEYS = ("feature_id", "scans", "title")  # mzmine writes the first two alike; the first that is there names a row
_ADDUCT_KEYS = ("adduct", "ion", "precursortype")
_POLARITY_KEYS = ("ionmode", "ion_mode", "polarity")
_ENERGY_KEYS = ("collision_energy", "collisionenergy", "ce")
_TIME = re.compile(r"(\d+\.?\d*)\s*-\s*(\d+\.?\d*)")  # MGF allows a range


def read_mgf(path: str) -> pa.Table:
    """Read the MS/MS entries of one MGF file, schema `ms2img.io.formats.spectra.UNNAMED`.

    MS1 entries (``MSLEVEL=1``, ``SPECTYPE=CORRELATED MS``) are skipped; an entry without peaks is kept. The second
    number of PEPMASS is the precursor intensity, null where it is absent or 0. A charge that is not one number
    ("2+ and 3+") is null.

    Raises `RunError`: as `open_text`; EMPTY (no entry), NO_MSMS (no MS/MS entry), TRUNCATED (an entry without
    ``END IONS``), BAD_VALUE (with spectrum and line), TOO_LARGE (an entry, or all), BAD_HEADER (nothing but text before
    the first entry).
    """
    builder = SpectraBuilder(path)
    n_entries = 0
    with open_text(path) as handle:
        for n_entries, (position, entry) in enumerate(_entries(handle, path), 1):
            if not _is_msms(entry["params"]):
                continue
            try:
                _append(builder, position, entry, number=n_entries)
            except ValueError as error:
                raise RunError(Code.BAD_VALUE, str(error), path=path, position=position) from None
    if not n_entries:
        raise RunError(Code.EMPTY, "no spectrum: an MGF entry starts with 'BEGIN IONS'", path=path)
    if not len(builder):
        raise RunError(Code.NO_MSMS, f"all {n_entries} entries are MS1; expected some with MSLEVEL=2", path=path)
    return builder.table()


class _NumberedLines:
    """A file's lines for pyteomics, counted, with the retention time kept as text.

    pyteomics reads RTINSECONDS as one number and gives up on an empty value or a range, which MGF allows. It looks for
    the file-wide parameters first and starts again: what it has read by then is remembered, as gzip cannot go back.
    """

    def __init__(self, handle: TextIO, path: str) -> None:
        self._handle = handle
        self._path = path
        self._seen: list[str] = []
        self._lines: Iterator[str] = iter(())
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def tell(self) -> int:
        return 0  # asked once, before the first line

    def seek(self, position: int) -> None:
        is_first = not self._seen  # before the parameters; the second is behind them
        self._lines = self._numbered(self._remembered() if is_first else chain(self._seen, self._handle))

    def _numbered(self, lines: Iterable[str]) -> Iterator[str]:
        for self.number, line in enumerate(lines, 1):
            yield f"RT_TEXT={line[12:]}" if line[:12] == "RTINSECONDS=" else line

    def _remembered(self) -> Iterator[str]:
        n_chars = 0
        for line in self._handle:
            n_chars += len(line)
            if n_chars > HEADER_CHARS:
                message = f"no 'BEGIN IONS' in the first {HEADER_CHARS >> 20} MiB: expected MGF"
                raise RunError(Code.BAD_HEADER, message, path=self._path)
            self._seen.append(line)
            yield line


class _Reader(mgf.MGF):
    """pyteomics's sequential reader, leaving the charge as text: its own parser raises on what it does not know."""

    @staticmethod
    def parse_precursor_charge(charge_text: str, list_only: bool = False) -> str:
        return charge_text

    def _read_spectrum(self) -> dict[str, Any] | None:
        return self._read_spectrum_lines(islice(self._source, MAX_ENTRY_LINES))


def _entries(handle: TextIO, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each entry of the file with its position, from the line after the last entry to its own END IONS."""
    lines = _NumberedLines(handle, path)
    count, start = 0, 1
    try:
        for count, entry in enumerate(_Reader(lines, convert_arrays=0, read_charges=False), 1):
            if entry is None:  # the file, or what an entry may have, ended first
                position = f"spectrum {count}, line {start}"
                if lines.number - start >= MAX_ENTRY_LINES:
                    message = f"an entry of over {MAX_ENTRY_LINES:,} lines"
                    raise RunError(Code.TOO_LARGE, message, path=path, position=position)
                raise RunError(Code.TRUNCATED, "the last entry lacks END IONS", path=path, position=position)
            yield f"spectrum {count}, lines {start}-{lines.number}", entry
            start = lines.number + 1
    except (PyteomicsError, ValueError) as error:
        position = f"spectrum {count + 1}, line {lines.number}"
        if "unexpected start" in str(error):
            message = "BEGIN IONS before the END IONS of the entry above"
            raise RunError(Code.TRUNCATED, message, path=path, position=position) from None
        message = "not a peak ('m/z intensity'), a KEY=value or a readable PEPMASS"
        raise RunError(Code.BAD_VALUE, message, path=path, position=position) from None


def _is_msms(params: Mapping[str, Any]) -> bool:
    return params.get("mslevel", "2") == "2" and params.get("spectype", "").upper() != "CORRELATED MS"


def _append(builder: SpectraBuilder, position: str, entry: Mapping[str, Any], *, number: int) -> None:
    """Add one parsed entry; `ValueError` with a sentence for the user where a field cannot be used."""
    params = entry["params"]
    mz, intensity = entry["m/z array"], entry["intensity array"]
    if len(mz) != len(intensity):
        raise ValueError("a peak line has one number; expected 'm/z intensity'")
    precursor_mz, precursor_intensity = params.get("pepmass", (None, None))[:2]
    if precursor_mz is None:
        raise ValueError("no PEPMASS: an MS/MS entry needs its precursor m/z")
    polarity = parse_polarity(_first(params, _POLARITY_KEYS))
    builder.append(
        position,
        spectrum_id=_first(params, _ID_KEYS) or str(number),
        precursor_mz=precursor_mz,
        precursor_intensity=precursor_intensity or None,
        rt_seconds=_seconds(params.get("rt_text", "")),
        charge=parse_charge(params.get("charge", ""), polarity),
        adduct=_first(params, _ADDUCT_KEYS),
        polarity=polarity,
        collision_energy=_first(params, _ENERGY_KEYS),
        mz=mz,
        intensity=intensity,
    )


def _first(params: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((params[key] for key in keys if params.get(key)), None)


def _seconds(text: str) -> float | None:
    """Retention time, s: the middle of a range, None where empty."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        span = _TIME.fullmatch(text)
        if span is None:
            raise ValueError(f"RTINSECONDS '{text[:40]}' is no number of seconds") from None
        return (float(span[1]) + float(span[2])) / 2
