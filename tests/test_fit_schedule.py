"""The learning rate over a training, clipped gradients, a budget of seconds, and an objective of one's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ms2img.errors import UsageError
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.schedule import rate_factor

CONFIG = FitConfig(epochs=10, learning_rate=0.1, threads=1, precision="float32", device="cpu")


class Point(NamedTuple):
    """A batch of nothing but its size."""

    pull: float
    size: int = 1
    weight: float = 1.0


class Line(nn.Module):
    """One weight, its own prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))


class Pulled:
    """An objective that is the weight times the batch's pull, so that the pull is the gradient."""

    measures = ("double",)

    def losses(self, model: nn.Module, batch: Point, precision: torch.dtype) -> tuple[Tensor, ...]:
        loss = model.w * batch.pull
        return loss, loss.detach() * 2

    def parts(self, batch: Point, size: int) -> list[Point]:
        return [batch]

    def validate(self, model: nn.Module, validation: Iterator[Point], precision: torch.dtype) -> dict[str, float]:
        pulls = [batch.pull for batch in validation]
        return {"validation_loss": pulls[0]} if pulls else {}


class Scripted:
    """The same pull in training; a validation loss an epoch, as written down."""

    def __init__(self, losses: list[float], pull: float = 1.0) -> None:
        self._losses, self._pull, self._epoch = losses, pull, 0

    def train(self, epoch: int) -> Iterator[Point]:
        self._epoch = epoch
        yield Point(self._pull)

    def validation(self) -> Iterator[Point]:
        if self._losses:
            yield Point(self._losses[self._epoch - 1])


class Keeper:
    """Keeps the state of every epoch in one file."""

    def __init__(self, path: Path, stop_after: int | None = None) -> None:
        self.path, self.stop_after, self.epochs = path, stop_after, 0

    def epoch(self, metrics: object) -> None:
        self.epochs += 1

    def checkpoint(self, state: TrainingState) -> None:
        state.save(self.path)

    def should_stop(self) -> bool:
        return self.epochs == self.stop_after


@settings(deadline=None)
@given(
    losses=st.lists(st.integers(0, 5).map(float), min_size=1, max_size=60),
    patience=st.integers(0, 5),
    factor=st.sampled_from([0.1, 0.5]),
)
def test_plateaus_are_those_of_torch(losses: list[float], patience: int, factor: float) -> None:
    config = replace(CONFIG, schedule="plateau", plateau_patience=patience, plateau_factor=factor)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=0.0, eps=0
    )
    history: list[dict[str, float]] = []
    for epoch, loss in enumerate(losses, start=1):
        assert rate_factor(config, epoch, history) == pytest.approx(optimizer.param_groups[0]["lr"])
        history.append({"train_loss": 0.0, "validation_loss": loss})
        theirs.step(loss)


def test_polynomial_rises_falls_and_has_the_mean_of_its_line() -> None:
    config = replace(CONFIG, schedule="polynomial", epochs=20, warmup=4)
    factors = [rate_factor(config, epoch, []) for epoch in range(1, 21)]
    line = np.interp((np.arange(20_000) + 0.5) / 1000, [0, 4, 20], [0, 1, 0])  # a step every thousandth of an epoch
    np.testing.assert_allclose(factors, line.reshape(20, 1000).mean(axis=1), atol=1e-9)


def test_warmup_goes_before_a_constant_rate() -> None:
    factors = [rate_factor(replace(CONFIG, warmup=2), epoch, []) for epoch in (1, 2, 3, 4)]
    assert factors == [0.25, 0.75, 1.0, 1.0]


def test_a_schedule_moves_the_weights_by_its_rates() -> None:
    """With one gradient all along, each of Adam's steps is as long as the learning rate."""
    losses = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0]
    config = replace(CONFIG, epochs=6, schedule="plateau", plateau_patience=1, adam_epsilon=1e-12, keep="last")
    result = fit(Line(), Scripted(losses), config, objective=Pulled())
    rates = [0.1, 0.1, 0.1, 0.1, 0.05, 0.05]  # two epochs without a better one bring the next one a lower rate
    assert float(result.weights["w"]) == pytest.approx(-sum(rates), rel=1e-5)
    assert [row["train_double"] for row in result.history] == pytest.approx(
        [2 * row["train_loss"] for row in result.history]
    )


def test_a_schedule_goes_on_after_an_interruption(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=6, schedule="plateau", plateau_patience=0, keep="last")
    losses = [3.0, 3.0, 2.0, 3.0, 3.0, 1.0]
    whole = fit(Line(), Scripted(losses), config, objective=Pulled())
    path = tmp_path / "state"
    fit(Line(), Scripted(losses), config, Keeper(path, stop_after=3), objective=Pulled())
    resumed = fit(Line(), Scripted(losses), config, objective=Pulled(), resume=path)
    assert torch.equal(whole.weights["w"], resumed.weights["w"])
    assert whole.history == resumed.history


def test_clipped_gradients_are_no_longer_than_the_limit() -> None:
    """Adam's second moment after one step is a thousandth of the gradient's square."""
    moments = []
    for clip in (None, 0.5):
        path = {}

        class Look(Keeper):
            def __init__(self) -> None:
                super().__init__(Path(), stop_after=1)

            def checkpoint(self, state: TrainingState, path: dict = path) -> None:
                path["moment"] = float(next(iter(state.optimizer.state.values()))["exp_avg_sq"])

        fit(Line(), Scripted([], pull=20.0), replace(CONFIG, gradient_clip=clip), Look(), objective=Pulled())
        moments.append(math.sqrt(path["moment"] / 1e-3))
    assert moments == pytest.approx([20.0, 0.5], rel=1e-4)


def test_a_budget_ends_with_the_epoch_that_passes_it(tmp_path: Path) -> None:
    path = tmp_path / "state"
    config = replace(CONFIG, keep="last")
    assert len(fit(Line(), Scripted([]), config, objective=Pulled(), max_seconds=1e9).history) == 10
    first = fit(Line(), Scripted([]), config, Keeper(path), objective=Pulled(), max_seconds=1e-9)
    assert len(first.history) == 1
    again = fit(Line(), Scripted([]), config, objective=Pulled(), max_seconds=1e-9, resume=path)
    assert again.history == first.history  # it had come to its end: nothing is added
    assert len(fit(Line(), Scripted([]), config, objective=Pulled(), max_seconds=1e9, resume=path).history) == 10


def test_a_training_that_had_lost_patience_is_not_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "state"
    config, losses = replace(CONFIG, patience=2), [1.0, 2.0, 2.0, 0.5, 0.5, 0.5]
    whole = fit(Line(), Scripted(losses), config, Keeper(path), objective=Pulled())
    resumed = fit(Line(), Scripted(losses), config, objective=Pulled(), resume=path)
    assert (len(whole.history), whole.history) == (3, resumed.history)
    assert torch.equal(whole.weights["w"], resumed.weights["w"])


def test_what_is_stored_of_a_config_is_what_it_was_before_there_were_schedules() -> None:
    told = CONFIG.to_dict()
    assert {"schedule", "warmup", "gradient_clip", "plateau_factor", "plateau_patience"}.isdisjoint(told)
    config = replace(CONFIG, schedule="plateau", gradient_clip=5.0)
    assert config.to_dict() == {**told, "schedule": "plateau", "gradient_clip": 5.0}
    assert FitConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "cosine"}, "schedule: 'cosine'; expected one of constant, plateau, polynomial"),
        ({"schedule": "polynomial", "epochs": 3, "warmup": 3}, "warmup: 3 of 3 epochs leave none for 'polynomial'"),
        ({"warmup": -1}, "warmup: -1"),
        ({"gradient_clip": 0}, "gradient_clip: 0"),
        ({"plateau_factor": 1.0}, "plateau_factor: 1.0"),
        ({"plateau_patience": -1}, "plateau_patience: -1"),
    ],
)
def test_schedules_out_of_range_are_refused(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(CONFIG, **values)
