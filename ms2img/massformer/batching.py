"""Batches of spectra whose molecules are of like size, each encoded once: little padding, little work twice.

Attention costs the square of the padded size, and a library has each molecule at many collision energies. So the
spectra of a molecule travel through an epoch together, in groups of `TOGETHER`, groups are drawn at random, and only
within a pool of several batches are they sorted by size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ms2img.errors import UsageError
from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.encoders import fingerprint, graphormer, selfies_cnn, wln
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.selfies_tokens import SelfiesVocabulary

#: Spectra of one molecule that come in one batch (ours): fewer make batches more varied, more make an epoch faster.
TOGETHER = 4
#: Batches within which spectra are sorted by the size of their molecule (ours).
POOL = 16
#: Spectra validated at a time, at most, and how much larger than its smallest the largest molecule may be (ours).
EVALUATION_BATCH = 256
EVALUATION_GROWTH = 1.25


class Collation(NamedTuple):
    """How molecules become what an encoder takes: `piece` of each (worth keeping), `stack` of a batch's pieces."""

    piece: Callable[[MoleculeFeatures], Any]
    stack: Callable[[list[Any]], dict[str, Tensor]]


def collation(kind: str, selfies: SelfiesVocabulary | None = None) -> Collation:
    """The collation of a kind of model; `selfies` is needed by "cnn" alone."""
    if kind == "massformer":
        return Collation(graphormer.piece, graphormer.stack)
    if kind == "wln":
        return Collation(wln.piece, wln.stack)
    if kind == "fp":
        return Collation(fingerprint.piece, fingerprint.stack)
    if selfies is None:
        raise UsageError("kind: cnn needs the SELFIES vocabulary of the training molecules")
    return Collation(selfies_cnn.piece(selfies), selfies_cnn.stack)


def collate(
    kind: str,
    features: Sequence[MoleculeFeatures],
    selfies: SelfiesVocabulary | None = None,
    *,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Molecules, at least one, as the encoder of `kind` takes them; their order stays."""
    piece, stack = collation(kind, selfies)
    return placed(stack([piece(one) for one in features]), device)


def placed(tensors: dict[str, Tensor], device: torch.device | None) -> dict[str, Tensor]:
    """The tensors on a device; None leaves them where they are."""
    return tensors if device is None else {name: tensor.to(device) for name, tensor in tensors.items()}


class SpectrumBatches:
    """Batches over rows of spectrum arrays; the protocol of `ms2img.learn.batches.Batches`.

    Parameters
    ----------
    kind: of the model the batches are for.
    features: of the molecules.
    molecule: int [n], which of `features` each spectrum is of.
    conditions: float32 [n, c], `ConditionVocabulary.encode_all`.
    precursor_mz: [n], Da.
    target: float32 [n, bins], transformed.
    train, validation: rows of these arrays; `validation` may be empty.
    batch_size: spectra of a batch over all workers together, at most: the batches of an epoch are of equal size.
    seed: equal seeds give equal batches, whatever the number of workers.
    selfies: for kind "cnn".
    together: see `TOGETHER`.
    rank, world_size: this worker's number, and how many share the batches.
    """

    def __init__(
        self,
        kind: str,
        features: Sequence[MoleculeFeatures],
        *,
        molecule: np.ndarray,
        conditions: np.ndarray,
        precursor_mz: np.ndarray,
        target: np.ndarray,
        train: np.ndarray,
        validation: np.ndarray,
        batch_size: int,
        seed: int,
        device: torch.device,
        selfies: SelfiesVocabulary | None = None,
        together: int = TOGETHER,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._features = features
        self._collation = collation(kind, selfies)
        self._pieces: dict[int, Any] = {}
        self._molecule = np.asarray(molecule, dtype=np.int64)
        self._conditions = np.asarray(conditions, dtype=np.float32)
        self._precursor_mz = np.asarray(precursor_mz, dtype=np.float32)
        self._target = target
        self._train = np.asarray(train, dtype=np.int64)
        self._atoms = np.array([len(one.graph.atoms) for one in features], dtype=np.int64)
        validation = np.asarray(validation, dtype=np.int64)
        self._validation = validation[by_size(self._molecule[validation], self._atoms)]
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._together = together
        self._rank = rank
        self._world_size = world_size

    def train(self, epoch: int) -> Iterator[SpectrumBatch]:
        """This worker's part of every batch of an epoch (from 1); the order depends on seed and epoch alone."""
        rng = np.random.default_rng((self._seed, epoch))
        for places in epoch_batches(self._molecule[self._train], self._atoms, self._batch_size, self._together, rng):
            part = np.array_split(places, self._world_size)[self._rank]
            weight = len(part) * self._world_size / len(places)
            # Every worker must take part in averaging the gradients: one without a spectrum lends a weightless one.
            yield self._batch(self._train[part if len(part) else places[:1]], len(places), weight)

    def validation(self) -> Iterator[SpectrumBatch]:
        """The validation part, whole on every worker, by size of the molecule: its `rows` say which spectrum is where.

        Nothing where there is none.
        """
        atoms = self._atoms[self._molecule[self._validation]]
        start = 0
        while start < len(atoms):
            largest = np.searchsorted(atoms, 1 + EVALUATION_GROWTH * atoms[start], side="right")
            rows = self._validation[start : min(start + EVALUATION_BATCH, int(largest))]
            yield self._batch(rows, len(rows), 1.0)
            start += len(rows)

    def _batch(self, rows: NDArray[np.int64], size: int, weight: float) -> SpectrumBatch:
        numbers, molecule_rows = np.unique(self._molecule[rows], return_inverse=True)
        stacked = self._collation.stack([self._piece(int(number)) for number in numbers])
        return SpectrumBatch(
            molecules=placed(stacked, self._device),
            molecule_rows=torch.from_numpy(molecule_rows).to(self._device),
            conditions=torch.from_numpy(self._conditions[rows]).to(self._device),
            precursor_mz=torch.from_numpy(self._precursor_mz[rows]).to(self._device),
            target=torch.from_numpy(self._target[rows]).to(self._device),
            size=size,
            weight=weight,
            rows=torch.from_numpy(rows),
        )

    def _piece(self, number: int) -> Any:
        """What a batch needs of a molecule, computed the first time it is seen."""
        if number not in self._pieces:
            self._pieces[number] = self._collation.piece(self._features[number])
        return self._pieces[number]


def epoch_batches(
    molecule: NDArray[np.int64], atoms: NDArray[np.int64], batch_size: int, together: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """An epoch's batches, places 0 to n - 1 each once: at most `batch_size` in one, and one more or less than another.

    molecule: int [n], of each place; atoms: of each molecule; together: see `TOGETHER`.
    """
    order = grouped(molecule, together, rng)
    n_batches = -(-len(order) // batch_size)
    batches: list[NDArray[np.int64]] = []
    bounds = np.arange(n_batches + 1) * len(order) // n_batches
    for first in range(0, n_batches, POOL):
        cuts = bounds[first : first + POOL + 1]
        pool = order[cuts[0] : cuts[-1]]
        pool = pool[np.argsort(atoms[molecule[pool]], kind="stable")]
        batches += np.split(pool, cuts[1:-1] - cuts[0])
    return [batches[number] for number in rng.permutation(n_batches)]


def grouped(molecule: NDArray[np.int64], together: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order of places 0 to n - 1 in which those of a molecule stand in groups of up to `together`."""
    shuffled = rng.permutation(len(molecule))
    shuffled = shuffled[np.argsort(molecule[shuffled], kind="stable")]
    first = np.searchsorted(molecule[shuffled], molecule[shuffled])
    within = (np.arange(len(molecule)) - first) // together
    group = np.cumsum(np.append(0, (np.diff(molecule[shuffled]) != 0) | (np.diff(within) != 0)))[: len(molecule)]
    return shuffled[np.argsort(rng.permutation(len(molecule))[group], kind="stable")]


def by_size(molecule: NDArray[np.int64], atoms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of places 0 to n - 1 by atoms of the molecule, the places of one molecule side by side."""
    return np.lexsort((molecule, atoms[molecule]))
