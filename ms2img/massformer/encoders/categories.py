"""Categories of several features as rows of one embedding table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.molecule.graph import ATOM_SIZES, MolecularGraph

_ATOM_OFFSETS = np.cumsum([0, *ATOM_SIZES[:-1]])


def atom_rows(graph: MolecularGraph) -> NDArray[np.int64]:
    """Rows int64 [n, features] of a table with ``sum(ATOM_SIZES)`` rows, in which each feature has its own."""
    return graph.atoms + _ATOM_OFFSETS
