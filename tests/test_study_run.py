"""A study from its file to its report: the numbers, what is done again and what is not, and a driver that is killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
import yaml
from conversions import running, wait_for
from sklearn.metrics import accuracy_score, roc_auc_score
from small_studies import outcomes, write

from ms2img.errors import UsageError
from ms2img.tracking.runs import artefacts
from ms2img.tracking.store import open_store
from pipelines.cli import invoke, main
from pipelines.study.config import StudyConfig
from pipelines.study.job import StudySummary, study
from pipelines.study.record import StudyRecord

pytestmark = pytest.mark.ray

PATIENCE = 180.0  # seconds, on a machine that is busy with other tests
NARROW = {"task": ["dpph"], "resolution": ["15x14"], "seed": [0]}  # four cells


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def first(ray_session, home, store) -> StudySummary:
    """A part of the grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store)
        return study(StudyConfig(study=write(home), out=str(home / "out"), **NARROW), quiet=True)


def plain(home: Path) -> dict[str, Any]:
    """The first study's runs as a sheet like any other."""
    return {"plants": {"samples": str(home / "out/data/plants/samples.csv")}}


def again(home: Path, store: str, **options) -> StudySummary:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store)
        return study(
            StudyConfig(study=str(home / "study.yaml"), out=str(home / "out"), resume=True, **options), quiet=True
        )


def test_cells_that_were_asked_for_are_done_and_the_others_say_so(first):
    status = first.record.cells.set_index("cell")["status"]
    assert first.ran == 4
    assert status.value_counts().to_dict() == {"done": 4, "not run": 20}
    assert sorted(status[status == "done"].index) == [
        "dpph_cosine_pca_seed0",
        "dpph_image_15x14_cnn-paper_seed0",
        "dpph_image_15x14_forest_seed0",
        "dpph_memo_forest_seed0",
    ]
    assert first.record.cells.loc[status.to_numpy() == "not run", "seconds"].isna().all()
    assert set(first.record.predictions["cell"]) == set(status[status == "done"].index)


def test_metrics_are_those_of_scikit_learn_on_the_predictions(first):
    record = first.record
    assert set(record.predictions["condition"]) == {"", "x 10"}
    metrics = record.metrics[record.metrics["level"] == "accession"].set_index(["cell", "condition", "fold"])
    for key, rows in record.predictions.groupby(["cell", "condition", "fold"]):
        mean = rows.groupby("accession").agg({"target": "first", "probability": "mean"})
        assert metrics.loc[key, "roc_auc"] == pytest.approx(roc_auc_score(mean["target"], mean["probability"]))
        assert metrics.loc[key, "accuracy"] == accuracy_score(mean["target"], mean["probability"] >= 0.5)


def test_every_model_is_tested_on_the_same_accessions_and_learns_from_none_of_them(first, home):
    by_cell = {
        cell: {fold: frozenset(of_fold["accession"]) for fold, of_fold in rows.groupby("fold")}
        for cell, rows in first.record.predictions.query("condition == ''").groupby("cell")
    }
    assert len(by_cell) == 4
    assert len({frozenset(folds.items()) for folds in by_cell.values()}) == 1
    sheet = pd.read_csv(home / "out/data/plants/samples.csv").query("kind == 'sample'").set_index("accession")["dpph"]
    scaled = (sheet - sheet.min()) / (sheet.max() - sheet.min())
    for accession, rows in first.record.predictions.groupby("accession"):
        assert rows["scaled"].to_numpy() == pytest.approx(scaled[accession])
        assert set(rows["target"]) == {int(scaled[accession] > 0.6)}
        assert not 0.4 <= scaled[accession] <= 0.6


def test_a_factor_on_all_intensities_is_inert_for_an_image_and_for_words(first):
    keys = ["cell", "condition", "accession"]
    predictions = first.record.predictions.set_index(keys)["probability"].sort_index()
    for cell in ("dpph_image_15x14_cnn-paper_seed0", "dpph_image_15x14_forest_seed0", "dpph_memo_forest_seed0"):
        pd.testing.assert_series_equal(predictions[cell, ""], predictions[cell, "x 10"], rtol=0, atol=1e-6)


def test_figures_that_hold_nothing_out_stand_beside_the_cells(first):
    fits = first.record.multivariate.set_index(["task", "representation", "method"])
    oplsda = fits.loc["dpph", "cosine", "oplsda"]
    assert oplsda["q2y"] < oplsda["r2y"] <= 1
    assert 0 < oplsda["p_q2y"] <= 1
    scores = first.record.scores.query("method == 'pca'")
    assert set(scores["accession"]) == set(first.record.predictions["accession"])
    assert scores["x"].var() >= scores["y"].var()


def test_the_report_and_the_tables_are_written(first, home):
    page = (home / "out/report.html").read_text()
    assert "SIMULATED" in page
    assert "not run" in page
    loaded = StudyRecord.load(home / "out/record")
    pd.testing.assert_frame_equal(loaded.metrics, first.record.metrics)
    assert loaded.summary["cells"] == {"done": 4, "not run": 20}
    table = pd.read_csv(home / "out/table2.csv")
    assert set(table["task"]) == {"dpph", "tpc"}


def test_every_cell_is_a_run_of_the_tracking_store(first, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    opened = open_store()
    assert {"study", "config.yaml"} <= artefacts(opened, first.run_id)
    query = f"tags.mlflow.parentRunId = '{first.run_id}'"
    children = opened.client().search_runs([opened.experiment_id()], query)
    cells = {child.data.tags["ms2img.cell"]: child for child in children}
    assert set(cells) == set(first.record.cells.query("status == 'done'")["cell"])
    network = cells["dpph_image_15x14_cnn-paper_seed0"]
    assert network.data.params["resolution"] == "15x14"
    rows = first.record.metrics.query(
        "cell == 'dpph_image_15x14_cnn-paper_seed0' and level == 'accession' and condition == ''"
    )
    assert network.data.metrics["accession_roc_auc_mean"] == pytest.approx(rows["roc_auc"].mean())
    history = opened.client().get_metric_history(network.info.run_id, "fold_2/train_accuracy")
    assert [point.step for point in history] == [1, 2]
    assert opened.client().get_run(first.run_id).data.tags["ms2img.simulated"] == "true"


def test_a_finished_study_needs_resume_and_then_does_nothing_twice(first, home, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with pytest.raises(UsageError, match="holds the study 'small .SIMULATED.'; add --resume"):
        study(StudyConfig(study=str(home / "study.yaml"), out=str(home / "out"), **NARROW), quiet=True)
    before = {path: path.stat().st_mtime_ns for path in (home / "out").glob("cells/*/*.json")}
    second = again(home, store, **NARROW)
    assert second.ran == 0
    assert second.run_id == first.run_id
    assert {path: path.stat().st_mtime_ns for path in (home / "out").glob("cells/*/*.json")} == before
    pd.testing.assert_frame_equal(second.record.metrics, first.record.metrics)
    opened = open_store()
    assert (
        len(opened.client().search_runs([opened.experiment_id()], f"tags.mlflow.parentRunId = '{first.run_id}'")) == 4
    )


def test_other_cells_add_to_what_is_there_and_a_damaged_fold_is_done_again(first, home, store):
    was = outcomes(home / "out")
    (home / "out/cells/dpph_memo_forest_seed0/fold1.json").write_text("{")
    third = again(home, store, task=["dpph"], representation=["memo"])
    assert third.ran == 2  # the damaged one, and seed 1
    assert third.record.cells["status"].value_counts().to_dict() == {"done": 5, "not run": 19}
    now = outcomes(home / "out")
    assert {name: now[name] for name in was} == was
    assert {name for name in now if name not in was} == {f"dpph_memo_forest_seed1/fold{fold}.json" for fold in (0, 1)}


def test_another_label_is_another_cell(first, home, store, tmp_path):
    """The same rows with other classes: what was computed from the old ones does not count, and nothing mixes."""
    path = home / "study.yaml"
    text = path.read_text()
    changed = yaml.safe_load(text)
    changed["tasks"]["dpph"]["low"] = 0.3
    path.write_text(yaml.safe_dump(changed))
    try:
        other = again(home, store, task=["dpph"], representation=["cosine"], seed=[0])
    finally:
        path.write_text(text)
    assert other.ran == 1
    rows = other.record.predictions
    assert set(rows["cell"]) == {"dpph_cosine_pca_seed0"}
    assert not rows["scaled"].between(0.3, 0.6).any()
    again(home, store, **NARROW)


@pytest.mark.slow  # a minute; tests/test_sweep_kills.py kills a driver, and a damaged fold is done again above
def test_a_driver_that_is_killed_goes_on_where_it_was(first, home, store, tmp_path):
    """Two folds are there when it dies by ``kill -9``; they stay, and all folds are those of the undisturbed study."""
    file = write(tmp_path, data=plain(home), conditions={})
    out = tmp_path / "out"
    variables = {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", ""),
        "MLFLOW_TRACKING_URI": store,
    }
    options = [f"--{name}={value}" for name, values in NARROW.items() for value in values]
    command = ["study", file, f"--out={out}", "--quiet", *options]
    with running(command, variables) as process:
        wait_for(lambda: len(outcomes(out)) >= 2, process, PATIENCE)
        process.kill()
        process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/fold*.json")}
    assert not (out / "report.html").exists()
    with running([*command, "--resume", "--json"], variables) as process:
        told, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "took over the lease of process" in err
    assert json.loads(told)["cells"] == {"done": 4, "not run": 20}
    whole = {name: each for name, each in outcomes(home / "out").items() if name in outcomes(out)}
    assert len(whole) == 8
    for name, each in outcomes(out).items():
        assert each["outcome"]["probability"][""] == whole[name]["outcome"]["probability"][""], name
        assert each["outcome"]["history"] == whole[name]["outcome"]["history"], name
    after = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/fold*.json")}
    assert kept.items() <= after.items()


def test_a_dry_run_tells_cells_and_hours(first, home, store, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    told = invoke(["study", str(home / "study.yaml"), "--out", str(home / "out"), "--dry-run"]).values
    assert told["cells"] == 24
    assert told["done"] >= 4
    assert 0 < told["hours_left"] < told["hours"] < 1
    out = capfd.readouterr().out
    assert "24 cells x" in out
    assert "measured" in out
    assert "probe" in out


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"tasks": {"dpph": {"data": "plants", "assay": "dphp"}}}, "no column 'dphp'; did you mean 'dpph'?"),
        ({"models": {"aligned": ["forest"]}}, "data 'plants' is not aligned; the study asks for 'aligned'"),
        ({"folds": 25}, "--folds 25"),
    ],
)
def test_what_cannot_be_is_refused_before_any_training(
    ray_session, tmp_path, home, store, first, changed, told, capfd, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    file = write(tmp_path, data=plain(home), conditions={}, **changed)
    assert main(["study", file, "--quiet"]) == 2
    err = capfd.readouterr().err.strip().splitlines()
    assert told in err[-1]
    assert "Traceback" not in "\n".join(err)
    assert not list(tmp_path.glob("study/cells/*"))


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.doc").write_text("precious")
    with pytest.raises(UsageError, match=r"is not empty and holds no study \(it has thesis.doc\)"):
        study(StudyConfig(study=write(tmp_path), out=str(tmp_path / "out")), quiet=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["thesis.doc"]


@pytest.fixture(scope="module")
def gaps(first, home, tmp_path_factory) -> Path:
    """The runs of the first study as a sheet of their own, one labelled run's file empty and one gone."""
    place = tmp_path_factory.mktemp("gaps")
    source = home / "out/data/plants"
    sheet = pd.read_csv(source / "samples.csv", dtype=str)
    sheet["path"] = [str(source / path) for path in sheet["path"]]
    labelled = sorted(set(first.record.predictions["sample_id"]))[:2]
    (place / "empty.mgf").write_text("")
    sheet.loc[sheet["sample_id"] == labelled[0], "path"] = "empty.mgf"
    sheet.loc[sheet["sample_id"] == labelled[1], "path"] = "gone.mgf"
    sheet.to_csv(place / "samples.csv", index=False)
    return place


@pytest.mark.slow  # half a minute
def test_a_run_that_fails_moves_no_other_run_to_another_fold(first, gaps, store, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    data = {"plants": {"samples": str(gaps / "samples.csv")}}
    models = {"memo": ["logistic"], "image": ["forest"]}
    file = write(gaps, data=data, conditions={}, models=models, resolutions=["15x14"], seeds=[0])
    assert main(["study", file, "--quiet", "--task", "dpph"]) == 3  # two runs failed, and none may
    assert "2 of 30 runs failed and are in no cell" in capfd.readouterr().err
    whole = (
        first.record.predictions.query("condition == ''").drop_duplicates("accession").set_index("accession")["fold"]
    )
    found = StudyRecord.load(gaps / "study/record").predictions
    assert len(set(found["accession"])) == len(whole) - 2
    for accession, fold in zip(found["accession"], found["fold"], strict=True):
        assert fold == whole[accession]
    # Words are counted again as long as runs fail, on a Ray of its own if need be, and nothing else is.
    assert main(["study", file, "--quiet", "--task", "dpph", "--resume", "--max-failures", "10%"]) == 0
