"""Search spaces: the paper's to the letter, draws that depend on seed and number alone, files refused by name."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ms2img.errors import UsageError
from ms2img.ms2toimg.cnn import network_of
from tune.family import CNN
from tune.parameter import Choice, Grid, Interval, read_parameter
from tune.space import Space

PAPER, WIDE = Space.load("paper"), Space.load("wide")

#: MS2toImg, "Model Architecture"; the steps are the order's.
PAPER_VALUES = {
    "conv_layers": [1, 2, 3],
    "filters": [16, 32, 48, 64],
    "dense_layers": [1, 2, 3],
    "units": list(range(32, 513, 32)),
    "dropout": [0.1, 0.2, 0.3, 0.4, 0.5],
}


def space_of(parameters: dict, **more: object) -> Space:
    return Space.parse("mine.yaml", {"parameters": parameters, **more}, source="mine.yaml")


def test_the_papers_space_holds_what_the_paper_searched() -> None:
    drawn = [PAPER.sample(seed, trial) for seed in range(20) for trial in range(100)]
    assert list(drawn[0]) == [*PAPER_VALUES, "learning_rate"]
    for name, values in PAPER_VALUES.items():
        assert sorted({values[name] for values in drawn}) == values
    rates = [values["learning_rate"] for values in drawn]
    assert 1e-6 <= min(rates) < 1.02e-6
    assert 0.98e-4 < max(rates) <= 1e-4


def test_what_the_paper_does_not_search_is_preset_papers() -> None:
    cnn, fit = PAPER.configure(PAPER.sample(0, 0), seed=7, threads=2)
    assert (cnn.pool, cnn.batch_norm, cnn.input_pool, cnn.members) == ("last", False, 1, 1)
    assert (fit.epochs, fit.batch_size, fit.weight_decay, fit.shift, fit.patience) == (80, 32, 0.0, 0, None)
    assert (fit.seed, fit.threads) == (7, 2)


def test_the_first_trials_of_the_papers_space_stay_what_they_are() -> None:
    """A sweep that is resumed by a later version must go on with the same trials."""
    assert [PAPER.sample(0, trial) for trial in range(3)] == [
        {
            "conv_layers": 2,
            "filters": 16,
            "dense_layers": 1,
            "units": 480,
            "dropout": 0.1,
            "learning_rate": 4.232e-05,
        },
        {"conv_layers": 3, "filters": 64, "dense_layers": 2, "units": 128, "dropout": 0.5, "learning_rate": 1.31e-06},
        {"conv_layers": 1, "filters": 16, "dense_layers": 2, "units": 192, "dropout": 0.4, "learning_rate": 1.701e-06},
    ]


@pytest.mark.parametrize("space", [PAPER, WIDE], ids=["paper", "wide"])
def test_120_trials_depend_on_the_seed_alone(space: Space) -> None:
    in_order = [space.sample(3, trial) for trial in range(120)]
    backwards = {trial: space.sample(3, trial) for trial in reversed(range(120))}
    assert in_order == [backwards[trial] for trial in range(120)]
    assert in_order != [space.sample(4, trial) for trial in range(120)]
    assert len({str(values) for values in in_order}) > 110  # the paper's grid is small enough for a repetition


def test_the_order_of_the_file_plays_no_part() -> None:
    told = PAPER.to_dict()
    turned = dict(reversed(told["parameters"].items()))
    assert space_of(turned).sample(0, 5) == PAPER.sample(0, 5)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), trial=st.integers(0, 10**6), name=st.sampled_from(["paper", "wide"]))
def test_every_trial_lies_in_its_space_and_is_accepted(seed: int, trial: int, name: str) -> None:
    space = {"paper": PAPER, "wide": WIDE}[name]
    values = space.sample(seed, trial)
    assert list(values) == list(space.parameters)
    for key, parameter in space.parameters.items():
        if isinstance(parameter, Choice):
            assert values[key] in parameter.values
        elif isinstance(parameter, Interval):
            assert parameter.low <= values[key] <= parameter.high
            assert float(f"{values[key]:.3e}") == values[key]
        else:
            assert isinstance(parameter, Grid)
            steps = (values[key] - float(parameter.low)) / float(parameter.step)
            assert abs(steps - round(steps)) < 1e-9
            assert values[key] == round(values[key], 6)  # 0.3, not 0.30000000000000004
            assert float(parameter.low) <= values[key] <= float(parameter.high)
    cnn, fit = space.configure(values, epochs=5)
    assert {**cnn.to_dict(), **fit.to_dict()}.items() >= values.items()
    assert space.exact(values) == values
    with torch.device("meta"):
        network_of(cnn, 75, 70)  # the smallest of the paper's images


def test_values_are_equally_likely() -> None:
    """Pearson's chi-square of every parameter over 6000 trials, a log one in ten equal parts of its logarithm."""
    from scipy.stats import chisquare

    for space in (PAPER, WIDE):
        drawn = [space.sample(1, trial) for trial in range(6000)]
        for name, parameter in space.parameters.items():
            values = [values[name] for values in drawn]
            if isinstance(parameter, Interval):
                whole = math.log(parameter.high / parameter.low)
                values = [min(9, int(10 * math.log(value / parameter.low) / whole)) for value in values]
            counts = list(Counter(values).values())
            assert chisquare(counts).pvalue > 1e-4, (space.name, name, counts)


def test_parameters_are_drawn_independently() -> None:
    drawn = [PAPER.sample(2, trial) for trial in range(3000)]
    table = np.array([[np.log(value) for value in values.values()] for values in drawn])
    between = np.corrcoef(table.T)[~np.eye(table.shape[1], dtype=bool)]
    assert np.abs(between).max() < 5 / math.sqrt(3000)


def test_every_parameter_of_wide_says_why_it_is_in() -> None:
    assert all(len(parameter.why.split()) >= 6 for parameter in WIDE.parameters.values())
    assert all(parameter.why.startswith("MS2toImg") for parameter in PAPER.parameters.values())


def test_a_space_survives_its_dict() -> None:
    for space in (PAPER, WIDE):
        told = yaml.safe_load(yaml.safe_dump(space.to_dict()))
        again = Space.parse(told.pop("name"), told, source="ledger")
        assert again == space
        assert again.to_dict() == space.to_dict()


def test_a_file_is_a_space(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: small\nparameters:\n  learning_rate: {log: [1e-5, 1e-3]}\n  units: {choice: [8, 16]}\n")
    space = Space.load(str(path))
    assert (space.name, space.base) == ("mine.yaml", "small")
    assert 1e-5 <= space.sample(0, 0)["learning_rate"] <= 1e-3  # YAML takes 1e-5 for text
    cnn, fit = space.configure(space.sample(0, 0))
    assert (cnn.batch_norm, fit.batch_size) == (True, 16)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"filter": {"int": [1, 2]}}, "unknown parameter 'filter'; did you mean 'filters'?"),
        ({"epochs": {"int": [1, 2]}}, "epochs: is the same for all trials"),
        ({"filters": 16}, "filters: 16; expected one of int, float, log, choice"),
        ({"filters": {}}, "filters: {}; expected one of int"),
        ({"filters": {"int": [1, 2], "log": [1, 2]}}, "expected one of int"),
        ({"filters": {"integer": [1, 2]}}, "filters: unknown key 'integer'; did you mean 'int'?"),
        ({"filters": {"int": [64, 16]}}, "filters: int: [64, 16] is empty; expected the lower end first"),
        ({"filters": {"int": [16, 16]}}, "choice: [16] fixes a value"),
        ({"filters": {"int": [16]}}, "filters: int: [16]; expected [lowest, highest]"),
        ({"filters": {"int": [True, 3]}}, "filters: int: [True, 3]; expected [lowest, highest], two numbers"),
        ({"filters": {"int": [1.5, 3]}}, "expected two whole numbers"),
        ({"filters": {"int": [16, 64], "step": 20}}, "step 20 does not lead from 16 to 64; end at 56 or 76"),
        ({"filters": {"int": [16, 64], "step": 0.5}}, "step: 0.5; expected a whole number above 0"),
        ({"filters": {"int": [16, 64], "step": 0}}, "step: 0; expected a whole number above 0"),
        ({"dropout": {"float": [0.1, 0.5], "step": 0.3}}, "step 0.3 does not lead from 0.1 to 0.5; end at 0.4 or 0.7"),
        ({"dropout": {"float": [0.1, float("nan")]}}, "expected [lowest, highest], two numbers"),
        ({"dropout": {"float": [0.1, 1.5]}}, "dropout: 1.5; expected a number at least 0 and below 1"),
        ({"filters": {"float": [16, 64]}}, "filters: 16.0; expected an integer, 1 or more"),
        ({"filters": {"choice": [8, 0]}}, "filters: 0; expected an integer, 1 or more"),
        ({"pool": {"choice": ["last", "first"]}}, "pool: 'first'; expected one of last, each"),
        ({"pool": {"choice": []}}, "pool: choice: []; expected a list of one value or more"),
        ({"pool": {"choice": ["last", "last"]}}, "a value occurs twice"),
        ({"pool": {"choice": [["last"]]}}, "expected numbers, words, true, false or null"),
        ({"pool": {"choice": ["last"], "step": 1}}, "pool: a step goes with int or float, not with choice"),
        ({"learning_rate": {"log": [0, 1]}}, "learning_rate: log: [0, 1]; expected both ends above 0"),
        ({"learning_rate": {"log": [1e-6, 1e-4], "why": 3}}, "learning_rate: why: 3; expected text"),
        ({}, "parameters: {}; expected one or more"),
    ],
)
def test_a_bad_parameter_is_refused_in_one_line(told: dict, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        space_of(told)
    assert str(refused.value).startswith("mine.yaml: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("parameter: {}\n", "unknown key 'parameter'; did you mean 'parameters'?"),
        ("base: big\nparameters: {units: {int: [1, 2]}}\n", "base: 'big'; expected one of paper, small"),
        ("base: [paper]\nparameters: {units: {int: [1, 2]}}\n", "base: ['paper']; expected one of"),
        ("parameters: {1: {int: [1, 2]}}\n", "unknown parameter '1'"),
        ("- a\n", "expected 'option: value' lines"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UsageError) as refused:
        Space.load(str(path))
    assert str(refused.value).startswith(str(path))
    assert message in str(refused.value)


def test_an_unknown_space_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="'papr'.*neither one of paper, wide nor a YAML file; did you mean 'paper'"):
        Space.load("papr")
    with pytest.raises(UsageError, match=r"absent.yaml: cannot read"):
        Space.load("absent.yaml")


def test_what_may_be_searched_leaves_out_what_a_sweep_fixes() -> None:
    assert {"filters", "shift", "batch_size", "weight_decay"} <= set(CNN.searchable())
    assert not {"epochs", "seed", "threads", "precision", "device", "micro_batch"} & set(CNN.searchable())


@pytest.mark.parametrize(
    "told",
    [
        {"int": [16, 64], "step": 16},
        {"int": [1, 3]},
        {"float": [0.1, 0.5], "step": 0.1},
        {"float": [0.0, 0.5]},
        {"log": [1e-6, 1e-4]},
        {"choice": ["last", None, True, 3]},
    ],
)
def test_optuna_proposes_what_the_space_holds(told: dict) -> None:
    from ray.tune.search.optuna import OptunaSearch

    parameter = read_parameter(told)
    search = OptunaSearch(space={"p": parameter.to_ray()}, metric="m", mode="max", seed=0)
    proposed = [search.suggest(str(trial))["p"] for trial in range(60)]
    exact = [parameter.exact(value) for value in proposed]
    assert exact == pytest.approx(proposed, rel=1e-3) if isinstance(exact[0], float) else exact == proposed
    if isinstance(parameter, Interval):
        assert all(parameter.low <= value <= parameter.high for value in exact)
    else:
        possible = {parameter.draw(point / 100) for point in range(100)}
        assert set(exact) <= possible
        assert set(parameter.corners()) <= set(exact)  # both ends can be proposed
