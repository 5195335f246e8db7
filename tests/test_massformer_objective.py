"""The cosine objective against numpy, and its figure of the validation part: molecules count alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.objective import CosineObjective, molecule_means, spectrum_cosines

MOLECULE_OF = np.array([7, 3, 7, 7, 5])


class Fixed(nn.Module):
    """Predicts what it is given, and scales it."""

    def __init__(self, predicted: np.ndarray) -> None:
        super().__init__()
        self.predicted = torch.tensor(predicted, dtype=torch.float32)
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, batch: SpectrumBatch) -> Tensor:
        return self.scale * self.predicted[batch.rows]


def batch_of(target: np.ndarray, rows: np.ndarray, weight: float = 1.0) -> SpectrumBatch:
    n = len(rows)
    return SpectrumBatch(
        molecules={},
        molecule_rows=torch.zeros(n, dtype=torch.int64),
        conditions=torch.zeros(n, 1),
        precursor_mz=torch.zeros(n),
        target=torch.tensor(target[rows], dtype=torch.float32),
        size=n,
        weight=weight,
        rows=torch.from_numpy(rows),
    )


@pytest.fixture
def spectra() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and measured spectra [5, 12], and their cosines by numpy."""
    rng = np.random.default_rng(0)
    predicted, measured = rng.random((5, 12)) * (rng.random((5, 12)) > 0.5), rng.random((5, 12))
    predicted[3] = 0  # nothing is predicted: a cosine of 0, and no NaN in its gradient
    norms = np.linalg.norm(predicted, axis=1) * np.linalg.norm(measured, axis=1)
    cosines = np.divide((predicted * measured).sum(axis=1), norms, out=np.zeros(5), where=norms > 0)
    return predicted, measured, cosines


def test_the_loss_is_the_mean_cosine_distance(spectra: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    predicted, measured, cosines = spectra
    network, rows = Fixed(predicted), np.array([4, 0, 3])
    (loss,) = CosineObjective(MOLECULE_OF).losses(network, batch_of(measured, rows), torch.float32)
    assert float(loss.detach()) == pytest.approx(1 - cosines[rows].mean(), abs=1e-6)
    loss.backward()
    assert network.scale.grad is not None
    assert float(network.scale.grad) == pytest.approx(0.0, abs=1e-6)  # the scale carries no meaning


def test_molecules_count_alike_in_the_validation_part(spectra: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    predicted, measured, cosines = spectra

    def batches() -> Iterator[SpectrumBatch]:
        yield batch_of(measured, np.array([3, 1]))
        yield batch_of(measured, np.array([0, 4, 2]))

    aim = CosineObjective(MOLECULE_OF)
    with torch.inference_mode():
        told = aim.validate(Fixed(predicted), batches(), torch.float32)
        rows, found = spectrum_cosines(Fixed(predicted), batches())
    by_hand = np.mean([cosines[[0, 2, 3]].mean(), cosines[1], cosines[4]])
    assert told["validation_cosine"] == pytest.approx(by_hand, abs=1e-6)
    assert told["validation_loss"] == pytest.approx(1 - by_hand, abs=1e-6)
    assert rows.tolist() == [3, 1, 0, 4, 2]
    np.testing.assert_allclose(found, cosines[rows], atol=1e-6)
    assert aim.validate(Fixed(predicted), iter(()), torch.float32) == {}


def test_means_are_in_the_order_of_molecule_numbers() -> None:
    assert molecule_means(np.array([1.0, 2.0, 3.0, 5.0]), np.array([9, 4, 9, 4])).tolist() == [3.5, 2.0]


def test_parts_add_up_to_the_batch(spectra: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    predicted, measured, _ = spectra
    aim, whole = CosineObjective(MOLECULE_OF), batch_of(measured, np.arange(5), weight=0.8)
    parts = aim.parts(whole, 2)
    assert [len(part.target) for part in parts] == [2, 2, 1]
    losses = [float(aim.losses(Fixed(predicted), part, torch.float32)[0].detach()) * part.weight for part in parts]
    assert sum(losses) == pytest.approx(
        0.8 * float(aim.losses(Fixed(predicted), whole, torch.float32)[0].detach()), rel=1e-5
    )


def test_predictions_that_are_not_finite_are_said(spectra: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, measured, _ = spectra
    broken = Fixed(np.full((5, 12), np.nan))
    with pytest.raises(FloatingPointError, match="not finite; a lower learning rate"):
        CosineObjective(MOLECULE_OF).validate(broken, iter([batch_of(measured, np.arange(5))]), torch.float32)
