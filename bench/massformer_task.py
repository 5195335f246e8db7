"""Spectra to measure MassFormer's speed with: of a library's molecules, or of random ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.conditions import ConditionVocabulary
from ms2img.massformer.library.folder import read_library
from ms2img.massformer.molecule.description import MoleculeFeatures, features_of
from ms2img.massformer.molecule.fingerprints import FINGERPRINT_BITS
from ms2img.massformer.molecule.graph import ATOM_SIZES, BOND_SIZES, MolecularGraph, shortest_paths
from ms2img.massformer.spectrum import SpectrumConfig

#: Of the MassBank records that the paper's filters keep ([M+H]+, HCD): percentiles of heavy atoms, spectra a molecule.
PERCENTILES, ATOMS = (0, 5, 50, 95, 100), (4, 10, 20, 36, 78)
SPECTRA_A_MOLECULE = 9
VOCABULARY = ConditionVocabulary(("[M+H]+",), ("QFT",))
SPECTRUM = SpectrumConfig()


@dataclass(frozen=True, eq=False)
class Task:
    """n spectra of molecules: which of them each is of, and its conditions, precursor m/z and target, all random."""

    features: list[MoleculeFeatures]
    molecule: NDArray[np.int64]
    conditions: NDArray[np.float32]
    precursor_mz: NDArray[np.float32]
    target: NDArray[np.float32]

    def first(self, molecules: int) -> Task:
        """The spectra of the first few molecules."""
        return Task.of(self.features[:molecules], self.molecule[self.molecule < molecules])

    def one_each(self) -> Task:
        """A spectrum for every molecule."""
        return Task.of(self.features, np.arange(len(self.features)))

    @classmethod
    def of(cls, features: list[MoleculeFeatures], molecule: NDArray[np.int64]) -> Task:
        """The task to predict spectra of these molecules; no time depends on what is random in it."""
        rng, n = np.random.default_rng(1), len(molecule)
        mz, energy = rng.uniform(100, 900, n), rng.uniform(10, 60, n)
        conditions = VOCABULARY.encode_all(["[M+H]+"] * n, ["QFT"] * n, energy, energy, ["NCE"] * n, mz)
        target = rng.random((n, SPECTRUM.n_bins), dtype=np.float32)
        return cls(features, molecule, conditions, mz.astype(np.float32), target)


def library_task(place: str, molecules: int) -> Task:
    """The spectra of some molecules of a prepared library, chosen at random."""
    library = read_library(place)
    kept = library.spectra.to_pandas().query("cell == 'HCD' and adduct == '[M+H]+'")
    names = np.random.default_rng(0).permutation(np.unique(kept["molecule_id"]))[:molecules].tolist()
    smiles = dict(zip(*(library.molecules[name].to_pylist() for name in ("molecule_id", "smiles")), strict=True))
    number = {name: row for row, name in enumerate(names)}
    molecule = [number[name] for name in kept["molecule_id"] if name in number]
    return Task.of([features_of(smiles[name]) for name in names], np.array(molecule))


def random_task(molecules: int) -> Task:
    """Chains of random atoms with branches and rings, of the sizes of a library."""
    rng = np.random.default_rng(0)
    sizes = np.interp(rng.uniform(0, 100, molecules), PERCENTILES, ATOMS).astype(int)
    bits = np.zeros(FINGERPRINT_BITS, dtype=np.uint8)
    features = [MoleculeFeatures(_graph(rng, int(n)), bits, ()) for n in sizes]
    return Task.of(features, np.repeat(np.arange(molecules), SPECTRA_A_MOLECULE))


def _graph(rng: np.random.Generator, n: int) -> MolecularGraph:
    pairs = {(max(0, int(atom - rng.integers(1, 4))), atom) for atom in range(1, n)}
    pairs |= {(atom - 5, atom) for atom in range(5, n) if rng.random() < 0.1}
    bonds = np.array(sorted(pairs), dtype=np.int16)
    hops = np.full((n, n), n, dtype=np.int64)
    np.fill_diagonal(hops, 0)
    hops[bonds[:, 0], bonds[:, 1]] = hops[bonds[:, 1], bonds[:, 0]] = 1
    for middle in range(n):
        hops = np.minimum(hops, hops[:, middle, None] + hops[middle])
    distances = hops.astype(np.uint8)
    # As in molecules: most atoms are carbon of a few kinds, and most bonds single or aromatic.
    kinds = np.stack([rng.integers(0, min(size, 3), 6) for size in ATOM_SIZES], axis=1).astype(np.int16)
    bond_kinds = np.stack([rng.integers(0, min(size, 2), 4) for size in BOND_SIZES], axis=1).astype(np.int16)
    return MolecularGraph(
        atoms=kinds[rng.integers(0, 6, n)],
        bonds=bonds,
        bond_features=bond_kinds[rng.integers(0, 4, len(bonds))],
        degrees=np.bincount(bonds.ravel(), minlength=n).astype(np.int16),
        distances=distances,
        paths=shortest_paths(bonds, distances),
    )
