"""Random molecules that no chemist would draw: graphs for tests of the encoders, without RDKit."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.fingerprints import FINGERPRINT_BITS
from ms2img.massformer.molecule.graph import ATOM_SIZES, BOND_SIZES, MAX_PATH, NO_BOND, UNREACHABLE, MolecularGraph
from ms2img.massformer.molecule.selfies_tokens import SelfiesVocabulary

SYMBOLS = tuple(f"[S{number}]" for number in range(12))
SELFIES = SelfiesVocabulary(SYMBOLS)


def random_graph(rng: np.random.Generator, n: int, *, fragments: int = 1, rings: int = 2) -> MolecularGraph:
    """n atoms in trees, some with up to `rings` more bonds; all categories random. Paths by breadth-first search."""
    fragment = np.sort(rng.integers(0, fragments, n))
    pairs = {(int(rng.choice(np.flatnonzero(fragment[:b] == fragment[b]))), b) for b in range(1, n)
             if (fragment[:b] == fragment[b]).any()}  # fmt: skip
    for _ in range(rings):
        a, b = sorted(rng.integers(0, n, 2).tolist())
        if a != b and fragment[a] == fragment[b]:
            pairs.add((a, b))
    bonds = np.array(sorted(pairs), dtype=np.int16).reshape(-1, 2)
    distances, paths = breadth_first(bonds, n)
    return MolecularGraph(
        atoms=np.stack([rng.integers(0, size, n) for size in ATOM_SIZES], axis=1).astype(np.int16),
        bonds=bonds,
        bond_features=np.stack([rng.integers(0, size, len(bonds)) for size in BOND_SIZES], axis=1).astype(np.int16),
        degrees=np.bincount(bonds.ravel(), minlength=n).astype(np.int16),
        distances=distances,
        paths=paths,
    )


def breadth_first(bonds: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hops and the first bonds of one shortest path, from every atom to every other."""
    distances = np.full((n, n), UNREACHABLE, dtype=np.uint8)
    paths = np.full((n, n, MAX_PATH), NO_BOND, dtype=np.int16)
    neighbours: list[list[tuple[int, int]]] = [[] for _ in range(n)]
    for number, (a, b) in enumerate(bonds.tolist()):
        neighbours[a].append((b, number))
        neighbours[b].append((a, number))
    for source in range(n):
        ways: dict[int, list[int]] = {source: []}
        queue = deque([source])
        while queue:
            atom = queue.popleft()
            for other, bond in neighbours[atom]:
                if other not in ways:
                    ways[other] = [*ways[atom], bond]
                    queue.append(other)
        for goal, way in ways.items():
            distances[source, goal] = len(way)
            paths[source, goal, : len(way)] = way[:MAX_PATH]
    return distances, paths


def permuted(graph: MolecularGraph, order: Sequence[int]) -> MolecularGraph:
    """The same molecule with its atoms in another order: atom i was atom ``order[i]``. Bonds keep their numbers."""
    order = np.asarray(order)
    place = np.argsort(order)
    return MolecularGraph(
        atoms=graph.atoms[order],
        bonds=place[graph.bonds].astype(np.int16),
        bond_features=graph.bond_features,
        degrees=graph.degrees[order],
        distances=graph.distances[np.ix_(order, order)],
        paths=graph.paths[np.ix_(order, order)],
    )


def random_features(rng: np.random.Generator, n: int, *, fragments: int = 1) -> MoleculeFeatures:
    """A random graph of n atoms, random bits and about n random SELFIES symbols; nothing of it belongs together."""
    return described(rng, random_graph(rng, n, fragments=fragments))


def described(rng: np.random.Generator, graph: MolecularGraph) -> MoleculeFeatures:
    """A graph with random bits and symbols."""
    bits = (rng.random(FINGERPRINT_BITS) < 0.02).astype(np.uint8)
    tokens = tuple(rng.choice(SYMBOLS, graph.n_atoms + int(rng.integers(0, 4))).tolist())
    return MoleculeFeatures(graph=graph, fingerprint=bits, tokens=tokens)
