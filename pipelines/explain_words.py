"""What an explanation says in words, on the terminal and in the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ms2img.ms2toimg.explain.explanation import Explanation


def score_line(found: Explanation, threshold: float, assay: str) -> str:
    """``active in dpph with probability 0.973 (threshold 0.5)``."""
    return f"{found.label} in {assay} with probability {found.probability:.3f} (threshold {threshold:g})"


def pair_line(pair: Mapping[Any, Any]) -> str:
    """One row of a list in a font of equal widths."""
    rt = pair["rt_seconds"]
    seconds = "-" if rt is None or math.isnan(rt) else f"{rt:.1f}"
    mz = f"{pair['precursor_mz']:>10.4f} {pair['fragment_mz']:>9.4f}"
    return f"{pair['rank']:>3} {mz} {seconds:>7} {pair['share']:>+7.2%}"
