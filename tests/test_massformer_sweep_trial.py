"""A trial of a spectrum model on its ledger, without Ray: equal to a plain training, exact after any interruption."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from massformer_bundles import training_set
from massformer_data import small_library

from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder
from ms2img.learn.fit_config import FitConfig
from ms2img.massformer.model import ModelConfig
from ms2img.massformer.presets import PRESETS
from ms2img.massformer.training import TRAINING, train_model
from tune.forms import SPLIT
from tune.ledger import Entry, Ledger
from tune.molecule_family import molecule_family
from tune.molecules import Molecules, SplitRun
from tune.space import Space

EPOCHS = 6
VALUES = {"learning_rate": 3e-3, "batch_size": 16}
MODEL = ModelConfig(kind="fp", layers=1, width=16, head_width=16, head_layers=1, head_dropout=0.3)
FIT = FitConfig(epochs=EPOCHS, batch_size=16, learning_rate=3e-3, seed=5, threads=1, precision="float32", device="cpu")


class Struck(Exception):  # noqa: N818
    """Stands for the death of a worker."""


@pytest.fixture(scope="module")
def molecules() -> Molecules:
    return Molecules(training_set(small_library(energies=(15, 45))))


@pytest.fixture(scope="module")
def whole(molecules) -> list:
    """The history of the undisturbed training, by the function that ``ms2img massformer train`` calls too."""
    return train_model(molecules.data, MODEL, FIT).fit.history


def run_of(
    molecules: Molecules, out: object, *, strike_after: int | None = None, seconds: float = 0.0, fit: FitConfig = FIT
) -> SplitRun:
    done = []

    def on_epoch(fold, row) -> None:
        done.append(row)
        if len(done) == strike_after:
            raise Struck

    ledger = Ledger(folder(str(out)), pytest.fail, SPLIT)
    trial = {"number": 1, "values": VALUES, "model": MODEL.to_dict(), "fit": fit.to_dict()}
    return molecules.training(trial, ledger, device="cpu", checkpoint_seconds=seconds, on_epoch=on_epoch)


@settings(max_examples=5, deadline=None)
@given(strikes=st.lists(st.integers(1, EPOCHS), max_size=3), rungs=st.sets(st.integers(1, EPOCHS - 1), max_size=2))
def test_a_trial_struck_anywhere_ends_as_the_undisturbed_training(
    molecules, whole, tmp_path_factory, strikes, rungs
) -> None:
    out = tmp_path_factory.mktemp("ledger")
    for strike in strikes:
        with suppress(Struck):  # it may have ended before
            run = run_of(molecules, out, strike_after=strike)
            for rung in (*sorted(rungs), EPOCHS):
                run.reach(rung)
    run = run_of(molecules, out)
    for rung in sorted(rungs):
        reached = run.reach(rung)
        if not reached.finished:
            assert reached.epochs == rung
            assert reached.results[0]["history"] == whole[:rung]
    reached = run.reach(EPOCHS)
    [told] = reached.results
    assert reached.finished
    assert told["history"] == whole
    best = min(whole, key=lambda row: row["validation_loss"])
    assert told["best_epoch"] == best["epoch"]
    assert (reached.score, reached.loss) == (best["validation_cosine"], best["validation_loss"])
    assert not list(out.glob("trials/*/*.state.safetensors"))  # what is finished needs no state


def test_a_finished_trial_is_never_trained_again(molecules, tmp_path) -> None:
    first = run_of(molecules, tmp_path).reach(EPOCHS)
    again = run_of(molecules, tmp_path, strike_after=1).reach(EPOCHS)
    assert again == first
    ledger = Ledger(folder(str(tmp_path)), pytest.fail, SPLIT)
    ledger.write_entry(Entry(1, VALUES, 10, started=0.0, status="finished", seconds=first.seconds))
    result = ledger.result(ledger.entries(1)[1], 1)
    assert SPLIT.to_json(result.folds[0]) == first.results[0]


def test_a_damaged_result_is_told_and_trained_again(molecules, whole, tmp_path) -> None:
    run_of(molecules, tmp_path).reach(EPOCHS)
    path = tmp_path / "trials" / "0001" / "fold0.json"
    for damage in ('{"values": 1', json.dumps({"values": VALUES, "result": {"fold": 0}})):
        path.write_text(damage)
        notices: list[str] = []
        ledger = Ledger(folder(str(tmp_path)), notices.append, SPLIT)
        assert ledger.fold(1, 0, VALUES) is None
        assert "fold0.json is damaged; this fold is trained again" in notices[0]
    path.unlink()
    assert run_of(molecules, tmp_path).reach(EPOCHS).results[0]["history"] == whole


def test_a_limit_of_time_ends_a_trial_at_an_epoch(molecules, whole, tmp_path) -> None:
    reached = run_of(Molecules(molecules.data, max_seconds=1e-9), tmp_path).reach(EPOCHS)
    assert reached.finished
    assert reached.results[0]["history"] == whole[:1]


def test_patience_ends_a_trial_before_its_rung(molecules, tmp_path) -> None:
    fit = FitConfig(**{**FIT.to_dict(), "epochs": 60, "learning_rate": 0.3, "patience": 2})
    reached = run_of(molecules, tmp_path, fit=fit).reach(60)
    assert reached.finished
    assert reached.epochs == reached.results[0]["best_epoch"] + 2 < 60


def test_a_ledger_that_cannot_be_written_is_no_fault_of_the_trial(molecules, tmp_path) -> None:
    (tmp_path / "trials").write_text("a file where a folder is expected")
    with pytest.raises(JobError):
        run_of(molecules, tmp_path).reach(EPOCHS)


def test_no_spectrum_of_the_test_part_is_among_what_trials_learn_from(molecules) -> None:
    held = {name for name, part in molecules.data.part.items() if part in ("test", "dropped")}
    assert held
    kept = {name for name, part in molecules.data.part.items() if part in ("train", "validation")}
    assert len(molecules.data.features) == len(kept)


KINDS = ("massformer", "wln", "fp", "cnn")


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_is_the_papers_list_and_every_value_is_accepted(kind: str) -> None:
    """MassFormer, section 4.3: learning rate, weight decay, dropout, batch size; sizes, but not of the transformer."""
    space = Space.load(f"massformer-{kind}", molecule_family(kind))
    assert {"learning_rate", "weight_decay", "head_dropout", "batch_size", "head_layers"} <= set(space.parameters)
    own = {"layers", "width"} if kind in ("wln", "cnn") else set()
    assert own <= set(space.parameters)
    transformer = {"layers", "width", "heads", "ffn", "norm_first", "attention_dropout", "dropout"}
    for trial in range(40):
        model, fit = space.configure(space.sample(0, trial), epochs=7, seed=3)
        assert model.kind == kind
        assert (fit.epochs, fit.seed, fit.patience) == (7, 3, TRAINING["paper"].patience)
        if kind == "massformer":
            same = PRESETS[kind, "paper"]
            assert all(getattr(model, name) == getattr(same, name) for name in transformer)
    assert all(f"{'gf' if kind == 'massformer' else kind}_sweep.yml" in each.why for each in space.parameters.values())


def test_spaces_of_one_kind_are_unknown_to_another() -> None:
    with pytest.raises(UsageError, match="'paper': neither one of massformer-fp nor a YAML file"):
        Space.load("paper", molecule_family("fp"))
    with pytest.raises(UsageError, match="'massformer-fp': neither one of paper, wide nor a YAML file"):
        Space.load("massformer-fp")
    with pytest.raises(UsageError, match="shift: is the same for all trials"):
        Space.parse("mine", {"parameters": {"shift": {"int": [0, 2]}}}, source="mine", family=molecule_family("fp"))
    with pytest.raises(UsageError, match="unknown parameter 'filters'"):
        Space.parse("mine", {"parameters": {"filters": {"int": [1, 2]}}}, source="mine", family=molecule_family("fp"))
