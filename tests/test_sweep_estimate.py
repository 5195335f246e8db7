"""Estimated time: counted operations against hand counts, coefficients found again, and real trainings (slow)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ms2img.io.read import read_run
from ms2img.io.sheet import Sheet
from ms2img.learn.cost import scoring_cost, step_cost
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.splits import Fold
from ms2img.ms2toimg.cnn import CnnConfig, network_of
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.crossvalidate import FoldTask, run_fold
from ms2img.ms2toimg.render_config import RenderConfig
from tune.estimate import Speed, fitted_speed, measure_speed, sweep_seconds, trial_seconds
from tune.memory import plan_trial
from tune.space import Space
from tune.trial import Trial

CNN = CnnConfig(conv_layers=2, filters=8, dense_layers=1, units=16)
FOLDS = [Fold(0, np.arange(96), np.arange(24), np.arange(30))]
FIT = FitConfig(epochs=10, batch_size=32, threads=1, device="cpu", precision="float32")


def network(cnn: CnnConfig) -> torch.nn.Module:
    with torch.device("meta"):
        return network_of(cnn, 40, 30)


def trial_of(cnn: CnnConfig = CNN, **fit: object) -> Trial:
    return plan_trial(0, {}, cnn, replace(FIT, **fit), height=40, width=30, folds=FOLDS)


def test_operations_are_those_counted_by_hand() -> None:
    n = 5
    first = 2 * n * 38 * 28 * 8 * 9  # a product and a sum for each weight at each place
    second = 2 * n * 36 * 26 * 8 * 8 * 9
    dense = 2 * n * (18 * 13 * 8 * 16 + 16)
    assert scoring_cost(network(CNN), 40, 30, n).operations == first + second + dense
    # Backwards each once for the weights, and all but the first once more for what came in.
    assert step_cost(network(CNN), 40, 30, n).operations == 2 * first + 3 * (second + dense)


def test_bytes_grow_with_weights_and_images() -> None:
    few, many = (network(replace(CNN, units=units)) for units in (16, 160))
    weights = 18 * 13 * 8 * 144 * 4
    more = step_cost(many, 40, 30, 8).bytes - step_cost(few, 40, 30, 8).bytes
    assert more > 7 * weights  # Adam reads four tensors of that size and writes three
    per_image = (step_cost(few, 40, 30, 16).bytes - step_cost(few, 40, 30, 8).bytes) / 8
    assert per_image > 2 * 4 * 8 * (38 * 28 + 36 * 26)  # activations, written and read
    assert scoring_cost(few, 40, 30, 0) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(
    speed=st.tuples(st.sampled_from([0.0, 1e-12, 3e-11]), st.sampled_from([0.0, 5e-11]), st.sampled_from([0.0, 2e-3]))
)
def test_coefficients_are_found_again(speed: tuple[float, float, float]) -> None:
    if not any(speed):
        return
    counted = np.array([[1e9, 1e7, 1.0], [1e8, 1e9, 1.0], [1e6, 1e5, 1.0], [5e9, 1e8, 1.0]])
    assert fitted_speed(counted, counted @ np.array(speed)) == pytest.approx(speed, rel=1e-6, abs=1e-16)


def test_no_coefficient_is_negative_whatever_was_measured() -> None:
    rng = np.random.default_rng(0)
    counted = np.array([[1e9, 1e7, 1.0], [1e8, 1e9, 1.0], [1e6, 1e5, 1.0], [5e9, 1e8, 1.0]])
    for _ in range(50):
        found = fitted_speed(counted, rng.uniform(0.001, 1, 4))
        assert min(found) >= 0
        assert max(found) > 0


def test_a_trial_takes_what_its_steps_take() -> None:
    """96 training images in 3 steps, 24 scored after each of 10 epochs, 30 once."""
    speed = Speed(operation=1e-10, byte=1e-11, step=1e-3, augmented=1e-4)
    net = network(CNN)
    step, scored, tested = step_cost(net, 40, 30, 32), scoring_cost(net, 40, 30, 24), scoring_cost(net, 40, 30, 30)
    expected = 10 * (3 * speed.seconds(step) + speed.seconds(scored)) + speed.seconds(tested)
    assert trial_seconds(trial_of(), speed, FOLDS, 40, 30) == pytest.approx(expected)
    assert trial_seconds(trial_of(), speed, FOLDS * 5, 40, 30) == pytest.approx(5 * expected)
    shifted = trial_seconds(trial_of(shift=1), speed, FOLDS, 40, 30)
    assert shifted == pytest.approx(expected + 10 * 96 * speed.augmented)


def test_a_sweep_ends_when_its_last_place_is_free() -> None:
    seconds = {3: 1.0, 0: 4.0, 1: 1.0, 2: 1.0, 4: 2.0}
    assert sweep_seconds(seconds, 1) == 9.0
    assert sweep_seconds(seconds, 2) == 5.0  # 0 | 1, 2, 3, 4
    assert sweep_seconds(seconds, 9) == 4.0
    assert sweep_seconds({}, 2) == 0.0


def test_this_machine_is_measured_in_seconds_that_make_sense() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 40, 30), dtype=np.uint8)
    speed = measure_speed(images, replace(FIT, batch_size=8, shift=2))
    assert all(np.isfinite(list(vars(speed).values())))
    assert speed.seconds(step_cost(network(CNN), 40, 30, 8)) > 0
    assert speed.augmented < 0.1


@pytest.mark.slow
def test_estimates_agree_with_real_trainings(shared: Path) -> None:
    """Twelve trials of both spaces on real images: in order, and in sum within a factor of two.

    Loose, since whatever else runs on the machine is in the measurement.
    """
    from scipy.stats import spearmanr

    sheet = Sheet.read(shared / "data" / "qemistree" / "samples.csv")
    render_config = RenderConfig(height=75, width=70)
    runs = [run for run in sheet.runs if run.kind == "sample"][:60]
    images = np.stack([image_row(run, read_run(run), render_config, source_fingerprint="")["image"] for run in runs])
    train, validation, test = np.split(np.arange(60), [36, 48])
    fold = Fold(0, train, validation, test)
    speed = measure_speed(images, replace(FIT, epochs=3))
    told, found = [], []
    for space in (Space.load("paper"), Space.load("wide")):
        for number in range(6):
            cnn, fit = space.configure(space.sample(1, number), epochs=3, threads=1, device="cpu", precision="float32")
            trial = plan_trial(number, {}, cnn, fit, height=75, width=70, folds=[fold])
            told.append(trial_seconds(trial, speed, [fold], 75, 70))
            found.append(run_fold(images, np.arange(60) % 2, FoldTask(fold, cnn, fit))[0].seconds)
    assert spearmanr(told, found).statistic > 0.8
    assert 0.5 < sum(told) / sum(found) < 2
