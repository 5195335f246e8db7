"""Adducts in one spelling: "M+H", "[M+H]1+" and "[M+H]+" are one, and so are "[M+FA-H]-" and "[M+HCOO]-".

An adduct is what its elements and charge are. Its name is the usual one where there is one, else made of its terms.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache

ELECTRON = 0.000548579909  # Da, CODATA 2018
#: Monoisotopic masses, Da (AME 2016), of the elements that adducts are made of.
MASSES = {
    "H": 1.00782503207, "Li": 7.01600455, "C": 12.0, "N": 14.0030740048, "O": 15.99491461956, "F": 18.99840322,
    "Na": 22.9897692809, "Mg": 23.9850417, "Si": 27.9769265325, "P": 30.97376163, "S": 31.972071, "Cl": 34.96885268,
    "K": 38.96370668, "Ca": 39.96259098, "Fe": 55.9349375, "Cu": 62.9295975, "Br": 78.9183371, "Ag": 106.905097,
    "I": 126.904473,
}  # fmt: skip
#: Short names of groups, in lower case, and what they are.
GROUPS = {
    "fa": "CH2O2", "hcooh": "CH2O2", "hac": "C2H4O2", "acn": "C2H3N", "meoh": "CH4O", "etoh": "C2H6O",
    "tfa": "C2HF3O2", "dmso": "C2H6OS", "isoprop": "C3H8O", "iproh": "C3H8O", "oac": "C2H3O2", "ac": "C2H3O2",
}  # fmt: skip
#: Charge that a group brings along, for a text that does not state the charge; others bring none.
_BRINGS = {
    "H": 1, "Na": 1, "K": 1, "Li": 1, "Ag": 1, "NH4": 1, "F": -1, "Cl": -1, "Br": -1, "I": -1, "HCOO": -1, "CH3COO": -1,
}  # fmt: skip
#: The released code's positive adducts (``pos_prec_type`` of its "all_prec_type" configs; "mh_prec_type": the first).
RELEASED_ADDUCTS = ("[M+H]+", "[M+H-H2O]+", "[M+H-2H2O]+", "[M+2H]2+", "[M+H-NH3]+", "[M+Na]+")
#: Usual names; another text with the same elements and charge gets this name.
USUAL = (
    *RELEASED_ADDUCTS, "[M]+", "[M+NH4]+", "[M+K]+", "[M+Li]+", "[M+H+Na]2+", "[M+H+K]2+", "[M+2Na-H]+", "[M+3H]3+",
    "[M+ACN+H]+", "[M+ACN+Na]+", "[M+MeOH+H]+", "[M+DMSO+H]+", "[2M+H]+", "[2M+Na]+", "[2M+NH4]+", "[2M+K]+",
    "[M]-", "[M-H]-", "[M-H-H2O]-", "[M-2H]2-", "[M+Cl]-", "[M+Br]-", "[M+HCOO]-", "[M+CH3COO]-", "[M+TFA-H]-",
    "[M+Na-2H]-", "[M+K-2H]-", "[2M-H]-", "[2M+HCOO]-", "[2M+CH3COO]-", "[3M-H]-",
)  # fmt: skip

_TERM = re.compile(r"([+-])(\d{0,2})([A-Za-z][A-Za-z0-9]{0,11})")
_ADDUCT = re.compile(rf"(\d?)M((?:{_TERM.pattern.replace('(', '(?:')})*)")
_BRACKETED = re.compile(r"\[(.+)\](\d?[+-]{0,4}\d?)")
_BARE = re.compile(r"(.*?[A-Za-z0-9])(\d?[+-]{1,4}|[+-]{0,1})")
_CHARGE = re.compile(r"(\d?)([+]+|[-]+)(\d?)")
_FORMULA = re.compile(r"([A-Z][a-z]?)(\d{0,3})")
_PLAIN = str.maketrans({"−": "-", "–": "-", "⁺": "+", "⁻": "-", "(": "[", ")": "]", "*": "", ".": "", "•": "", " ": ""})


@dataclass(frozen=True)
class Adduct:
    """An ion made of molecules.

    name: in the one spelling. multiplier: molecules in it. charge: signed. shift: Da that it weighs beside them, the
    electrons that make its charge counted.
    """

    name: str
    multiplier: int
    charge: int
    shift: float

    @property
    def polarity(self) -> str:
        """``positive`` or ``negative``."""
        return "positive" if self.charge > 0 else "negative"

    def mz(self, exact_mass: float) -> float:
        """m/z (Da / charge) of the ion of a molecule of this exact mass (Da)."""
        return (self.multiplier * exact_mass + self.shift) / abs(self.charge)


@lru_cache(maxsize=4096)
def parse_adduct(text: str, polarity: str | None = None) -> Adduct:
    """The adduct that a text names. `polarity` (``positive``, ``negative``): the sign of a charge that is not stated.

    Raises `ValueError`, one line, for a text that names none, and for a group of unknown elements.
    """
    multiplier, terms, charge_text = _parts(text)
    elements = _elements(terms, text)
    charge = _charge(charge_text, terms, polarity, text)
    name = _usual().get((multiplier, charge, frozenset(elements.items()))) or _name(multiplier, terms, charge)
    shift = sum(MASSES[element] * n for element, n in elements.items()) - charge * ELECTRON
    return Adduct(name, multiplier, charge, shift)


def spelled(adduct: str) -> str:
    """An adduct in the library's spelling; as it is where it is not understood."""
    try:
        return parse_adduct(adduct).name
    except ValueError:
        return adduct


def adduct_names(text: str) -> str:
    """The adducts of a list with commas between, in the one spelling, each once: "M+H, [M+Na]+" is "[M+H]+,[M+Na]+".

    Raises `ValueError`, one line, for what names none.
    """
    return ",".join(dict.fromkeys(parse_adduct(each).name for each in text.split(",")))


def _parts(text: str) -> tuple[int, list[tuple[int, str]], str]:
    """Multiplier, signed groups and the text of the charge."""
    plain = text.translate(_PLAIN)
    found = _BRACKETED.fullmatch(plain) or _BARE.fullmatch(plain)
    body = found and _ADDUCT.fullmatch(found[1])
    if not found or not body:
        raise ValueError(f"'{text[:40]}' names no adduct such as [M+H]+")
    terms: list[tuple[int, str]] = []
    for sign, count, group in _TERM.findall(body[2]):
        terms.append(((-1 if sign == "-" else 1) * int(count or 1), group))
    return int(body[1] or 1), terms, found[2]


def _elements(terms: list[tuple[int, str]], text: str) -> dict[str, int]:
    """How many atoms of each element the terms add (or take away); none that add up to 0."""
    elements: Counter[str] = Counter()
    for count, group in terms:
        for element, number in _composition(group, text).items():
            elements[element] += count * number
    return {element: number for element, number in elements.items() if number}


def _composition(group: str, text: str) -> Counter[str]:
    formula = GROUPS.get(group.lower(), group)
    elements: Counter[str] = Counter()
    for element, count in _FORMULA.findall(formula):
        elements[element] += int(count or 1)
    written = "".join(element + count for element, count in _FORMULA.findall(formula))
    if written != formula or not elements.keys() <= MASSES.keys():
        raise ValueError(f"'{text[:40]}': '{group}' is no group of known elements")
    return elements


def _charge(stated: str, terms: list[tuple[int, str]], polarity: str | None, text: str) -> int:
    """The signed charge, as stated, else by what the groups bring, else one of the polarity."""
    if found := _CHARGE.fullmatch(stated):
        size = int(found[1] or found[3] or len(found[2]))
        charge = size if found[2][0] == "+" else -size
    else:
        charge = sum(count * _brought().get(frozenset(_composition(group, text).items()), 0) for count, group in terms)
        charge = charge or {"positive": 1, "negative": -1}.get(polarity or "", 0)
        size = int(stated) if stated.isdigit() else abs(charge)
        charge = size if charge > 0 else -size
    if not charge:
        raise ValueError(f"'{text[:40]}' has no charge")
    return charge


def _name(multiplier: int, terms: list[tuple[int, str]], charge: int) -> str:
    """The spelling of an adduct without a usual name: what is added before what is lost, each by the alphabet."""
    counts: Counter[str] = Counter()
    for count, group in terms:
        counts[group] += count
    ordered = sorted(((group, n) for group, n in counts.items() if n), key=lambda term: (term[1] < 0, term[0]))
    body = "".join(f"{'+' if n > 0 else '-'}{abs(n) if abs(n) > 1 else ''}{group}" for group, n in ordered)
    size = abs(charge) if abs(charge) > 1 else ""
    return f"[{multiplier if multiplier > 1 else ''}M{body}]{size}{'+' if charge > 0 else '-'}"


@cache
def _brought() -> dict[frozenset[tuple[str, int]], int]:
    """The charge that a group brings along, by its elements."""
    return {frozenset(_composition(group, group).items()): charge for group, charge in _BRINGS.items()}


@cache
def _usual() -> dict[tuple[int, int, frozenset[tuple[str, int]]], str]:
    """Usual names by multiplier, charge and elements."""
    names = {}
    for name in USUAL:
        multiplier, terms, charge = _parts(name)
        names[multiplier, _charge(charge, terms, None, name), frozenset(_elements(terms, name).items())] = name
    return names
