"""From records to registered models and back: prepare, train, predict, finetune, list, compare, promote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from massformer_data import COMPOUNDS, write_library
from massformer_trained import FIT, KINDS, data, library_folder, tiny
from matchms.importing import load_from_msp

from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder
from ms2img.massformer.bundle import load_bundle, read_checked_description, read_split
from ms2img.massformer.conditions import Condition
from ms2img.massformer.training import train_model
from ms2img.tracking.catalogue import list_models
from ms2img.tracking.pull import find, pulled
from ms2img.tracking.registry import champion_rule
from ms2img.tracking.seeds import load_seeds
from ms2img.tracking.store import open_store
from pipelines import cli
from pipelines.massformer.finetune import FinetuneConfig
from pipelines.massformer.finetune_job import plan_of
from pipelines.massformer.seed_work import SpectrumSeed, SpectrumTraining
from pipelines.massformer.train import TrainConfig
from pipelines.seeds.work import SeedTask, read_result, train_seed

NAME = "ms2img-sim-massformer-small"


class Trained(NamedTuple):
    """A prepared library, and what ``train --json`` said of a model of each kind, trained in this order."""

    folder: Path
    library: str
    said: dict[str, dict[str, Any]]


def command(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the values of ``--json``, and what stands on standard error."""
    status = cli.main([*words, "--json"])
    printed = capfd.readouterr()
    return status, json.loads(printed.out.splitlines()[-1]) if printed.out else {}, printed.err


def train_words(library: str, kind: str) -> list[str]:
    return [
        "massformer", "train", library, "--model", kind, "--split", "inchikey", "--mz-max", "500", "--epochs", "2",
        "--precision", "float32",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path / 'mlflow.db'}")
        patch.chdir(path)
        yield path


@pytest.fixture(scope="module")
def trained(ray_session: None, store_folder: Path) -> Trained:
    """The miniature library prepared, and each of the four models trained on it, from the command line."""
    records, library = write_library(store_folder / "small"), str(store_folder / "library")
    assert cli.main(["massformer", "prepare", str(records), library, "--quiet"]) == 0
    said = {}
    for kind in KINDS:
        seeds = ["--seeds", "0,1"] if kind == "fp" else []
        result = cli.invoke([*train_words(library, kind), *seeds, "--quiet"])
        said[kind] = result.values
    return Trained(store_folder, library, said)


@pytest.mark.ray
@pytest.mark.parametrize("kind", KINDS)
def test_each_model_goes_from_records_to_predictions(
    kind: str, trained: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = trained.said[kind]
    assert said["model"] == f"models:/{NAME}/{1 + KINDS.index(kind)}"
    assert (said["simulated"], 0 < said["cosine_mean"] < 1) == (True, True)
    table = tmp_path / "molecules.csv"
    table.write_text("id,smiles\n" + "".join(f"{name},{smiles}\n" for name, smiles in list(COMPOUNDS.items())[:4]))
    words = ["massformer", "predict", said["model"], str(table), "--energy", "30", "--out", str(tmp_path / "a.msp")]
    status, values, _ = command(capfd, *words)
    assert (status, values["spectra"], values["refused"]) == (0, 4, 0)
    assert [spectrum.get("compound_name") for spectrum in load_from_msp(str(tmp_path / "a.msp"))] == list(COMPOUNDS)[:4]
    frame = pd.DataFrame({"smiles": list(COMPOUNDS.values())[:2], "collision_energy": 30.0})
    mlflow.set_tracking_uri(None)
    answer = mlflow.pyfunc.load_model(said["model"]).predict(frame)
    assert (answer["error"] == "").all()
    with pulled(said["model"]) as (bundle, _):
        description = read_checked_description(bundle)
        predicted = load_bundle(bundle).predict(frame["smiles"].tolist(), [Condition("[M+H]+", 30.0)] * 2)
        assert read_split(bundle).keys() == set(
            pq.read_table(f"{trained.library}/molecules.parquet")["molecule_id"].to_pylist()
        )
    top = [float(mz[int(np.argmax(heights))]) for mz, heights in zip(answer["mz"], answer["intensity"], strict=True)]
    assert [int(mz) for mz in top] == predicted.argmax(axis=1).tolist()
    assert (description.card.kind, description.card.licences) == (kind, ("CC0",))
    assert description.card.fingerprints.folds == said["split"]


@pytest.mark.ray
def test_seeds_are_runs_of_their_own_and_the_best_is_registered(trained: Trained) -> None:
    said, store = trained.said["fp"], open_store()
    cosines = {each["seed"]: each["cosine"] for each in said["seeds"]}
    assert said["best_seed"] == max(cosines, key=lambda seed: cosines[seed])
    assert said["cosine_mean"] == pytest.approx(np.mean(list(cosines.values())))
    assert said["cosine_sd"] == pytest.approx(np.std(list(cosines.values()), ddof=1))
    children = store.client().search_runs([store.experiment_id()], f"tags.mlflow.parentRunId = '{said['run_id']}'")
    assert sorted(child.info.run_name for child in children) == ["seed 0", "seed 1"]
    for child in children:
        curve = store.client().get_metric_history(child.info.run_id, "train_loss")
        assert [point.step for point in curve] == [1, 2]
    record = load_seeds(store, said["run_id"])
    assert record.cases["cosine"].mean() == pytest.approx(said["cosine_mean"])
    with pulled(said["model"]) as (bundle, _):
        part = read_split(bundle)
        assert read_checked_description(bundle).card.seed == said["best_seed"]
    assert set(record.cases["molecule_id"]) == {each for each, where in part.items() if where == "validation"}


@pytest.mark.ray
def test_a_training_that_is_done_is_not_done_again(trained: Trained, capfd: pytest.CaptureFixture[str]) -> None:
    status, values, told = command(capfd, *train_words(trained.library, "fp"), "--seeds", "1,0")
    assert status == 0
    assert "2 of 2 seeds are done already" in told
    assert sorted(values["seeds"], key=lambda each: each["seed"]) == trained.said["fp"]["seeds"]
    assert values["champion"] == (trained.said["fp"]["cosine_mean"] >= max(
        trained.said[kind]["cosine_mean"] for kind in KINDS
    ))  # fmt: skip


@pytest.mark.ray
def test_models_are_listed_compared_and_promoted(trained: Trained, capfd: pytest.CaptureFixture[str]) -> None:
    status, values, table = command(capfd, "models", "massformer-small")
    assert status == 0
    row = next(row for row in values["models"] if row["version"] == "1")
    assert (row["system"], row["library"], row["kind"]) == ("massformer", "small", "massformer")
    assert row["cosine_mean"] == pytest.approx(trained.said["massformer"]["cosine_mean"])
    assert "cosine" in table.splitlines()[0]
    assert f"{row['cosine_mean']:.3f}" in table
    first, second = trained.said["massformer"]["model"], trained.said["wln"]["model"]
    status, values, told = command(capfd, "models", "compare", first, second)
    records = [load_seeds(open_store(), trained.said[kind]["run_id"]).cases for kind in ("massformer", "wln")]
    both = records[0].merge(records[1], on="molecule_id")
    from scipy.stats import ttest_rel

    expected = ttest_rel(both["cosine_x"], both["cosine_y"])
    found = values["measures"]["cosine"]
    assert (found["n"], found["p"]) == (len(both), pytest.approx(expected.pvalue))
    assert f"on the same {len(both)} validation molecules" in told
    champion = find(f"models:/{NAME}@champion").version
    other = next(row.version for row in list_models(open_store(), NAME) if row.version != champion)
    status, values, told = command(capfd, "models", "promote", f"models:/{NAME}/{other}", "--reason", "to see")
    assert (status, values["promoted"], values["compared"]["same_folds"]) == (0, True, True)
    assert "cosine per molecule" in told
    assert find(f"models:/{NAME}@champion").version == other


@pytest.mark.ray
def test_finetune_starts_from_the_model_and_names_its_parent(
    trained: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = library_folder(tmp_path / "own", adduct="[M+Na]+", instrument="LC-ESI-ITFT")
    words = ["massformer", "finetune", trained.said["fp"]["model"], own, "--adducts", "[M+Na]+", "--split", "inchikey"]
    status, values, told = command(capfd, *words, "--epochs", "2", "--name", "own", "--precision", "float32")
    assert status == 0, told
    assert values["model"] == "models:/ms2img-sim-massformer-own/1"
    [row] = list_models(open_store(), "massformer-own")
    with pulled(trained.said["fp"]["model"]) as (before, _), pulled(values["model"]) as (after, _):
        old, new = load_bundle(before), load_bundle(after)
        assert row.parent == f"{trained.said['fp']['model']} {old.model_version}"
        assert new.vocabulary.adducts == ("[M+H]+", "[M+Na]+")
        assert new.vocabulary.instruments == ("LC-ESI-QFT", "LC-ESI-ITFT")
        assert new.spectrum == old.spectrum
        learnt = {each for each, part in read_split(before).items() if part == "train"}
        assert not learnt & {each for each, part in read_split(after).items() if part in ("validation", "test")}


def test_a_finetuning_begins_where_its_parent_ended(tmp_path: Path) -> None:
    from test_massformer_bundle import make_bundle

    bundle = make_bundle(tmp_path / "bundle", "cnn")
    own = library_folder(tmp_path / "own", adduct="[M+Na]+", instrument="LC-ESI-QFT", compounds=30)
    asked = {"model": str(bundle), "library": own, "adducts": "[M+Na]+,[M+H]+", "split": "inchikey"}
    plan = plan_of(FinetuneConfig.checked(asked, source="test"), bundle, "models:/x/1")
    assert plan.fit.learning_rate < 1e-3
    from safetensors.torch import load

    still = replace(plan.fit, epochs=1, warmup=0, learning_rate=1e-12, weight_decay=0.0, threads=1)
    trained = train_model(plan.data, plan.model, still, initial=load(plan.initial))
    before = load_bundle(bundle)
    state = before.model.state_dict()
    for name, value in trained.fit.weights.items():
        if value.shape == state[name].shape:
            torch.testing.assert_close(value, state[name], atol=1e-6, rtol=0)
    assert sum(value.shape != state[name].shape for name, value in trained.fit.weights.items()) == 1  # conditions


def test_a_killed_seed_goes_on_from_its_state(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    made, epochs = SpectrumTraining(data(), tiny("wln")), replace(FIT, epochs=4)

    def task(work: str) -> SeedTask:
        return SeedTask(1, epochs, None, str(tmp_path / work), "x", checkpoint_seconds=1e-9)

    def die(row: Any) -> None:
        seen.append(int(row["epoch"]))
        if seen == [1, 2, 3]:
            raise KilledError

    seen: list[int] = []
    with pytest.raises(KilledError):
        train_seed(made, task("a"), die)
    assert read_result(task("a"), SpectrumSeed) is None
    train_seed(made, task("a"), die)
    assert seen == [1, 2, 3, 3, 4]
    train_seed(made, task("b"), lambda row: None)
    broken, whole = read_result(task("a"), SpectrumSeed), read_result(task("b"), SpectrumSeed)
    assert broken is not None
    assert whole is not None
    assert broken.history == whole.history
    np.testing.assert_array_equal(broken.cosines, whole.cosines)
    assert all(torch.equal(broken.weights[name], whole.weights[name]) for name in whole.weights)
    assert sorted(folder(str(tmp_path / "a")).names()) == ["x.json", "x.safetensors"]  # the state is gone


@pytest.mark.slow
@pytest.mark.ray
def test_workers_that_share_a_seed_give_what_one_gives(ray_session: None, tmp_path: Path) -> None:
    from pipelines.seeds.on_ray import SeedResources, train_seeds

    made = SpectrumTraining(data(), replace(tiny("massformer"), dropout=0.0, head_dropout=0.0))
    rows: list[tuple[int, float]] = []
    results = []
    for workers in (1, 2):
        task = SeedTask(3, replace(FIT, epochs=2), None, str(tmp_path), f"of{workers}", 60.0)
        train_seeds(made, [task], SeedResources(workers), lambda seed, row: rows.append((seed, row["epoch"])))
        results.append(read_result(task, SpectrumSeed))
    assert rows == [(3, 1.0), (3, 2.0)] * 2
    alone, shared = results
    assert alone is not None
    assert shared is not None
    for one, other in zip(alone.history, shared.history, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
    np.testing.assert_allclose(shared.cosines, alone.cosines, atol=5e-3)


@pytest.mark.ray
def test_a_seed_that_cannot_be_trained_says_why(ray_session: None, tmp_path: Path) -> None:
    from pipelines.seeds.on_ray import SeedResources, train_seeds

    made = SpectrumTraining(data(), tiny("fp"))
    task = SeedTask(3, replace(FIT, learning_rate=1e30), None, str(tmp_path), "x", 60.0)
    with pytest.raises((UsageError, JobError), match="seed 3: .*a lower learning rate may help"):
        train_seeds(made, [task], SeedResources(), lambda seed, row: None)
    with pytest.raises(UsageError, match="a seed takes 64 CPUs"):
        train_seeds(made, [task], SeedResources(cpus_per_worker=64), lambda seed, row: None)


# ---- names, options and the champion


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": "0,0"}, "expected different numbers"),
        ({"seeds": "one"}, "expected different numbers"),
        ({"preset": "large"}, "preset"),
        ({"librarry": "x"}, "unknown key 'librarry'; did you mean 'library'"),
    ],
)
def test_options_are_closed(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig.checked({"library": "x", **values}, source="test")


def test_options_reach_the_training() -> None:
    from ms2img.massformer.training import TRAINING

    config = TrainConfig.checked(
        {
            "library": "x",
            "seeds": [2, 5],
            "max_minutes": 0.5,
            "epochs": 3,
            "weight_decay": 0.2,
            "dropout": 0.3,
            "cell": "all",
        },
        source="test",
    )
    fit = config.fit_config(TRAINING[config.preset])
    assert (config.seed_numbers(), config.max_seconds()) == ([2, 5], 30.0)
    assert (fit.epochs, fit.weight_decay, fit.learning_rate) == (3, 0.2, TRAINING["small"].learning_rate)
    assert (config.network_config().dropout, config.data_settings().cell) == (0.3, None)
    assert config.work_place() == "x.training"


_SAME = {"system": "massformer", "samples": "s", "labels": "l", "folds": "f", "cosine_mean": "0.5"}


@pytest.mark.parametrize(
    ("new", "moves", "reason"),
    [
        ({**_SAME, "cosine_mean": "0.51"}, True, "same library, binning and split, mean cosine 0.5100 is not below"),
        ({**_SAME, "cosine_mean": "0.49"}, False, "mean cosine 0.4900 is below its 0.5000"),
        ({**_SAME, "folds": "g"}, False, "other split, so the cosines do not compare"),
        ({**_SAME, "labels": "g", "auc_mean": "1.0"}, False, "other binning, so the cosines"),
        ({key: value for key, value in _SAME.items() if key != "cosine_mean"}, False, "a mean cosine is missing"),
    ],
)
def test_the_champion_is_judged_by_cosine(new: dict[str, str], moves: bool, reason: str) -> None:
    moved, text = champion_rule("m", new, first=False, current=_SAME, new_version="2", current_version="1")
    assert moved is moves
    assert reason in text
