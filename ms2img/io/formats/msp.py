"""MSP (NIST's text format), as NIST, MoNA and MS-DIAL write it: ``Name:`` to ``Num Peaks:``, then the peaks."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.formats.cells import SECONDS_A_MINUTE
from ms2img.io.formats.ion_text import parse_charge, parse_polarity
from ms2img.io.formats.spectra import SpectraBuilder
from ms2img.io.text import open_text

FIRST_KEY = "name"
COUNT_KEY = "numpeaks"

# Keys without case, spaces, dashes and underscores: every program writes them its own way.
_PRECURSOR = ("precursormz", "precursorm/z")
_HEIGHT = ("precursorintensity", "intensity")  # the second: MS-DIAL's peak height
_IDS = ("peakid", "alignmentid", "scannumber", "scan", "scans", "db#", "id")
_ADDUCT = ("precursortype", "adduct", "adducttype")
_POLARITY = ("ionmode", "polarity")
_ENERGY = ("collisionenergy", "ce")
_MINUTES = ("retentiontime", "rt")
_SECONDS = ("rtinseconds",)
_LEVEL = ("mslevel", "spectrumtype")
_CHARGE = ("charge",)
_WANTED = frozenset(
    (FIRST_KEY, *_PRECURSOR, *_HEIGHT, *_IDS, *_ADDUCT, *_POLARITY, *_ENERGY, *_MINUTES, *_SECONDS, *_LEVEL, *_CHARGE)
)

_KEY = re.compile(r"([A-Za-z#][\w \-./#]{0,40}?)\s*[:=]\s*(.*)", re.DOTALL)
_IGNORED_IN_KEY = str.maketrans("", "", " -_")
_NOTE = re.compile(r'"[^"]*"')  # NIST's annotation of a peak
_BETWEEN_NUMBERS = re.compile(r"[\s,:]+")
_LEADING_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass
class _Entry:
    """One entry while its lines come by."""

    number: int
    line: int
    fields: dict[str, str] = field(default_factory=dict)
    n_peaks: int = -1  # as promised; -1 before "Num Peaks"
    mz: array[float] = field(default_factory=lambda: array("d"))
    intensity: array[float] = field(default_factory=lambda: array("f"))

    def first(self, keys: tuple[str, ...]) -> str | None:
        return next((self.fields[key] for key in keys if self.fields.get(key)), None)


def read_msp(path: str) -> pa.Table:
    """Read the MS/MS entries of one MSP file, schema `ms2img.io.formats.spectra.UNNAMED`.

    Entries that say MS1 are skipped; one without peaks is kept. MS-DIAL's retention time is in minutes. An entry's id
    is its peak, alignment or scan number, else its place in the file (names repeat).

    Raises `RunError`: as `open_text`; EMPTY (no entry), NO_MSMS (all are MS1), TRUNCATED (fewer peaks than promised),
    MALFORMED (more), BAD_VALUE (with entry and line).
    """
    builder = SpectraBuilder(path)
    n_entries = 0
    with open_text(path) as handle:
        for entry, last_line in _entries(handle, path):
            n_entries = entry.number
            position = f"entry {entry.number}, lines {entry.line}-{last_line}"
            if len(entry.mz) < entry.n_peaks:
                raise _miscounted(entry, path, last_line)
            try:
                if (entry.first(_LEVEL) or "").upper() not in ("1", "MS1", "MS"):
                    _append(builder, position, entry)
            except ValueError as error:
                raise RunError(Code.BAD_VALUE, str(error), path=path, position=position) from None
    if not n_entries:
        raise RunError(Code.EMPTY, "no spectrum: an MSP entry has 'Name:' and 'Num Peaks:'", path=path)
    if not len(builder):
        raise RunError(Code.NO_MSMS, f"all {n_entries} entries are MS1; expected MS/MS", path=path)
    return builder.table()


def normalised_key(line: str) -> str | None:
    """The key of a ``Key: value`` line as the reader compares it; None for another line."""
    found = _KEY.match(line)
    return _normalised(found[1]) if found else None


def _normalised(key: str) -> str:
    return key.lower().translate(_IGNORED_IN_KEY)


def _entries(handle: TextIO, path: str) -> Iterator[tuple[_Entry, int]]:
    """Each entry with the number of its last line."""
    entry: _Entry | None = None
    count = line = 0
    for line, text in enumerate(handle, 1):
        content = text.strip()
        if not content:
            # A blank line ends an entry, but not before its peaks: some writers put one above them.
            if entry is not None and len(entry.mz) >= entry.n_peaks >= 0:
                yield entry, line
                entry = None
            continue
        found = _KEY.match(content) if content[0].isalpha() else None
        key = _normalised(found[1]) if found else ""
        if entry is not None and key == FIRST_KEY and FIRST_KEY in entry.fields:
            yield _with_count(entry, path, line), line - 1
            entry = None
        try:
            if entry is None:
                if found is None:
                    raise ValueError(f"'{content[:40]}' stands outside of an entry; expected 'Name: ...'")
                count += 1
                entry = _Entry(count, line)
            if entry.n_peaks >= 0:
                _take_peaks(entry, content)
                if len(entry.mz) > entry.n_peaks:
                    raise _miscounted(entry, path, line)
            elif found is None and content[0].isalnum():
                raise ValueError(f"'{content[:40]}' is no 'Key: value'; peaks come after 'Num Peaks:'")
            elif found is not None:
                _take_field(entry, key, found[2])
        except ValueError as error:
            raise RunError(Code.BAD_VALUE, str(error), path=path, position=f"line {line}") from None
    if entry is not None:
        yield _with_count(entry, path, line), line


def _miscounted(entry: _Entry, path: str, line: int) -> RunError:
    code = Code.TRUNCATED if len(entry.mz) < entry.n_peaks else Code.MALFORMED
    message = f"{len(entry.mz)} peaks, but Num Peaks promises {entry.n_peaks}"
    return RunError(code, message, path=path, position=f"entry {entry.number}, lines {entry.line}-{line}")


def _with_count(entry: _Entry, path: str, line: int) -> _Entry:
    if entry.n_peaks < 0:
        position = f"entry {entry.number}, line {line}"
        raise RunError(Code.TRUNCATED, "an entry ends before its 'Num Peaks:'", path=path, position=position)
    return entry


def _take_field(entry: _Entry, key: str, value: str) -> None:
    if key == COUNT_KEY:
        if not (value.isascii() and value.isdigit()) or len(value) > 9:
            raise ValueError(f"Num Peaks '{value[:40]}' is no count")
        entry.n_peaks = int(value)
    elif key in _WANTED:
        entry.fields.setdefault(key, value.strip())


def _take_peaks(entry: _Entry, content: str) -> None:
    """The peaks of a line: one, or several parted by semicolons; what follows m/z and intensity is a note."""
    for peak in _NOTE.sub("", content).split(";"):
        numbers = _BETWEEN_NUMBERS.split(peak.strip("() \t"), maxsplit=2)
        if numbers == [""]:
            continue
        try:
            mz, intensity = float(numbers[0]), float(numbers[1])
        except (ValueError, IndexError):
            raise ValueError(f"'{peak.strip()[:40]}' is not a peak 'm/z intensity'") from None
        entry.mz.append(mz)
        entry.intensity.append(intensity)


def _append(builder: SpectraBuilder, position: str, entry: _Entry) -> None:
    precursor = entry.first(_PRECURSOR)
    if precursor is None:
        raise ValueError("no PrecursorMZ: an MS/MS entry needs its precursor m/z")
    polarity = parse_polarity(entry.first(_POLARITY))
    height = _number(entry.first(_HEIGHT), "precursor intensity")
    seconds = _number(entry.first(_SECONDS), "RTINSECONDS")
    minutes = _number(entry.first(_MINUTES), "retention time")
    builder.append(
        position,
        spectrum_id=entry.first(_IDS) or str(entry.number),
        precursor_mz=_number(precursor, "PrecursorMZ") or 0.0,
        precursor_intensity=height or None,
        rt_seconds=seconds if seconds is not None or minutes is None else minutes * SECONDS_A_MINUTE,
        charge=parse_charge(entry.first(_CHARGE) or "", polarity),
        adduct=entry.first(_ADDUCT),
        polarity=polarity,
        collision_energy=entry.first(_ENERGY),
        mz=entry.mz,
        intensity=entry.intensity,
    )


def _number(text: str | None, what: str) -> float | None:
    """The number a value starts with ("8.32 min")."""
    if text is None:
        return None
    found = _LEADING_NUMBER.match(text)
    if found is None or not math.isfinite(float(found[0])):
        raise ValueError(f"{what} '{text[:40]}' is no number")
    return float(found[0])
