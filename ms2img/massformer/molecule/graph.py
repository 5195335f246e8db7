"""A molecule as Graphormer sees it: atoms, bonds, hops between every two atoms and the bonds along the way.

Atom and bond features are those of OGB, as Graphormer uses them (atom chirality left out: the normal form has none).
A category outside a list gets the list's last number. MassFormer, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rdkit import Chem

#: `distances` between atoms that no path joins.
UNREACHABLE = 255
#: Edges kept of a path: Graphormer's `multi_hop_max_dist`.
MAX_PATH = 5
#: Entry of `paths` where a path has ended.
NO_BOND = -1

# Numbers of categories per atom feature, the last of each "other"; OGB, `ogb.utils.features.allowable_features`.
_ATOMIC_NUMBERS = 118
_MAX_DEGREE = 10
_MAX_CHARGE = 5
_MAX_HYDROGENS = 8
_MAX_RADICALS = 4
_HYBRIDISATIONS = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
_BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_BOND_STEREO = ("STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY")

#: The columns of `MolecularGraph.atoms`, and how many categories each has.
ATOM_FEATURES = (
    "atomic_number", "total_degree", "formal_charge", "hydrogens", "radical_electrons",
    "hybridisation", "aromatic", "in_ring",
)  # fmt: skip
ATOM_SIZES: tuple[int, ...] = (
    _ATOMIC_NUMBERS + 1,  # 1 to 118 at 0 to 117
    _MAX_DEGREE + 2,  # hydrogens counted, as OGB does; without them: `MolecularGraph.degrees`
    2 * _MAX_CHARGE + 2,  # -5 to 5 at 0 to 10
    _MAX_HYDROGENS + 2,
    _MAX_RADICALS + 2,
    len(_HYBRIDISATIONS) + 1,
    2,
    2,
)
#: The columns of `MolecularGraph.bond_features`, and how many categories each has.
BOND_FEATURES = ("type", "stereo", "conjugated")
BOND_SIZES: tuple[int, ...] = (len(_BOND_TYPES) + 1, len(_BOND_STEREO), 2)


@dataclass(frozen=True, eq=False)
class MolecularGraph:
    """One molecule of n heavy atoms and m bonds. The readout node is the model's matter.

    atoms: int16 [n, len(ATOM_SIZES)], category numbers.
    bonds: int16 [m, 2], the two atoms of each bond, each bond once.
    bond_features: int16 [m, len(BOND_SIZES)], category numbers.
    degrees: int16 [n], bonds of each atom: the centrality.
    distances: uint8 [n, n], hops; `UNREACHABLE` between fragments.
    paths: int16 [n, n, MAX_PATH], the first bonds along one shortest path from atom i to atom j, then `NO_BOND`.
    """

    atoms: np.ndarray
    bonds: np.ndarray
    bond_features: np.ndarray
    degrees: np.ndarray
    distances: np.ndarray
    paths: np.ndarray

    @property
    def n_atoms(self) -> int:
        """Heavy atoms."""
        return len(self.atoms)


def graph_of(mol: Chem.Mol) -> MolecularGraph:
    """The graph of a molecule without explicit hydrogens, atoms and bonds in RDKit's order.

    Of several shortest paths each step takes the neighbour of the lowest number; `structure.parse` numbers atoms
    canonically, so that the choice is the same for every spelling. Raises `ValueError` for more than 255 atoms.
    """
    if mol.GetNumAtoms() > UNREACHABLE:
        raise ValueError(f"{mol.GetNumAtoms()} atoms; hops fit eight bits up to {UNREACHABLE}")
    bonds, bond_features = _bond_arrays(mol)
    distances = _hops(mol)
    return MolecularGraph(
        atoms=_atom_array(mol),
        bonds=bonds,
        bond_features=bond_features,
        degrees=np.bincount(bonds.ravel(), minlength=len(distances)).astype(np.int16),
        distances=distances,
        paths=shortest_paths(bonds, distances),
    )


def shortest_paths(bonds: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """The first `MAX_PATH` bonds of a shortest path between every two atoms.

    bonds: int [m, 2]; distances: hops [n, n], `UNREACHABLE` where there is no path. Returns int16 [n, n, MAX_PATH].
    """
    n = len(distances)
    paths = np.full((n, n, MAX_PATH), NO_BOND, dtype=np.int16)
    if not len(bonds):
        return paths
    neighbours, numbers = _neighbour_table(bonds, n)
    hops = distances.astype(np.int16)
    # step[i, j, k]: neighbour k of i is one hop nearer to j. The table's padding is atom i itself, which never is.
    step = hops[neighbours].transpose(0, 2, 1) == (hops - 1)[:, :, None]
    first = step.argmax(axis=2)  # [n, n]; meaningless where no step is nearer: i = j, and between fragments
    row = np.arange(n)[:, None]
    next_atom, next_bond = neighbours[row, first], numbers[row, first]
    arrived = ~step.any(axis=2)
    next_atom[arrived], next_bond[arrived] = np.broadcast_to(row, (n, n))[arrived], NO_BOND
    at = np.broadcast_to(row, (n, n))
    goal = np.arange(n)[None, :]
    for position in range(MAX_PATH):
        paths[:, :, position] = next_bond[at, goal]
        at = next_atom[at, goal]
    return paths


def _neighbour_table(bonds: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours [n, k] of each atom, ascending, padded with the atom itself, and the numbers of the bonds to them."""
    m = len(bonds)
    start = np.concatenate([bonds[:, 0], bonds[:, 1]]).astype(np.intp)
    end = np.concatenate([bonds[:, 1], bonds[:, 0]]).astype(np.intp)
    order = np.lexsort((end, start))
    start, end, number = start[order], end[order], (order % m).astype(np.int16)
    degrees = np.bincount(start, minlength=n)
    slot = np.arange(2 * m) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    neighbours = np.repeat(np.arange(n)[:, None], degrees.max(), axis=1)
    numbers = np.full(neighbours.shape, NO_BOND, dtype=np.int16)
    neighbours[start, slot], numbers[start, slot] = end, number
    return neighbours, numbers


def _hops(mol: Chem.Mol) -> np.ndarray:
    from rdkit import Chem

    # RDKit's own Floyd-Warshall, in C++; it writes 1e8 between fragments.
    return np.minimum(Chem.GetDistanceMatrix(mol), UNREACHABLE).astype(np.uint8)


def _atom_array(mol: Chem.Mol) -> np.ndarray:
    hybridisation = _hybridisation_numbers()
    other = len(_HYBRIDISATIONS)
    rows = [
        (
            _within(atom.GetAtomicNum() - 1, _ATOMIC_NUMBERS),
            _within(atom.GetTotalDegree(), _MAX_DEGREE + 1),
            _within(atom.GetFormalCharge() + _MAX_CHARGE, 2 * _MAX_CHARGE + 1),
            _within(atom.GetTotalNumHs(), _MAX_HYDROGENS + 1),
            _within(atom.GetNumRadicalElectrons(), _MAX_RADICALS + 1),
            hybridisation.get(atom.GetHybridization(), other),
            int(atom.GetIsAromatic()),
            int(atom.IsInRing()),
        )
        for atom in mol.GetAtoms()
    ]
    return np.array(rows, dtype=np.int16).reshape(-1, len(ATOM_SIZES))


def _bond_arrays(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    types, stereo = _bond_numbers()
    other = len(_BOND_TYPES)
    rows = [
        (
            bond.GetBeginAtomIdx(),
            bond.GetEndAtomIdx(),
            types.get(bond.GetBondType(), other),
            stereo.get(bond.GetStereo(), 0),
            int(bond.GetIsConjugated()),
        )
        for bond in mol.GetBonds()
    ]
    table = np.array(rows, dtype=np.int16).reshape(-1, 2 + len(BOND_SIZES))
    return table[:, :2].copy(), table[:, 2:].copy()


def _within(number: int, size: int) -> int:
    """`number` where it is one of 0 to size - 1, else `size`: other."""
    return number if 0 <= number < size else size


@cache
def _hybridisation_numbers() -> dict[Any, int]:
    from rdkit import Chem

    return {getattr(Chem.HybridizationType, name): number for number, name in enumerate(_HYBRIDISATIONS)}


@cache
def _bond_numbers() -> tuple[dict[Any, int], dict[Any, int]]:
    from rdkit import Chem

    return (
        {getattr(Chem.BondType, name): number for number, name in enumerate(_BOND_TYPES)},
        {getattr(Chem.BondStereo, name): number for number, name in enumerate(_BOND_STEREO)},
    )
