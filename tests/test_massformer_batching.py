"""Batches: every spectrum once, each molecule once a batch, of like size, the same for any number of workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from massformer_graphs import SELFIES, random_features
from numpy.typing import NDArray

from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.batching import SpectrumBatches, collate, epoch_batches, grouped
from ms2img.massformer.encoders import KINDS

RNG = np.random.default_rng(0)
FEATURES = [random_features(RNG, int(n)) for n in RNG.integers(1, 25, 40)]
N = 300
MOLECULE = RNG.integers(0, 40, N)
CONDITIONS = RNG.random((N, 6), dtype=np.float32)
PRECURSOR = RNG.random(N) * 100
TARGET = RNG.random((N, 20), dtype=np.float32)
TRAIN, VALIDATION = np.arange(0, 230), np.arange(230, 290)


def batches_of(kind: str = "massformer", **settings) -> SpectrumBatches:
    arrays = {"molecule": MOLECULE, "conditions": CONDITIONS, "precursor_mz": PRECURSOR, "target": TARGET}
    defaults = {"train": TRAIN, "validation": VALIDATION, "batch_size": 32, "seed": 5, "device": torch.device("cpu")}
    return SpectrumBatches(kind, FEATURES, selfies=SELFIES, **arrays | defaults | settings)


def rows_of(batches: list[SpectrumBatch]) -> NDArray[np.int64]:
    return np.concatenate([batch.rows.numpy() for batch in batches])


def test_an_epoch_has_every_training_spectrum_once_in_batches_of_equal_size() -> None:
    found = list(batches_of().train(1))
    assert sorted(rows_of(found)) == TRAIN.tolist()
    sizes = [len(batch.rows) for batch in found]
    assert sizes == [batch.size for batch in found]
    assert len(sizes) == 8
    assert set(sizes) <= {28, 29}
    assert {batch.weight for batch in found} == {1.0}


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 320, 321])
def test_no_batch_is_larger_than_asked(n: int) -> None:
    found = epoch_batches(np.zeros(n, dtype=np.int64), np.array([4]), 32, 4, np.random.default_rng(0))
    assert len(found) == -(-n // 32)
    assert max(map(len, found)) <= 32
    assert sorted(np.concatenate(found)) == list(range(n))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_holds_the_rows_it_names_and_each_molecule_once(kind: str) -> None:
    for batch in [*batches_of(kind).train(2), *batches_of(kind).validation()]:
        rows = batch.rows.numpy()
        numbers = np.unique(MOLECULE[rows])
        np.testing.assert_array_equal(numbers[batch.molecule_rows.numpy()], MOLECULE[rows])
        expected = collate(kind, [FEATURES[number] for number in numbers], SELFIES)
        assert batch.molecules.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(batch.molecules[name], tensor)
        np.testing.assert_array_equal(batch.conditions, CONDITIONS[rows])
        np.testing.assert_allclose(batch.precursor_mz, PRECURSOR[rows], rtol=1e-6)
        np.testing.assert_array_equal(batch.target, TARGET[rows])


def test_validation_is_whole_and_the_same_every_time() -> None:
    batches = batches_of()
    once, again = (rows_of(list(batches.validation())) for _ in range(2))
    assert sorted(once) == VALIDATION.tolist()
    np.testing.assert_array_equal(once, again)
    sizes = [[FEATURES[MOLECULE[row]].graph.n_atoms for row in batch.rows.tolist()] for batch in batches.validation()]
    in_turn = [size for each in sizes for size in each]
    assert in_turn == sorted(in_turn)
    assert all(max(each) <= 1.25 * min(each) + 1 for each in sizes)


def test_without_a_validation_part_there_is_nothing_to_validate() -> None:
    assert list(batches_of(validation=np.array([], dtype=np.int64)).validation()) == []


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    torch.manual_seed(0)
    one = rows_of(list(batches_of().train(3)))
    torch.manual_seed(1)
    other = batches_of()
    list(other.train(1))
    np.testing.assert_array_equal(rows_of(list(other.train(3))), one)
    assert (rows_of(list(batches_of().train(4))) != one).any()
    assert (rows_of(list(batches_of(seed=6).train(3))) != one).any()


@pytest.mark.parametrize("world_size", [2, 3])
def test_workers_share_the_batches_of_one(world_size: int) -> None:
    alone = list(batches_of().train(1))
    shared = [list(batches_of(rank=rank, world_size=world_size).train(1)) for rank in range(world_size)]
    for number, batch in enumerate(alone):
        parts = [worker[number] for worker in shared]
        assert sorted(rows_of(parts)) == sorted(batch.rows.tolist())
        # The mean over the workers of weight x mean of the part is the mean of the whole.
        means = [part.weight * part.target.double().mean() for part in parts]
        torch.testing.assert_close(sum(means) / world_size, batch.target.double().mean())
        assert {part.size for part in parts} == {batch.size}


def test_a_worker_without_a_spectrum_lends_a_weightless_one() -> None:
    found = [next(iter(batches_of(train=TRAIN[:2], rank=rank, world_size=3).train(1))) for rank in range(3)]
    assert [batch.weight for batch in found] == [1.5, 1.5, 0.0]
    assert [len(batch.rows) for batch in found] == [1, 1, 1]


@pytest.mark.parametrize("together", [1, 3, 100])
def test_the_spectra_of_a_molecule_travel_in_groups(together: int) -> None:
    molecule = np.repeat(np.arange(30), 10)
    order = grouped(molecule, together, np.random.default_rng(1))
    assert sorted(order) == list(range(300))
    runs = np.split(molecule[order], np.flatnonzero(np.diff(molecule[order])) + 1)
    longest = max(map(len, runs))
    # Two groups of one molecule may meet by chance.
    assert len(runs) >= {1: 250, 3: 100, 100: 30}[together]
    assert longest >= min(together, 10)


def test_more_together_means_fewer_molecules_to_encode() -> None:
    molecule = np.repeat(np.arange(1000), 8)
    atoms = np.random.default_rng(1).integers(5, 60, 1000)
    encoded = {
        together: sum(
            len(np.unique(molecule[places]))
            for places in epoch_batches(molecule, atoms, 32, together, np.random.default_rng(2))
        )
        for together in (1, 4, 8)
    }
    assert encoded[1] > 1.5 * encoded[4] > 2 * encoded[8]
    assert encoded[8] < 1300  # each of 1,000 once, and again where a batch ends


def test_batches_hold_molecules_of_like_size() -> None:
    """Nodes that are only padding, against batches drawn without regard to size."""
    rng = np.random.default_rng(2)
    atoms = rng.integers(5, 60, 4000)
    molecule = np.arange(4000)

    def padding(batches: list[NDArray[np.int64]]) -> float:
        real = sum(atoms[places].sum() for places in batches)
        return 1 - real / sum(len(places) * atoms[places].max() for places in batches)

    sorted_ones = epoch_batches(molecule, atoms, 32, 1, np.random.default_rng(3))
    assert padding(sorted_ones) < 0.1
    assert padding(np.split(rng.permutation(4000), 125)) > 0.4
