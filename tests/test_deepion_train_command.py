"""From an imzML file to a registered encoder and an embedding: prepare, train, embed, list, compare, promote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from test_deepion_bundle import MODEL, make_bundle, spots

from ms2img.deepion.bundle import bundle_version, load_bundle, read_checked_description
from ms2img.deepion.embed import reduced
from ms2img.deepion.embedding_folder import read_embedding
from ms2img.deepion.images import IonImages, read_images, write_images
from ms2img.deepion.objective import SPREAD, CollapseError
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.write import write_phantom
from ms2img.deepion.presets import TRAINING, VIEWS
from ms2img.deepion.resnet import ResNet18
from ms2img.errors import UsageError
from ms2img.io.storage import folder
from ms2img.tracking.catalogue import list_models
from ms2img.tracking.pull import find, pulled
from ms2img.tracking.registry import Registration, champion_rule
from ms2img.tracking.seeds import load_seeds
from ms2img.tracking.store import open_store
from pipelines import cli
from pipelines.command import Output
from pipelines.deepion import training_job
from pipelines.deepion.embed_work import blocks_of, embed_block
from pipelines.deepion.encoder_training import EncoderSeed, EncoderTraining
from pipelines.deepion.train import TrainConfig, train_command
from pipelines.deepion.training_job import TrainSummary
from pipelines.seeds.work import SeedTask, read_result, train_seed

NAME = "ms2img-sim-deepion-phantom-col"
FIT = replace(TRAINING["small"], epochs=2, batch_size=6, threads=1, precision="float32", device="cpu")


class Made(NamedTuple):
    """A SIMULATED section prepared from imzML, what ``train --json`` said of it, and its embedding's folder."""

    images: str
    said: dict[str, Any]
    embedding: str


def command(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the values of ``--json``, and what stands on standard error."""
    status = cli.main([*words, "--json"])
    printed = capfd.readouterr()
    return status, json.loads(printed.out.splitlines()[-1]) if printed.out else {}, printed.err


def train_words(images: str, epochs: int = 2) -> list[str]:
    words = ["deepion", "train", images, "--epochs", str(epochs), "--batch-size", "20", "--name", "phantom"]
    return [*words, "--precision", "float32"]


@pytest.fixture(scope="module")
def made(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The whole path, from the command line."""
    path = tmp_path_factory.mktemp("deepion")
    images, embedding = str(path / "images"), str(path / "embedding")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path / 'mlflow.db'}")
        patch.chdir(path)
        section = write_phantom(path / "section", PhantomConfig(height=16, width=16, ions=40, difficulty=0.2))
        assert cli.main(["deepion", "prepare", str(section.imzml), images, "--quiet"]) == 0
        said = cli.invoke([*train_words(images), "--seeds", "0,1", "--quiet"]).values
        assert cli.main(["deepion", "embed", said["model"], images, embedding, "--quiet"]) == 0
        yield Made(images, said, embedding)


@pytest.mark.ray
def test_an_imzml_file_becomes_a_registered_encoder(made: Made) -> None:
    assert (made.said["model"], made.said["champion"]) == (f"models:/{NAME}/1", True)
    assert (made.said["simulated"], made.said["mode"], made.said["preset"]) == (True, "col", "small")
    shares = {each["seed"]: each["retrieval"] for each in made.said["seeds"]}
    assert made.said["best_seed"] == max(shares, key=lambda seed: shares[seed])
    assert made.said["retrieval_mean"] == pytest.approx(np.mean(list(shares.values())))
    assert made.said["retrieval_sd"] == pytest.approx(np.std(list(shares.values()), ddof=1))
    ions = read_images(made.images)
    with pulled(made.said["model"]) as (bundle, _):
        description = read_checked_description(bundle)
    assert (description.shape, description.prepare) == ((16, 16), ions.settings)
    card = description.card
    assert (card.ions, card.polarity, card.seed) == (len(ions), "positive", made.said["best_seed"])
    assert card.fingerprints.samples == ions.fingerprint


@pytest.mark.ray
def test_curves_and_pictures_are_kept_with_the_run(made: Made) -> None:
    store = open_store()
    of_parent = f"tags.mlflow.parentRunId = '{made.said['run_id']}'"
    children = store.client().search_runs([store.experiment_id()], of_parent)
    assert sorted(child.info.run_name for child in children) == ["seed 0", "seed 1"]
    for child in children:
        for name in ("train_loss", SPREAD):
            points = store.client().get_metric_history(child.info.run_id, name)
            assert {point.step for point in points} >= {1, 2}
    pictures = [each.path for each in store.client().list_artifacts(made.said["run_id"], "figures")]
    assert pictures == ["figures/curves.png", "figures/views.png"]
    record = load_seeds(store, made.said["run_id"])
    assert record.system == "deepion"
    assert record.cases["retrieval"].mean() == pytest.approx(made.said["retrieval_mean"])


@pytest.mark.ray
def test_an_embedding_is_the_encoders_and_umaps(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    ions, found = read_images(made.images), read_embedding(made.embedding)
    with pulled(made.said["model"]) as (bundle, _):
        np.testing.assert_array_equal(found.vectors, load_bundle(bundle).embed(ions.images))
        assert found.model_version == bundle_version(bundle)
    np.testing.assert_array_equal(found.reduced, reduced(found.vectors, seed=0))
    np.testing.assert_array_equal(found.plane, reduced(found.vectors, seed=0, dimensions=2))
    for name in ("mz", "presence", "intensity"):
        np.testing.assert_array_equal(getattr(found, name), getattr(ions, name))
    assert (found.images, found.images_fingerprint) == (made.images, ions.fingerprint)
    assert (found.mode, found.metric, found.polarity, found.is_simulated) == ("col", "euclidean", "positive", True)
    assert sorted(path.suffix for path in Path(made.embedding).iterdir()) == [".json", ".parquet"]
    status, values, _ = command(capfd, "deepion", "embed", made.said["model"], made.images, made.embedding)
    assert (status, values["was_embedded"], values["fingerprint"]) == (0, True, found.fingerprint)
    status, _, told = command(
        capfd, "deepion", "embed", made.said["model"], made.images, made.embedding, "--metric", "cosine"
    )
    assert (status, "embedded with metric=euclidean, now asked for metric=cosine" in told) == (2, True)


@pytest.mark.ray
def test_mlflow_gives_the_same_vectors(made: Made) -> None:
    mlflow.set_tracking_uri(None)
    answer = mlflow.pyfunc.load_model(made.said["model"]).predict(pd.DataFrame({"path": [made.images]}))
    np.testing.assert_array_equal(
        np.array(answer["embedding"].tolist(), np.float32), read_embedding(made.embedding).vectors
    )


@pytest.mark.ray
def test_a_second_version_is_compared_and_promoted(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    status, again, told = command(capfd, *train_words(made.images), "--seeds", "1,0")
    assert (status, "2 of 2 seeds are done already" in told) == (0, True)
    assert sorted(again["seeds"], key=lambda each: each["seed"]) == made.said["seeds"]
    status, values, table = command(capfd, "models", "deepion-phantom-col")
    row = values["models"][0]
    assert (row["system"], row["section"], row["mode"]) == ("deepion", "phantom col", "col")
    assert (row["retrieval_mean"], "retrieval" in table.splitlines()[0]) == (made.said["retrieval_mean"], True)
    _, third, _ = command(capfd, *train_words(made.images, epochs=1))
    status, values, told = command(capfd, "models", "compare", made.said["model"], third["model"])
    assert (status, values["measures"]["retrieval"]["n"]) == (0, made.said["ions"])
    assert f"on the same {made.said['ions']} ions" in told
    champion = find(f"models:/{NAME}@champion").version
    other = next(each.version for each in list_models(open_store(), NAME) if each.version != champion)
    status, values, told = command(capfd, "models", "promote", f"models:/{NAME}/{other}", "--reason", "to see")
    assert (status, values["promoted"], values["compared"]["same_folds"]) == (0, True, True)
    assert "retrieval per ion" in told


@pytest.mark.ray
def test_a_collapse_is_one_line_and_nothing_is_kept(
    made: Made, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Images that are all the same cannot be told apart by anything."""
    same = IonImages(np.arange(12) + 100.0, np.repeat(spots(1), 12, axis=0), np.ones((16, 16), bool))
    write_images(tmp_path / "images", same)
    status, _, told = command(capfd, *train_words(str(tmp_path / "images")))
    assert status == 1
    [line] = [line for line in told.splitlines() if line.startswith("ms2img: ")]
    assert line.startswith("ms2img: seed 0: epoch 1: the embeddings have collapsed: their spread is")
    assert folder(str(tmp_path / "images.training")).names() == {}


# ---- one seed, without Ray


def training(**changes: Any) -> EncoderTraining:
    return EncoderTraining(**{
        "images": spots(), "mode": "col", "views": VIEWS["col", "paper"], "model": MODEL, **changes
    })  # fmt: skip


def test_a_killed_seed_goes_on_from_its_state(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def task(work: str) -> SeedTask:
        return SeedTask(1, replace(FIT, epochs=4, seed=1), None, str(tmp_path / work), "x", checkpoint_seconds=1e-9)

    def die(row: Mapping[str, float]) -> None:
        seen.append(int(row["epoch"]))
        if seen == [1, 2, 3]:
            raise KilledError

    seen: list[int] = []
    with pytest.raises(KilledError):
        train_seed(training(), task("a"), die)
    assert read_result(task("a"), EncoderSeed) is None
    train_seed(training(), task("a"), die)
    assert seen == [1, 2, 3, 3, 4]
    train_seed(training(), task("b"), lambda row: None)
    broken, whole = read_result(task("a"), EncoderSeed), read_result(task("b"), EncoderSeed)
    assert broken is not None
    assert whole is not None
    assert (broken.history, broken.measured) == (whole.history, whole.measured)
    assert all(torch.equal(broken.weights[name], whole.weights[name]) for name in whole.weights)
    assert whole.weights.keys() == ResNet18(base=4).state_dict().keys()  # the heads are left behind
    assert sorted(folder(str(tmp_path / "a")).names()) == ["x.json", "x.safetensors"]  # the state is gone


def test_published_weights_reach_the_training(tmp_path: Path) -> None:
    torch.manual_seed(7)
    published = ResNet18(base=4).state_dict()
    save_file(published, tmp_path / "w.safetensors")
    still = replace(FIT, epochs=1, learning_rate=1e-12)
    task = SeedTask(0, still, None, str(tmp_path / "work"), "x", 60.0)
    train_seed(training(weights=(tmp_path / "w.safetensors").read_bytes()), task, lambda row: None)
    result = read_result(task, EncoderSeed)
    assert result is not None
    torch.testing.assert_close(result.weights["conv1.weight"], published["conv1.weight"], atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.ray
def test_workers_that_share_a_seed_give_an_encoder(ray_session: None, tmp_path: Path) -> None:
    from pipelines.seeds.on_ray import SeedResources, train_seeds

    rows: list[tuple[int, float]] = []
    task = SeedTask(3, FIT, None, str(tmp_path), "x", 60.0)
    train_seeds(training(), [task], SeedResources(workers=2), lambda seed, row: rows.append((seed, row["epoch"])))
    result = read_result(task, EncoderSeed)
    assert rows == [(3, 1.0), (3, 2.0)]
    assert result is not None
    assert len(result.retrieved) == 12
    same = training(images=np.repeat(spots(1), 12, axis=0))
    with pytest.raises(CollapseError, match="seed 3: epoch 1: the embeddings have collapsed"):
        train_seeds(same, [replace(task, name="y")], SeedResources(workers=2), lambda seed, row: None)


# ---- what is refused, and names


def test_bad_input_is_one_line_before_any_work(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    few = IonImages(np.arange(3) + 100.0, spots(3), np.ones((16, 16), bool))
    write_images(tmp_path / "few", few)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    write_images(tmp_path / "images", IonImages(np.arange(12) + 100.0, spots(), np.ones((16, 16), bool)))
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "bad.safetensors")
    bundle, images, out = str(make_bundle(tmp_path / "bundle")), str(tmp_path / "images"), str(tmp_path / "out")
    for words, message in [
        (["train", str(tmp_path / "no")], "no: no ion images; make some with"),
        (["train", str(tmp_path / "few"), "--workers-per-seed", "2"], "batch_size: 64 of 3 ion images over 2 workers"),
        (["train", images, "--weights", str(tmp_path / "bad.safetensors")], "bad.safetensors: tensor "),
        (["train", images, "--weights", str(tmp_path / "no.safetensors")], "no.safetensors: no such file"),
        (["embed", bundle, str(tmp_path / "few"), out], "few: 3 ion images; UMAP needs 4 or more"),
        (["embed", bundle, images, str(tmp_path / "taken")], "taken: not empty and no embedding (it has notes.txt)"),
        (["embed", str(tmp_path / "taken"), images, out], "taken: a folder without a model bundle"),
    ]:
        status, _, told = command(capfd, "deepion", *words)
        assert (status, message in told, told.count("\n")) == (2, True, 1), told
    assert not Path(out).exists()


def test_a_block_is_named_after_all_it_follows_from() -> None:
    blocks = blocks_of(1200, "images", "model", "cpu")
    assert [row for block in blocks for row in block.rows] == list(range(1200))
    others = [blocks_of(1200, *asked)[0].name for asked in (("a", "model", "cpu"), ("images", "b", "cpu"))]
    assert len({each.name for each in blocks} | set(others)) == len(blocks) + 2
    assert blocks_of(1200, "images", "model", "cpu") == blocks


def test_options_reach_the_training() -> None:
    config = TrainConfig.checked({"images": "x/", "seeds": [2, 5], "epochs": 3, "preset": "released"}, source="test")
    fit = config.fit_config()
    assert (config.seed_numbers(), config.work_place()) == ([2, 5], "x.training")
    assert (fit.epochs, fit.batch_size, fit.keep) == (3, TRAINING["released"].batch_size, "last")
    assert config.model_config_of_preset().method == "byol"
    with pytest.raises(UsageError, match="mode"):
        TrainConfig.checked({"images": "x", "mode": "both"}, source="test")


_SAME = {"system": "deepion", "samples": "s", "labels": "l", "retrieval_mean": "0.5"}


@pytest.mark.parametrize(
    ("new", "moves", "reason"),
    [
        ({**_SAME, "retrieval_mean": "0.6"}, True, "same ion images and views, mean retrieval 0.6000 is not below"),
        ({**_SAME, "retrieval_mean": "0.4"}, False, "mean retrieval 0.4000 is below its 0.5000"),
        ({**_SAME, "samples": "t"}, False, "other ion images, so the retrievals do not compare"),
    ],
)
def test_the_champion_is_judged_by_retrieval(new: dict[str, str], moves: bool, reason: str) -> None:
    moved, text = champion_rule("m", new, first=False, current=_SAME, new_version="2", current_version="1")
    assert (moved, reason in text) == (moves, True)


def test_images_that_are_written_anew_while_they_are_embedded_are_not_taken_for_the_old(tmp_path: Path) -> None:
    mask = np.ones((16, 16), bool)
    fingerprint = write_images(tmp_path / "images", IonImages(np.arange(12) + 100.0, spots(), mask))
    [block] = blocks_of(12, fingerprint, "model", "cpu")
    write_images(tmp_path / "images", IonImages(np.arange(12) + 200.0, spots(), mask))
    where: dict[str, Any] = {"images": str(tmp_path / "images"), "out": str(tmp_path / "out"), "model": None}
    with pytest.raises(UsageError, match="images: was changed while it was embedded; start the command again"):
        embed_block(block, fingerprint=fingerprint, device="cpu", **where)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("mode", "place"), [("col", "embedding"), ("iso", "embedding-iso")])
def test_the_next_command_names_a_folder_for_each_mode(
    mode: str, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An embedding of one mode refuses the folder of the other's."""
    ions = IonImages(np.arange(12) + 100.0, spots(), np.ones((16, 16), bool))
    registration = Registration("sim", "1", champion=True, decision="first")
    summary = TrainSummary("run", registration, ions, "sim", [], 0, 0.5, None, 1.0)
    monkeypatch.setattr(training_job, "train", lambda *_, **__: summary)
    train_command(TrainConfig(images="images", mode=mode), Output(quiet=False, json=False))
    assert capsys.readouterr().out.splitlines()[-1].endswith(f" images {place}")
