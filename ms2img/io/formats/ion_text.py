"""Charge and polarity as the text formats (MGF, MSP) write them."""

from __future__ import annotations

import re

_CHARGE = re.compile(r"([+-]?)(\d{1,3})([+-]?)")
_POLARITY = {"pos": "positive", "p": "positive", "+": "positive", "neg": "negative", "n": "negative", "-": "negative"}


def parse_polarity(text: str | None) -> str | None:
    """``positive`` or ``negative`` of "Positive", "pos", "P", "+", "N" and so on; None for anything else."""
    return _POLARITY.get((text or "").strip().lower()[:3])


def parse_charge(text: str, polarity: str | None) -> int | None:
    """Signed charge of "2+", "-1" or "1"; a bare number takes the polarity's sign. None for 0 or several."""
    found = _CHARGE.fullmatch(text.strip())
    if found is None or not 0 < int(found[2]) <= 127:
        return None
    is_negative = "-" in (found[1], found[3]) or (polarity == "negative" and not (found[1] or found[3]))
    return -int(found[2]) if is_negative else int(found[2])
