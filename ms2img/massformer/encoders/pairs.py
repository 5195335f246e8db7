"""What Graphormer knows of two atoms: the hops between them and the bonds on the way, numbered in classes.

A molecule of n atoms has n^2 pairs but few kinds of them: equal hops and equal bonds along the path. Pairs carry the
number of their class, so that a batch computes its bias once a class (a few thousand) instead of once a pair and layer
of embedding (a million); bench/massformer_throughput.py measures it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.molecule.graph import BOND_SIZES, MAX_PATH, UNREACHABLE, MolecularGraph

#: Kinds of bond: every combination of their features.
BOND_KINDS = int(np.prod(BOND_SIZES))
#: Hops of a pair that has the readout node in it; 0 to `UNREACHABLE` are the hops between atoms.
READOUT_HOPS = UNREACHABLE + 1
HOPS = READOUT_HOPS + 1  # categories
_STEPS = BOND_KINDS + 1  # a step of a path: 0 none, else 1 + the kind of its bond


@dataclass(frozen=True, eq=False)
class PairClasses:
    """The pairs of one molecule. keys: int64 [u], distinct; pairs: int32 [n + 1, n + 1], places in `keys`.

    Row and column 0 are the readout node's.
    """

    keys: NDArray[np.int64]
    pairs: NDArray[np.int32]


def bond_kinds(graph: MolecularGraph) -> NDArray[np.int64]:
    """The kind of each bond, int64 [m]: its features as one number below `BOND_KINDS`."""
    kinds = np.zeros(len(graph.bond_features), dtype=np.int64)
    for feature, size in enumerate(BOND_SIZES):
        kinds = kinds * size + graph.bond_features[:, feature]
    return kinds


def kind_features() -> NDArray[np.int64]:
    """int64 [BOND_KINDS, features]: the inverse of `bond_kinds`."""
    return np.stack(np.unravel_index(np.arange(BOND_KINDS), BOND_SIZES), axis=1)


def pair_classes(graph: MolecularGraph) -> PairClasses:
    """The classes of all pairs of a molecule."""
    # One entry more for the -1 of a path that has ended: it is the last.
    step = np.append(1 + bond_kinds(graph), 0)
    key = graph.distances.astype(np.int64)
    for position in range(MAX_PATH):
        key = key * _STEPS + step[graph.paths[:, :, position]]
    n = len(graph.atoms)
    whole = np.full((n + 1, n + 1), READOUT_HOPS * _STEPS**MAX_PATH, dtype=np.int64)
    whole[1:, 1:] = key
    keys, pairs = np.unique(whole, return_inverse=True)
    return PairClasses(keys, pairs.reshape(n + 1, n + 1).astype(np.int32))


def class_paths(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hops [u] and steps [u, MAX_PATH] (0: none, else 1 + kind of bond) of class keys."""
    steps = np.empty((len(keys), MAX_PATH), dtype=np.int64)
    for position in reversed(range(MAX_PATH)):
        keys, steps[:, position] = np.divmod(keys, _STEPS)
    return keys, steps


def stacked(molecules: list[PairClasses], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The classes of a batch, int64 [u], and pairs [m, size, size] as places in it; u marks what is only padding."""
    sizes = [len(molecule.keys) for molecule in molecules]
    keys, places = np.unique(np.concatenate([molecule.keys for molecule in molecules]), return_inverse=True)
    pairs = np.full((len(molecules), size, size), len(keys), dtype=np.int64)
    for row, (molecule, place) in enumerate(zip(molecules, np.split(places, np.cumsum(sizes)[:-1]), strict=True)):
        n = len(molecule.pairs)
        pairs[row, :n, :n] = place[molecule.pairs]
        # Padding looks at the readout node alone, which keeps its softmax finite; nothing looks at padding.
        pairs[row, n:, 0] = pairs[row, 0, 0]
    return keys, pairs
