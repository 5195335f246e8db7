"""Which records a model learns from, and how what they say is put into one form. MassFormer, section 4.1.

The paper takes Fourier-transform instruments, apart by collision cell; the released code adds MS level, adducts, a
known collision energy, m/z up to 1000, and neutral molecules of one fragment of the elements H C O N P S Cl F. The
other filters are ours: withdrawn records, and a precursor that contradicts the structure, which is a wrong annotation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.io.formats.ion_text import parse_polarity
from ms2img.massformer.library.adducts import RELEASED_ADDUCTS, Adduct, adduct_names, parse_adduct
from ms2img.massformer.library.energy import Energy, Unit, parse_energy
from ms2img.massformer.library.reasons import STRUCTURE_PREFIX, Reason, Rejected
from ms2img.massformer.library.record import LibraryRecord
from ms2img.massformer.molecule.structure import MAX_ATOMS, PAPER_ELEMENTS, Refused, Structure, parse

CELLS = ("HCD", "CID")
#: Da. The tolerance of a precursor is at least this: records state as few as two digits behind the point.
MIN_TOLERANCE = 0.005
_FT_TYPE = re.compile(r"\b(?:q|it|ltq)?-?ft(?:-?icr|-?ms)?\b|orbitrap|exactive|^hcd$", re.IGNORECASE)
_FT_MODEL = re.compile(r"orbitrap|exactive|exploris|astral|ft-?icr|ft-?ms|apex.?qe|solarix", re.IGNORECASE)
_ION_TRAP_DETECTED = re.compile(r"\bIT-?MS\b", re.IGNORECASE)
_HCD = re.compile(r"\bHCD|HCD\b|higher.energy|beam.type", re.IGNORECASE)
_CID = re.compile(r"\bCID|CID\b|collision.induced|trap.type", re.IGNORECASE)
_QUADRUPOLE_FT = re.compile(r"\bQFT\b|\bQ-FT\b|q.?exactive|exploris", re.IGNORECASE)
_ION_TRAP_FT = re.compile(r"\bIT-?FT\b.*\bion trap\b", re.IGNORECASE)


class LibraryRules(Config):
    """The filters, and how what is ambiguous is read."""

    adducts: str = Field(
        default="[M+H]+",
        description="adducts to keep, parted by commas, in any spelling; 'released': the six of the released code; "
        "'all': every adduct that is understood",
    )
    cells: str = Field(default="HCD,CID", description="collision cells to keep, parted by commas: HCD, CID")
    elements: str = Field(
        default=",".join(PAPER_ELEMENTS), description="elements a molecule may consist of, parted by commas"
    )
    max_atoms: int = Field(default=MAX_ATOMS, ge=1, le=254, description="most heavy atoms of a molecule")
    ft_only: bool = Field(default=True, description="keep Fourier-transform instruments alone (Orbitrap, FT-ICR)")
    ms_levels: str = Field(default="2", description="MS levels to keep, parted by commas")
    require_energy: bool = Field(default=True, description="leave out records without a collision energy")
    one_of_energies: bool = Field(
        default=False, description="keep records that list several energies of which one was used, as their mean"
    )
    bare_energy: Literal["NCE", "eV", "refuse"] = Field(
        default="NCE",
        description="unit of a collision energy without one: NCE, as Orbitraps are set, eV, or refuse",
    )
    precursor_ppm: float = Field(
        default=20.0, gt=0, description="how far the precursor m/z may be from structure and adduct, ppm (>= 5 mDa)"
    )
    mz_max: float = Field(default=1000.0, gt=0, description="highest precursor m/z, Da / charge")
    deprecated: bool = Field(default=False, description="keep records that their library has withdrawn")

    @field_validator("adducts")
    @classmethod
    def _known_adducts(cls, text: str) -> str:
        if text.strip() == "released":
            return ",".join(RELEASED_ADDUCTS)
        if text.strip() == "all":
            return "all"
        return ",".join(sorted(adduct_names(text).split(",")))

    @field_validator("cells")
    @classmethod
    def _known_cells(cls, text: str) -> str:
        given = {each.strip().upper() for each in text.split(",")}
        if not given <= set(CELLS):
            raise ValueError("expected HCD, CID or both, parted by a comma")
        return ",".join(cell for cell in CELLS if cell in given)

    @field_validator("elements")
    @classmethod
    def _element_symbols(cls, text: str) -> str:
        given = [each for each in re.split(r"[\s,]+", text.strip()) if each]
        if not given or not all(re.fullmatch(r"[A-Z][a-z]?", each) for each in given):
            raise ValueError("expected element symbols parted by commas, such as H,C,N,O,Br")
        return ",".join(dict.fromkeys(given))

    @field_validator("ms_levels", mode="before")
    @classmethod
    def _levels(cls, value: object) -> str:
        levels = [each.strip() for each in str(value).split(",")]
        if not all(re.fullmatch(r"[1-9]", each) for each in levels):
            raise ValueError("expected MS levels parted by commas, such as 2 or 2,3")
        return ",".join(sorted(set(levels)))


@dataclass(frozen=True)
class Accepted:
    """What a record says, in one form; `precursor_mz` in Da / charge, `energy` None where none is stated."""

    structure: Structure
    adduct: Adduct
    cell: str
    energy: Energy | None
    precursor_mz: float


def accept(record: LibraryRecord, rules: LibraryRules) -> Accepted:
    """The record in one form.

    Raises `Rejected` with the first reason that holds, in the order of `ms2img.massformer.library.reasons.REASONS`.
    """
    if record.deprecated and not rules.deprecated:
        raise Rejected(Reason.DEPRECATED, record.deprecated)
    if ms_level(record.ms_level) not in rules.ms_levels.split(","):
        raise Rejected(Reason.MS_LEVEL, record.ms_level)
    if rules.ft_only and not is_fourier_transform(record):
        raise Rejected(Reason.NOT_FT, f"{record.instrument_type}; {record.instrument}")
    cell = cell_of(record)
    if cell not in rules.cells.split(","):
        reason = Reason.OTHER_CELL if cell else Reason.NO_CELL
        raise Rejected(reason, record.fragmentation or record.instrument_type)
    adduct = _adduct(record, rules)
    energy = _energy(record, rules)
    structure = _structure(record.smiles, rules.elements, rules.max_atoms)
    if isinstance(structure, Refused):
        raise Rejected(STRUCTURE_PREFIX + structure.code, structure.message)
    if not any(value > 0 for value in record.intensity):
        raise Rejected(Reason.NO_PEAKS)
    return Accepted(structure, adduct, cell, energy, _precursor(record, structure, adduct, rules))


def ms_level(text: str) -> str:
    """``2`` of "MS2", "MS/MS", "2" and of a record that does not say, for a library is one of MS/MS."""
    plain = text.upper().replace("/", "").replace("-", "").strip()
    if plain in ("", "MSMS"):
        return "2"
    return "1" if plain in ("MS", "MS1", "1") else plain.removeprefix("MS")


def is_fourier_transform(record: LibraryRecord) -> bool:
    """Whether the spectrum was measured by a Fourier-transform analyser (Orbitrap, FT-ICR).

    The instrument type says so (QFT, ITFT, FT; NIST's "HCD"), or, where there is none, the instrument's name. What a
    hybrid's ion trap has detected ("35 eV IT-MS") is none.
    """
    if _ION_TRAP_DETECTED.search(record.collision_energy):
        return False
    if record.instrument_type:
        return bool(_FT_TYPE.search(record.instrument_type))
    return bool(_FT_MODEL.search(record.instrument))


def cell_of(record: LibraryRecord) -> str:
    """``HCD`` or ``CID``; another stated mode in capitals ("ETD"); "" where none is stated.

    The fragmentation mode decides; where there is none, the collision energy ("HCD 45") or the instrument type (NIST's
    "HCD"); where these say nothing, a quadrupole before a Fourier-transform analyser (QFT) has an HCD cell alone, and
    NIST's "IT-FT/ion trap with FTMS" is CID. An ITFT could be either.
    """
    for text in (record.fragmentation, record.collision_energy, record.instrument_type):
        if _HCD.search(text):
            return "HCD"
        if _CID.search(text):
            return "CID"
    if record.fragmentation:
        return record.fragmentation.upper()
    if _QUADRUPOLE_FT.search(record.instrument_type or record.instrument):
        return "HCD"
    return "CID" if _ION_TRAP_FT.search(record.instrument_type) else ""


def _adduct(record: LibraryRecord, rules: LibraryRules) -> Adduct:
    mode = parse_polarity(record.ion_mode)
    if not record.adduct:
        raise Rejected(Reason.NO_ADDUCT, "not stated")
    try:
        adduct = parse_adduct(record.adduct, mode)
    except ValueError as error:
        raise Rejected(Reason.NO_ADDUCT, str(error)) from None
    if rules.adducts != "all" and adduct.name not in rules.adducts.split(","):
        raise Rejected(Reason.OTHER_ADDUCT, record.adduct)
    if mode is not None and mode != adduct.polarity:
        raise Rejected(Reason.POLARITY, f"{record.adduct}, {record.ion_mode}")
    return adduct


def _energy(record: LibraryRecord, rules: LibraryRules) -> Energy | None:
    if not record.collision_energy:
        if rules.require_energy:
            raise Rejected(Reason.NO_ENERGY)
        return None
    bare: Unit | None = None if rules.bare_energy == "refuse" else rules.bare_energy
    try:
        energy = parse_energy(record.collision_energy, bare)
    except ValueError as error:
        raise Rejected(Reason.UNREADABLE_ENERGY, str(error)) from None
    if energy.kind == "one-of" and not rules.one_of_energies:
        raise Rejected(Reason.ONE_OF_ENERGIES, record.collision_energy)
    return energy


@lru_cache(maxsize=1 << 16)
def _structure(smiles: str, elements: str, max_atoms: int) -> Structure | Refused:
    """The structure of a SMILES: a library has many spectra of one molecule."""
    try:
        return parse(smiles, elements=tuple(elements.split(",")), max_atoms=max_atoms)
    except Refused as refused:
        return refused


def _precursor(record: LibraryRecord, structure: Structure, adduct: Adduct, rules: LibraryRules) -> float:
    """The precursor m/z as stated, else that of structure and adduct; Da / charge."""
    expected = adduct.mz(structure.exact_mass)
    found = expected if record.precursor_mz is None else record.precursor_mz
    if abs(found - expected) > max(expected * rules.precursor_ppm * 1e-6, MIN_TOLERANCE):
        raise Rejected(Reason.PRECURSOR, f"stated {found:.4f}, {adduct.name} of {structure.formula} has {expected:.4f}")
    if found > rules.mz_max:
        raise Rejected(Reason.ABOVE_MZ_MAX, f"{found:.4f}")
    return found
