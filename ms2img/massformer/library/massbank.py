"""MassBank records (record format 2.6): ``TAG: value`` lines, then the peaks, ended by ``//``."""

from __future__ import annotations

from collections.abc import Sequence

from ms2img.massformer.library.peaks import parse_peaks
from ms2img.massformer.library.record import SIMULATED, LibraryRecord, number, stated

FIRST_TAG = "ACCESSION:"
END = "//"
_PEAKS = "PK$PEAK"
_TABLE = "  "  # lines of a table below their tag are indented
#: Tags whose value starts with a subtag of its own.
_WITH_SUBTAG = ("AC$MASS_SPECTROMETRY", "MS$FOCUSED_ION")


def parse_massbank(lines: Sequence[str], *, library: str) -> LibraryRecord:
    """One record from its lines, with or without its ``//``.

    Raises `ValueError`, one line: no ACCESSION, fewer or more peaks than PK$NUM_PEAK, a number that is none.
    """
    fields, peak_lines = _fields(lines)
    accession = fields.get("ACCESSION", "")
    if not accession:
        raise ValueError("no ACCESSION: not a MassBank record")
    mz, intensity = parse_peaks(peak_lines)
    promised = stated(fields.get("PK$NUM_PEAK"))
    if promised and promised != str(len(mz)):
        raise ValueError(f"{accession}: {len(mz)} peaks, but PK$NUM_PEAK promises {promised[:12]}")
    spectrometry, ion = _WITH_SUBTAG
    return LibraryRecord(
        spectrum_id=accession,
        library=library,
        laboratory=laboratory_of(accession),
        licence=stated(fields.get("LICENSE")),
        smiles=stated(fields.get("CH$SMILES")),
        instrument=stated(fields.get("AC$INSTRUMENT")),
        instrument_type=stated(fields.get("AC$INSTRUMENT_TYPE")),
        ms_level=stated(fields.get(f"{spectrometry} MS_TYPE")),
        ion_mode=stated(fields.get(f"{spectrometry} ION_MODE")),
        fragmentation=stated(fields.get(f"{spectrometry} FRAGMENTATION_MODE")),
        # Older records, and MS-DIAL's, name the precursor's ion ION_TYPE.
        adduct=stated(fields.get(f"{ion} PRECURSOR_TYPE")) or stated(fields.get(f"{ion} ION_TYPE")),
        collision_energy=stated(fields.get(f"{spectrometry} COLLISION_ENERGY")),
        deprecated=fields.get("DEPRECATED", ""),
        precursor_mz=number(fields.get(f"{ion} PRECURSOR_M/Z"), f"{accession}: PRECURSOR_M/Z"),
        mz=mz,
        intensity=intensity,
        is_simulated=SIMULATED in fields,
    )


def laboratory_of(accession: str) -> str:
    """The contributor that an accession names: ``Eawag`` of ``MSBNK-Eawag-EA000401``; "" of another id."""
    parts = accession.split("-")
    return parts[1] if len(parts) > 2 and parts[0] == "MSBNK" else ""


def _fields(lines: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The first value of every tag (with its subtag), and the peak lines."""
    fields: dict[str, str] = {}
    peaks: list[str] = []
    tag = ""
    for line in lines:
        if line.startswith(_TABLE) and tag:
            if tag == _PEAKS:
                peaks.append(line)
            continue
        tag, colon, value = line.rstrip("\r\n").partition(":")
        if not colon:
            continue
        value = value.strip()
        key = tag
        if tag in _WITH_SUBTAG:
            subtag, _, value = value.partition(" ")
            key = f"{tag} {subtag}"
        elif tag == "COMMENT" and value.startswith(SIMULATED):
            key = SIMULATED
        fields.setdefault(key, value.strip())
    return fields, peaks
