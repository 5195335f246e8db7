"""Collision energies as libraries write them, and eV against normalised collision energy (NCE).

How a text is understood:

* eV and V are electronvolts; a collision voltage is taken for that many eV, as for one charge.
* NCE, ``%`` and ``(nominal)`` are normalised collision energy, the setting of Thermo instruments in percent: MassBank's
  "35 % (nominal)", "35 (nominal)" and "35% (nominal)" are all NCE 35.
* A bare number has the unit that the caller gives (`bare`); beside "HCD" it is NCE, the only unit of that cell.
* "20%-70%", "ramp", "ramped": a ramp; "25,60,100% (stepped)": several steps in one spectrum. Their energy is the mean.
* "15, 30 or 90": one of these, and which is not said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Unit = Literal["eV", "NCE"]
Kind = Literal["fixed", "ramp", "stepped", "one-of"]

#: eV = NCE x precursor m/z x factor / 500, by charge 1..5 (Thermo's definition; a higher charge has the last).
CHARGE_FACTORS = (1.0, 0.9, 0.85, 0.8, 0.75)
REFERENCE_MZ = 500.0  # the m/z at which NCE and eV are the same number, for one charge
MAX_ENERGY = 1000.0  # either unit (ours): instruments end at 200; what is more is another quantity

_TOKEN = re.compile(r"(\d+(?:\.\d+)?|\.\d+)|([a-z]+)|(%)|([-\u2010-\u2014~])|([,/;&+])|([()\[\]=:.\s]+)")
_DETECTOR = re.compile(r"\b(?:ft|it)-?ms\b(?:\s+ii\b)?")  # "35 eV FT-MS II": who detected it is no energy
_MEAN_FIRST = re.compile(r".*\bwith stepped\b")  # "42% (nominal) with stepped collision energies 30% and 55%"
_DECIMAL_COMMA = re.compile(r"[^\d]*\d+,\d+[^\d]*")  # "2,5 eV", without a blank behind the comma
_EV = frozenset({"ev", "v", "volt", "volts"})
_NCE = frozenset({"nce", "nominal", "normalized", "normalised", "norm"})
_RAMP = frozenset({"ramp", "ramped", "ramping"})
_STEPPED = frozenset({"stepped", "step", "steps", "and"})
_SILENT = frozenset({"ce", "cid", "hcd", "collision", "energy", "energies", "at", "units", "to"})


@dataclass(frozen=True)
class Energy:
    """A collision energy: the values stated (a ramp's two ends, the steps), their unit, and how they were applied."""

    values: tuple[float, ...]
    unit: Unit
    kind: Kind

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return sum(self.values) / len(self.values)

    @property
    def is_ramp(self) -> bool:
        """Whether one spectrum holds several energies."""
        return self.kind in ("ramp", "stepped")


@lru_cache(maxsize=4096)
def parse_energy(text: str, bare: Unit | None) -> Energy:
    """The energy that a text states. `bare`: the unit of a number without one; None refuses it.

    Raises `ValueError`, one line, for anything that is not understood to the last word.
    """
    plain = _MEAN_FIRST.sub("stepped ", _DETECTOR.sub(" ", text.lower()))
    values: list[float] = []
    words: set[str] = set()
    has_dash = has_list = has_percent = False
    at = 0
    while at < len(plain):
        token = _TOKEN.match(plain, at)
        if token is None:
            raise ValueError(f"collision energy '{text[:40]}': '{plain[at]}' is not understood")
        figure, word, percent, dash, comma, _ = token.groups()
        if figure:
            values.append(float(figure))
        elif word:
            words.add(word)
        has_percent |= bool(percent)
        has_dash |= bool(dash) and bool(values)  # "-35 V" of a negative mode is no ramp
        has_list |= bool(comma)
        at = token.end()
    if _DECIMAL_COMMA.fullmatch(text.strip()) and not words & (_RAMP | _STEPPED):
        raise ValueError(f"collision energy '{text[:40]}': two steps, or a decimal comma?")
    _require_known(words, values, text)
    unit = _unit(words, has_percent, bare, text)
    return Energy(tuple(values), unit, _kind(words, len(values), has_dash, has_list, text))


def ev_of_nce(nce: float, precursor_mz: float, charge: int) -> float:
    """eV of a normalised collision energy. `precursor_mz`: Da / charge; `charge`: its size counts, not its sign."""
    return nce * precursor_mz * _factor(charge) / REFERENCE_MZ


def nce_of_ev(ev: float, precursor_mz: float, charge: int) -> float:
    """The inverse of `ev_of_nce`."""
    return ev * REFERENCE_MZ / (precursor_mz * _factor(charge))


def _factor(charge: int) -> float:
    return CHARGE_FACTORS[min(max(abs(charge), 1), len(CHARGE_FACTORS)) - 1]


def _require_known(words: set[str], values: list[float], text: str) -> None:
    if strange := words - _EV - _NCE - _RAMP - _STEPPED - _SILENT - {"or"}:
        raise ValueError(f"collision energy '{text[:40]}': '{min(strange)}' is not understood")
    if not values:
        raise ValueError(f"collision energy '{text[:40]}' has no number")
    if max(values) > MAX_ENERGY:
        raise ValueError(f"collision energy '{text[:40]}': more than {MAX_ENERGY:g}")


def _unit(words: set[str], has_percent: bool, bare: Unit | None, text: str) -> Unit:
    is_ev, is_nce = bool(words & _EV), bool(words & _NCE) or has_percent
    if is_ev and is_nce:
        raise ValueError(f"collision energy '{text[:40]}': two units")
    if is_ev:
        return "eV"
    if is_nce or "hcd" in words:
        return "NCE"
    if bare is None:
        raise ValueError(f"collision energy '{text[:40]}' has no unit")
    return bare


def _kind(words: set[str], n_values: int, has_dash: bool, has_list: bool, text: str) -> Kind:
    if n_values == 1:
        return "ramp" if words & _RAMP else "stepped" if "stepped" in words else "fixed"
    if "or" in words:
        return "one-of"
    if words & _STEPPED or (has_list and not words & _RAMP):
        return "stepped"
    if words & _RAMP or "to" in words or (has_dash and n_values == 2):
        return "ramp"
    if has_dash:  # "20-30-40"
        return "stepped"
    raise ValueError(f"collision energy '{text[:40]}': {n_values} numbers, and not how they belong together")
