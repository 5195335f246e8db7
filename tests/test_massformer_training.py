"""The training set and one training: what is split, what is seen, resuming, and a miniature of each model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from massformer_trained import FIT, KINDS, SETTINGS, SPECTRUM, data, features, library, tiny

from ms2img.errors import UsageError
from ms2img.learn.checkpoint import TrainingState
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.selection import DataSettings, select
from ms2img.massformer.spectrum import binned, transformed
from ms2img.massformer.training import TRAINING, require_batches, train_model


class Recorder:
    """Keeps rows; saves the state and stops after `stop_after` epochs."""

    def __init__(self, path: Path | None = None, stop_after: int | None = None) -> None:
        self.path, self.stop_after = path, stop_after
        self.rows: list[Mapping[str, float]] = []

    def epoch(self, metrics: Mapping[str, float]) -> None:
        self.rows.append(metrics)

    def checkpoint(self, state: TrainingState) -> None:
        if self.path is not None and state.epoch == self.stop_after:
            state.save(self.path)

    def should_stop(self) -> bool:
        return len(self.rows) == self.stop_after


# ---- the training set


def test_the_test_part_is_not_in_the_training_set() -> None:
    made, rows = data(), library().spectra.to_pylist()
    parts = Counter(made.part.values())
    assert set(parts) == {"train", "validation", "test"}
    assert parts["train"] > parts["test"] > 0
    assert {made.part[each] for each in made.molecules} == {"train", "validation"}
    expected = {part: [row for row in rows if made.part[row["molecule_id"]] == part] for part in parts}
    assert (len(made.train), len(made.validation)) == (len(expected["train"]), len(expected["validation"]))
    assert made.validation_molecules == sorted({row["molecule_id"] for row in expected["validation"]})
    owners = [made.molecules[number] for number in made.molecule_of[made.train]]
    assert Counter(owners) == Counter(row["molecule_id"] for row in expected["train"])
    assert made.n_molecules == parts["train"]


def test_targets_are_the_transformed_peaks() -> None:
    made = data()
    seen = [row for row in library().spectra.to_pylist() if made.part[row["molecule_id"]] in ("train", "validation")]
    for at in (0, len(seen) // 2, len(seen) - 1):
        expected = transformed(binned(seen[at]["mz"], seen[at]["intensity"], SPECTRUM), SPECTRUM)
        np.testing.assert_array_equal(made.target[at], expected)
        assert made.precursor_mz[at] == pytest.approx(seen[at]["precursor_mz"])
        assert made.conditions[at, 1] * 100 == pytest.approx(seen[at]["energy_nce"], rel=1e-5)


def test_fingerprints_tell_data_binning_and_split_apart() -> None:
    first = data().fingerprints
    assert first == data().fingerprints
    assert data(replace(SETTINGS, split_seed=1)).fingerprints | {"folds": ""} == first | {"folds": ""}
    assert data(replace(SETTINGS, split_seed=1)).fingerprints["folds"] != first["folds"]
    other = TrainingSet.load(library(), features(), SETTINGS, replace(SPECTRUM, bin_width=2.0))
    assert (other.fingerprints["labels"] != first["labels"], other.fingerprints["folds"]) == (True, first["folds"])


@pytest.mark.parametrize("by", ["scaffold", "inchikey"])
def test_a_held_out_laboratory_and_what_is_near_it_are_not_trained_on(by: str) -> None:
    made = data(replace(SETTINGS, split=by, held_out="Beta"))
    rows = library().spectra.to_pylist()
    scaffolds = dict(zip(*(library().molecules[name].to_pylist() for name in ("molecule_id", "scaffold")), strict=True))
    away = {row["molecule_id"] for row in rows if row["laboratory"] == "Beta"}
    assert away.isdisjoint(made.molecules)
    if by == "scaffold":
        assert {scaffolds[each] for each in away} & {scaffolds[each] for each in made.molecules} <= {""}
    found = select(library().molecules, library().spectra, replace(SETTINGS, split=by, held_out="Beta"))
    assert set(found.second["molecule_id"].to_pylist()) == away
    assert set(found.second["laboratory"].to_pylist()) == {"Beta"}
    assert found.fingerprint == made.fingerprints["folds"]
    # Another library with the same molecules drops the same ones.
    molecules = library().molecules
    second = molecules.filter(pa.array([each in away for each in molecules["molecule_id"].to_pylist()]))
    kept = library().spectra.filter(pa.array([row["laboratory"] != "Beta" for row in rows]))
    other = select(molecules, kept, replace(SETTINGS, split=by, held_out="beta lab"), second_library=second)
    assert other.fingerprint == found.fingerprint


def test_a_fraction_of_the_training_part_lies_in_a_larger_one() -> None:
    parts = {share: data(replace(SETTINGS, train_fraction=share)).part for share in (0.1, 0.3, 1.0)}
    trained = {share: {each for each, part in found.items() if part == "train"} for share, found in parts.items()}
    assert trained[0.1] < trained[0.3] < trained[1.0]
    assert len(trained[0.3]) == round(0.3 * len(trained[1.0]))
    for found in parts.values():
        assert {each for each, part in found.items() if part == "test"} == {
            each for each, part in parts[1.0].items() if part == "test"
        }


def test_what_a_model_has_learnt_from_is_no_test_of_it() -> None:
    plain = data().part
    tested = [each for each, part in plain.items() if part == "test"]
    learnt = [*tested[:2], next(iter(plain))]
    further = data(learnt=learnt)
    for each, part in plain.items():
        assert further.part[each] == ("dropped" if each in learnt and part in ("validation", "test") else part)
    # The settings alone lead to the same parts: what evaluates the model needs no more.
    again = select(library().molecules, library().spectra, DataSettings.from_dict(further.settings.to_dict()))
    assert again.fingerprint == further.fingerprints["folds"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "CID"}, "--cell CID: the library has no such spectra; it has HCD"),
        (
            {"adducts": ("[M+Na]+",)},
            r"--adducts \[M\+Na\]\+: the library has no such spectra; it has \[M\+H\]",
        ),
        ({"held_out": "Gamma"}, "--held-out Gamma: the library has no such spectra; it has Alpha"),
    ],
)
def test_what_the_library_lacks_is_said(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data(replace(SETTINGS, **settings))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cell": "TOF"}, "cell: 'TOF'; expected one of HCD, CID"),
        ({"split": "random"}, "split: 'random'"),
        ({"train_fraction": 0.0}, "train_fraction: 0.0"),
        ({"splits": "x"}, "unknown key 'splits'; did you mean 'split'"),
    ],
)
def test_data_settings_are_closed(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DataSettings.from_dict(values)
    assert DataSettings.from_dict(SETTINGS.to_dict()) == SETTINGS


# ---- trainings


@pytest.mark.parametrize("kind", KINDS)
def test_each_model_learns_the_miniature(kind: str) -> None:
    made = data()
    config = replace(FIT, epochs=12)
    untrained = train_model(made, tiny(kind), replace(config, epochs=1, learning_rate=1e-12))
    trained = train_model(made, tiny(kind), config)
    assert trained.fit.history[-1]["train_loss"] < 0.7 * trained.fit.history[0]["train_loss"]
    assert trained.cosine > untrained.cosine + 0.1
    best = max(row["validation_cosine"] for row in trained.fit.history)
    assert trained.cosine == pytest.approx(best, abs=1e-4)
    assert len(trained.cosines) == len(made.validation_molecules)
    assert not trained.model.training


@pytest.mark.parametrize("kind", ["massformer", "cnn"])
def test_a_resumed_training_equals_an_unbroken_one(kind: str, tmp_path: Path) -> None:
    made, model, path = data(), tiny(kind), tmp_path / "state"
    whole = train_model(made, model, FIT)
    train_model(made, model, FIT, Recorder(path, stop_after=2))
    resumed = train_model(made, model, FIT, resume=path)
    assert whole.fit.history == resumed.fit.history
    for name, value in whole.fit.weights.items():
        assert torch.equal(value, resumed.fit.weights[name]), name
    np.testing.assert_array_equal(whole.cosines, resumed.cosines)


def test_initial_weights_are_started_from() -> None:
    made, model = data(), tiny("fp")
    first = train_model(made, model, FIT)
    still = replace(FIT, epochs=1, learning_rate=1e-12, seed=9)
    again = train_model(made, model, still, initial=first.fit.weights)
    np.testing.assert_allclose(again.cosines, first.cosines, atol=1e-5)
    assert train_model(made, model, still).cosine < first.cosine - 0.05


def test_presets_train_as_the_paper_and_the_released_code() -> None:
    assert TRAINING["paper"].schedule == "plateau"
    released = TRAINING["released"]
    told = (released.schedule, released.learning_rate, released.batch_size, released.gradient_clip)
    assert told == ("polynomial", 2e-4, 100, 5.0)


def test_a_batch_norm_needs_two_spectra_of_every_worker() -> None:
    given = data()
    model = replace(tiny("fp"), head_norm="batch")
    config = replace(FIT, batch_size=3)
    require_batches(given, model, config)
    require_batches(given, tiny("fp"), replace(FIT, batch_size=1), workers=4)
    with pytest.raises(UsageError, match="batch_size: 1 of .* spectra over 1 workers leaves a part of less than 2"):
        require_batches(given, model, replace(FIT, batch_size=1))
    with pytest.raises(UsageError, match="over 2 workers"):
        require_batches(given, model, config, workers=2)
