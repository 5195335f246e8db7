"""What one record of a library says, whatever its format; nothing is judged yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: What libraries write where they have nothing to say.
NOTHING = frozenset({"", "n/a", "na", "nan", "none", "null", "-", "unknown", "not available"})
#: A COMMENT that begins so marks a record whose peaks were made by a program, not measured.
SIMULATED = "SIMULATED"


@dataclass(frozen=True)
class LibraryRecord:
    """One record; every text is as stated, "" where the record says nothing.

    spectrum_id: accession. library: name of the source it was read from.
    laboratory: contributor. licence, smiles, instrument, instrument_type, collision_energy.
    ms_level, ion_mode, fragmentation (mode), adduct, deprecated (why the record is withdrawn).
    precursor_mz: Da / charge; None where it is not stated.
    mz (Da / charge) and intensity: the peaks in the order of the record.
    is_simulated: whether the record says that its peaks are made up.
    """

    spectrum_id: str
    library: str
    laboratory: str = ""
    licence: str = ""
    smiles: str = ""
    instrument: str = ""
    instrument_type: str = ""
    ms_level: str = ""
    ion_mode: str = ""
    fragmentation: str = ""
    adduct: str = ""
    collision_energy: str = ""
    deprecated: str = ""
    precursor_mz: float | None = None
    mz: Sequence[float] = ()
    intensity: Sequence[float] = ()
    is_simulated: bool = False


def stated(text: str | None) -> str:
    """The text without its margins; "" for what stands for nothing ("N/A")."""
    text = (text or "").strip()
    return "" if text.lower() in NOTHING else text


def number(text: str | None, what: str) -> float | None:
    """A number, None where nothing is stated. Raises `ValueError` for another text, and for one that is not finite."""
    if not (text := stated(text)):
        return None
    try:
        found = float(text.split()[0])
    except ValueError:
        raise ValueError(f"{what} '{text[:40]}' is no number") from None
    if not abs(found) < float("inf"):
        raise ValueError(f"{what} '{text[:40]}' is not finite")
    return found
