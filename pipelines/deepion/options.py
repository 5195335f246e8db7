"""Options that several commands of ``ms2img deepion`` share, and how a size is written on a command line."""

from __future__ import annotations

import re


def height_and_width(text: str) -> tuple[int, int]:
    """``64x48`` as (height, width) in pixels; `ValueError` for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text.strip().lower())
    if found is None:
        raise ValueError("expected HEIGHTxWIDTH in pixels, such as 64x48")
    return int(found[1]), int(found[2])
