"""Entries of MSP and MGF libraries (NIST, MoNA, MassBank, GNPS, MS-DIAL, matchms): keys under matchms's names.

Every program writes the keys its own way; what they mean is matchms's table of synonyms, the part of it that is used
here. MoNA and MassBank put keys into the comments, too: ``Comments: "SMILES=CCO" "license=CC BY"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ms2img.massformer.library.massbank import laboratory_of
from ms2img.massformer.library.peaks import parse_peaks
from ms2img.massformer.library.record import SIMULATED, LibraryRecord, number, stated
from ms2img.massformer.predicted import MAKER

MGF_BEGIN, MGF_END = "BEGIN IONS", "END IONS"
MSP_NAME, MSP_COUNT = "name", "numpeaks"
_MGF_COMMENT = "#;!/"

#: matchms's harmonised key -> the ways to write it, without case, spaces, dashes and underscores; the first wins.
KEYS = {
    "spectrum_id": ("spectrumid", "accession", "db#"),
    "smiles": ("smiles",),
    "precursor_mz": ("precursormz", "precursorm/z", "precursormass", "precursor", "pepmass"),
    "adduct": ("precursortype", "adduct", "adducttype", "iontype"),
    "ionmode": ("ionmode", "ionpolarity", "ionpol", "polarity"),
    "ms_level": ("mslevel", "mstype", "spectrumtype"),
    "collision_energy": ("collisionenergy", "colenergy", "ce"),
    "instrument": ("instrument", "instrumentname"),
    "instrument_type": ("instrumenttype", "sourceinstrument"),
    "fragmentation_mode": ("fragmentationmode", "fragmentationmethod", "specialfragmentation", "dissociationmethod"),
    "license": ("license", "licence"),
    "laboratory": ("contributor", "laboratory", "datacollector"),
    "comment": ("comment", "comments"),
}
_KEY = re.compile(r"([A-Za-z#][\w \-./#]{0,40}?)\s*[:=]\s*(.*)", re.DOTALL)
_IN_COMMENT = re.compile(r'"([\w ]{1,30})=([^"]*)"')
_IGNORED_IN_KEY = str.maketrans("", "", " -_")


def parse_msp(lines: Sequence[str], *, library: str, place: str) -> LibraryRecord:
    """One MSP entry from its lines. `place` is its id where it states none.

    Raises `ValueError`, one line: no Num Peaks, fewer or more peaks than it promises, a number that is none.
    """
    pairs, rest = _pairs(lines, until=MSP_COUNT)
    if not rest:
        raise ValueError(f"{place}: no 'Num Peaks:'")
    promised = _KEY.match(rest[0].strip())
    mz, intensity = parse_peaks(rest[1:])
    if promised is None or promised[2] != str(len(mz)):
        raise ValueError(f"{place}: {len(mz)} peaks, but '{rest[0].strip()[:40]}'")
    return _record(pairs, mz, intensity, library=library, place=place)


def parse_mgf(lines: Sequence[str], *, library: str, place: str) -> LibraryRecord:
    """One MGF entry from the lines between ``BEGIN IONS`` and ``END IONS``.

    Raises `ValueError`, one line: a line that is neither ``KEY=value`` nor a peak, a number that is none.
    """
    pairs, peak_lines = [], []
    for line in lines:
        if found := _KEY.match(line):
            pairs.append((found[1], found[2]))
        elif line[:1] not in _MGF_COMMENT:
            peak_lines.append(line)
    mz, intensity = parse_peaks(peak_lines)
    return _record(pairs, mz, intensity, library=library, place=place)


def key_of(line: str) -> str | None:
    """The key of a ``Key: value`` line as it is compared; None for another line."""
    found = _KEY.match(line)
    return _normalised(found[1]) if found else None


def harmonised(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What is stated under each of matchms's keys (`KEYS`); what the comments state comes last."""
    given: dict[str, str] = {}
    for key, value in pairs:
        if text := stated(value):
            given.setdefault(_normalised(key), text)
    comments = " ".join(given[key] for key in KEYS["comment"] if key in given)
    for key, value in _IN_COMMENT.findall(comments):
        if text := stated(value):
            given.setdefault(_normalised(key), text)
    found: dict[str, str] = {}
    for key, synonyms in KEYS.items():
        for synonym in synonyms:
            if synonym in given:
                found.setdefault(key, given[synonym])
    return found


def _normalised(key: str) -> str:
    return key.lower().translate(_IGNORED_IN_KEY)


def _pairs(lines: Sequence[str], until: str = "") -> tuple[list[tuple[str, str]], Sequence[str]]:
    """The ``Key: value`` lines before the key `until`, and the lines from there on."""
    pairs: list[tuple[str, str]] = []
    for index, line in enumerate(lines):
        found = _KEY.match(line.strip())
        if found and until and _normalised(found[1]) == until:
            return pairs, lines[index:]
        if found:
            pairs.append((found[1], found[2]))
    return pairs, ()


def _record(
    pairs: list[tuple[str, str]], mz: Sequence[float], intensity: Sequence[float], *, library: str, place: str
) -> LibraryRecord:
    found = harmonised(pairs)
    spectrum_id = found.get("spectrum_id", place)
    return LibraryRecord(
        spectrum_id=spectrum_id,
        library=library,
        laboratory=laboratory_of(spectrum_id) or found.get("laboratory", ""),
        licence=found.get("license", ""),
        smiles=found.get("smiles", ""),
        instrument=found.get("instrument", ""),
        instrument_type=found.get("instrument_type", ""),
        ms_level=found.get("ms_level", ""),
        ion_mode=found.get("ionmode", ""),
        fragmentation=found.get("fragmentation_mode", ""),
        adduct=found.get("adduct", ""),
        collision_energy=found.get("collision_energy", ""),
        precursor_mz=number(found.get("precursor_mz"), f"{place}: precursor m/z"),
        mz=mz,
        intensity=intensity,
        is_simulated=found.get("comment", "").startswith((SIMULATED, MAKER)),
    )
