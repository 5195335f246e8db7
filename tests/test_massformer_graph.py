"""Molecular graphs: features against torch-geometric's and RDKit's, distances against two other algorithms."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from scipy.sparse.csgraph import floyd_warshall
from test_massformer_structure import SMILES
from torch_geometric.utils import from_smiles

from ms2img.massformer.molecule.graph import (
    ATOM_FEATURES,
    ATOM_SIZES,
    BOND_FEATURES,
    BOND_SIZES,
    MAX_PATH,
    NO_BOND,
    UNREACHABLE,
    MolecularGraph,
    graph_of,
    shortest_paths,
)
from ms2img.massformer.molecule.structure import normal_mol, parse


def graph(smiles: str) -> MolecularGraph:
    return graph_of(normal_mol(smiles))


def hops(bonds: np.ndarray, n: int) -> np.ndarray:
    """uint8 [n, n] by networkx' breadth-first search."""
    net = nx.Graph()
    net.add_nodes_from(range(n))
    net.add_edges_from(bonds.tolist())
    found = np.full((n, n), UNREACHABLE, dtype=np.uint8)
    for start, lengths in nx.all_pairs_shortest_path_length(net):
        for end, length in lengths.items():
            found[start, end] = length
    return found


def bonds_by_atoms(found: MolecularGraph, name: np.ndarray) -> dict[frozenset[int], list[int]]:
    """The features of each bond by its two atoms; `name` [n] is what each atom is called."""
    pairs = zip(name[found.bonds].tolist(), found.bond_features.tolist(), strict=True)
    return {frozenset(pair): row for pair, row in pairs}


def walk_every_path(bonds: np.ndarray, distances: np.ndarray, paths: np.ndarray) -> None:
    """Walk each path bond by bond: it leaves i, comes one hop nearer to j with each bond, and reaches j when it may."""
    n = len(distances)
    assert paths.shape == (n, n, MAX_PATH)
    for i in range(n):
        for j in range(n):
            far = int(distances[i, j])
            length = 0 if far == UNREACHABLE else min(far, MAX_PATH)
            assert (paths[i, j, length:] == NO_BOND).all()
            at = i
            for number in paths[i, j, :length]:
                first, second = bonds[number]
                assert at in (first, second)
                at = int(second if at == first else first)
                far -= 1
                assert distances[at, j] == far
            assert at == j or length == MAX_PATH or distances[i, j] == UNREACHABLE


@pytest.mark.parametrize("smiles", SMILES)
def test_distances_are_those_of_floyd_warshall_and_breadth_first_search(smiles: str) -> None:
    found = graph(smiles)
    adjacency = np.zeros((found.n_atoms, found.n_atoms))
    adjacency[found.bonds[:, 0], found.bonds[:, 1]] = 1
    np.testing.assert_array_equal(found.distances, floyd_warshall(adjacency, directed=False, unweighted=True))
    np.testing.assert_array_equal(found.distances, hops(found.bonds, found.n_atoms))


@pytest.mark.parametrize("smiles", SMILES)
def test_every_path_of_a_molecule_is_a_shortest_walk(smiles: str) -> None:
    found = graph(smiles)
    walk_every_path(found.bonds, found.distances, found.paths)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 14), density=st.floats(0, 1), seed=st.integers(0, 10_000))
def test_every_path_of_any_graph_is_a_shortest_walk(n: int, density: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.array([(i, j) for i in range(n) for j in range(i)], dtype=np.int16).reshape(-1, 2)
    bonds = rng.permutation(pairs[rng.random(len(pairs)) < density])
    distances = hops(bonds, n)
    walk_every_path(bonds, distances, shortest_paths(bonds, distances))


def test_of_several_shortest_paths_the_neighbour_of_the_lowest_number_is_taken() -> None:
    square = np.array([[2, 3], [0, 2], [1, 3], [0, 1]], dtype=np.int16)
    paths = shortest_paths(square, hops(square, 4))
    assert paths[0, 3].tolist() == [3, 2, NO_BOND, NO_BOND, NO_BOND]  # 0 - 1 - 3, not 0 - 2 - 3
    assert paths[3, 0].tolist() == [2, 3, NO_BOND, NO_BOND, NO_BOND]


@pytest.mark.parametrize("smiles", [*SMILES, "CCBr", "C[Si](C)(C)C", "CS(F)(F)(F)(F)F", "O=[N+]([O-])c1ccncc1"])
def test_categories_are_those_of_torch_geometric(smiles: str) -> None:
    mol = normal_mol(smiles, elements=None)
    found, other = graph_of(mol), from_smiles(Chem.MolToSmiles(mol))
    # Its columns: atomic number (0 is no atom), chirality, total degree, charge + 5, hydrogens, radicals, hybridisation
    # (in another order), aromatic, in ring.
    theirs = other.x.numpy()[:, [0, 2, 3, 4, 5, 7, 8]]
    ours = found.atoms[:, [0, 1, 2, 3, 4, 6, 7]].copy()
    ours[:, 0] += 1
    np.testing.assert_array_equal(ours, theirs)
    both_ways = zip(other.edge_index.T.tolist(), other.edge_attr.tolist(), strict=True)
    bonds = {frozenset(pair): row for pair, row in both_ways}
    types = {1: 0, 2: 1, 3: 2, 12: 3}  # single, double, triple, aromatic
    assert len(found.bonds) == len(bonds)
    for pair, row in zip(found.bonds.tolist(), found.bond_features.tolist(), strict=True):
        kind, _, conjugated = bonds[frozenset(pair)]
        assert row == [types[kind], 0, conjugated]


def test_categories_by_hand() -> None:
    acid = graph("CC(=O)O")
    assert dict(zip(ATOM_FEATURES, acid.atoms[1].tolist(), strict=True)) == {
        "atomic_number": 5, "total_degree": 3, "formal_charge": 5, "hydrogens": 0, "radical_electrons": 0,
        "hybridisation": 1, "aromatic": 0, "in_ring": 0,
    }  # fmt: skip
    assert dict(zip(BOND_FEATURES, acid.bond_features[1].tolist(), strict=True)) == {
        "type": 1, "stereo": 0, "conjugated": 1,
    }  # fmt: skip
    assert graph("[O-][n+]1ccccc1").atoms[:2, 2].tolist() == [4, 6]  # -1, +1
    assert graph("CC1(C)CCCC(C)(C)N1[O]").atoms[:, 4].sum() == 1
    assert graph_of(Chem.MolFromSmiles("C/C=C/C")).bond_features[1].tolist() == [1, 2, 0]  # E


def test_what_a_list_lacks_is_its_last_category() -> None:
    metal = graph_of(Chem.MolFromSmiles("[Fe+7]"))
    assert metal.atoms[0].tolist()[:3] == [25, 0, ATOM_SIZES[2] - 1]
    assert graph_of(Chem.MolFromSmiles("CC->[Fe]")).bond_features[1, 0] == BOND_SIZES[0] - 1
    assert graph_of(Chem.MolFromSmiles("*C")).atoms[0, 0] == ATOM_SIZES[0] - 1


@pytest.mark.parametrize("smiles", SMILES)
def test_categories_are_in_range_and_degrees_are_rdkits(smiles: str) -> None:
    mol = normal_mol(smiles)
    found = graph_of(mol)
    assert found.degrees.tolist() == [atom.GetDegree() for atom in mol.GetAtoms()]
    assert ((found.atoms >= 0) & (found.atoms < ATOM_SIZES)).all()
    assert ((found.bond_features >= 0) & (found.bond_features < BOND_SIZES)).all()
    kinds = {name: getattr(found, name).dtype.name for name in vars(found)}
    assert kinds == dict.fromkeys(kinds, "int16") | {"distances": "uint8"}


@settings(max_examples=60, deadline=None)
@given(smiles=st.sampled_from(SMILES), seed=st.integers(0, 10_000))
def test_renumbering_atoms_permutes_the_graph(smiles: str, seed: int) -> None:
    mol = normal_mol(smiles)
    order = np.random.default_rng(seed).permutation(mol.GetNumAtoms())
    first, second = graph_of(mol), graph_of(Chem.RenumberAtoms(mol, order.tolist()))
    np.testing.assert_array_equal(second.atoms, first.atoms[order])
    np.testing.assert_array_equal(second.degrees, first.degrees[order])
    np.testing.assert_array_equal(second.distances, first.distances[np.ix_(order, order)])
    assert bonds_by_atoms(second, order) == bonds_by_atoms(first, np.arange(len(order)))
    walk_every_path(second.bonds, second.distances, second.paths)


@settings(max_examples=40, deadline=None)
@given(smiles=st.sampled_from(SMILES), seed=st.integers(1, 2**31 - 1), kekule=st.booleans())
def test_any_spelling_gives_the_same_arrays(smiles: str, seed: int, kekule: bool) -> None:
    spelling = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed, kekuleSmiles=kekule)[0]
    first, second = graph_of(parse(smiles).mol), graph_of(parse(spelling).mol)
    for name in vars(first):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_fragments_are_unreachable_from_each_other() -> None:
    salt = graph_of(Chem.MolFromSmiles("CO.N"))
    assert salt.distances.tolist() == [[0, 1, UNREACHABLE], [1, 0, UNREACHABLE], [UNREACHABLE, UNREACHABLE, 0]]
    walk_every_path(salt.bonds, salt.distances, salt.paths)


def test_one_atom_has_no_bond() -> None:
    methane = graph("C")
    assert methane.bonds.shape == (0, 2)
    assert methane.bond_features.shape == (0, len(BOND_SIZES))
    assert methane.paths.tolist() == [[[NO_BOND] * MAX_PATH]]
    assert methane.degrees.tolist() == [0]


def test_hops_that_do_not_fit_are_refused() -> None:
    chain = graph_of(Chem.MolFromSmiles("C" * UNREACHABLE))
    assert chain.distances.max() == UNREACHABLE - 1
    with pytest.raises(ValueError, match="256 atoms"):
        graph_of(Chem.MolFromSmiles("C" * (UNREACHABLE + 1)))
