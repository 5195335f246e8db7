"""The store and the runs in it, against a real SQLite store and read back by MLflow's own client."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from record_samples import make_record

from ms2img.errors import UsageError
from ms2img.ms2toimg.record import CvRecord
from ms2img.tracking.entries import InputData
from ms2img.tracking.runs import TrackedRun, record_folder, track_cross_validation
from ms2img.tracking.store import Store, StoreError, open_store, without_password

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("a folder with späces"))


@pytest.fixture(autouse=True)
def _no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)


def _python(code: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(REPOSITORY), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# ---- the store


def test_two_jobs_that_start_together_share_one_new_store_and_say_nothing(tmp_path: Path) -> None:
    code = (
        "from ms2img.tracking.store import open_store; from ms2img.tracking.runs import track_cross_validation\n"
        "store = open_store()\n"
        "with track_cross_validation(store, name='x', config={'a': 1}, tags={}) as run: pass\n"
        "open(run.run_id + '.done', 'w').close()"
    )
    jobs = [_python(code, tmp_path) for _ in range(2)]
    answers = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], answers
    assert answers == [("", "")] * 2
    store = open_store(tmp_path)
    runs = store.client().search_runs([store.experiment_id()])
    assert {run.info.run_id for run in runs} == {path.stem for path in tmp_path.glob("*.done")}
    assert len(runs) == 2
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".done"} == {".ms2img"}


def test_a_first_use_that_is_killed_leaves_no_half_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.db import utils

    def killed(engine: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(utils, "_verify_schema", killed)  # all tables exist by then
        with pytest.raises(KeyboardInterrupt):
            open_store(tmp_path)
    assert {path.name for path in (tmp_path / ".ms2img").iterdir()} <= {"mlflow.db.lock"}
    assert open_store(tmp_path).experiment_id()


def test_runs_and_artifacts_lie_in_the_store_folder(store: Store) -> None:
    with track_cross_validation(store, name="x", config={"a": 1}, tags={}) as run:
        pass
    location = store.client().get_run(run.run_id).info.artifact_uri
    folder = Path(store.tracking_uri.removeprefix("sqlite:///")).parent
    assert location.startswith((folder / "artifacts").as_uri())
    assert (folder / "artifacts" / run.run_id / "artifacts" / "config.yaml").is_file()


def test_the_named_store_is_used_and_its_artifacts_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'deep' / 'mine.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "roots of 2026")
    opened = open_store(tmp_path / "elsewhere")
    assert (tmp_path / "deep" / "mine.db").is_file()
    experiment = opened.client().get_experiment(opened.experiment_id())
    assert experiment.name == "roots of 2026"
    assert experiment.artifact_location == (tmp_path / "deep" / "artifacts").as_uri()
    assert not (tmp_path / "elsewhere").exists()
    opened.client().delete_experiment(experiment.experiment_id)
    with pytest.raises(UsageError, match="'roots of 2026' is deleted"):
        opened.experiment_id()


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://user:secret@127.0.0.1:{port}", "Connection refused"),
        ("http://no-such-host.invalid", "Name or service not known|Temporary failure|not usable|failed"),
        ("sqlite:////proc/no/such/place.db", "No such file"),
        ("sqlite:///{tmp}/garbage.db", "not a database"),
        ("sqlite:///{tmp}", "unable to open"),
        ("file://{tmp}/mlruns", "maintenance mode"),
        ("gopher://x", "unsupported URI"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str
) -> None:
    (tmp_path / "garbage.db").write_bytes(b"\x00 this is no database " * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=_closed_port(), tmp=tmp_path))
    before = {key: value for key, value in os.environ.items() if "HTTP" in key}
    with pytest.raises(UsageError, match=message) as refusal:
        open_store(tmp_path)
    assert str(refusal.value).startswith("MLFLOW_TRACKING_URI=")
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert {key: value for key, value in os.environ.items() if "HTTP" in key} == before


def test_passwords_are_not_shown() -> None:
    shown = without_password("at postgresql://lab:pa:ss@db/x then http://u:p@h:5000/ and http://h:5000/a@b")
    assert shown == "at postgresql://lab:...@db/x then http://u:...@h:5000/ and http://h:5000/a@b"


# ---- runs


@pytest.fixture(scope="module")
def logged(store: Store) -> tuple[CvRecord, TrackedRun]:
    """A record whose first fold was logged when it was done, the others at the end."""
    record = make_record(epochs=300)
    config = {"assay": "dpph", "fit": {"epochs": 300, "sizes": [1, 2]}, "note": "ä" * 2000}
    with track_cross_validation(
        store,
        name="dpph",
        config=config,
        tags={"assay": "dpph", "simulated": False, "preset": "paper"},
        inputs=[InputData("images", "/data/out", "5a5a"), InputData("sheet", "/data/samples.csv", "0f0f")],
    ) as run:
        run.log_fold(0, record.history.query("fold == 0"), record.metrics.query("fold == 0"))
        run.log_record(record)
        run.set_tags({"done": True})
    return record, run


def _children(store: Store, run: TrackedRun) -> list[Any]:
    found = store.client().search_runs([run.experiment_id], f"tags.mlflow.parentRunId = '{run.run_id}'")
    return sorted(found, key=lambda child: child.info.run_name)


def test_a_child_run_a_fold_holds_its_curves_and_measures(store: Store, logged: tuple[CvRecord, TrackedRun]) -> None:
    record, run = logged
    children = _children(store, run)
    assert [child.info.run_name for child in children] == [f"fold {fold}" for fold in range(5)]
    assert {child.info.status for child in children} == {"FINISHED"}
    for fold, child in enumerate(children):
        history = record.history[record.history["fold"] == fold]
        for name in ("train_loss", "validation_loss", "validation_accuracy", "validation_auc"):
            found = store.client().get_metric_history(child.info.run_id, name)
            expected = [
                (epoch, value)
                for epoch, value in zip(history["epoch"], history[name], strict=True)
                if math.isfinite(value)
            ]
            assert [(metric.step, metric.value) for metric in sorted(found, key=lambda m: m.step)] == expected, name
        for row in record.metrics[record.metrics["fold"] == fold].to_dict("records"):
            assert child.data.metrics[f"{row['level']}_roc_auc"] == row["roc_auc"]
            assert child.data.metrics[f"{row['level']}_tp"] == row["tp"]
        assert child.data.params["fold"] == str(fold)


def test_the_parent_run_holds_mean_and_sd_config_tags_and_inputs(
    store: Store, logged: tuple[CvRecord, TrackedRun]
) -> None:
    record, run = logged
    parent = store.client().get_run(run.run_id)
    for level in ("accession", "run"):
        for measure in ("accuracy", "roc_auc", "f1"):
            values = record.metrics.loc[record.metrics["level"] == level, measure].to_numpy()
            assert parent.data.metrics[f"{level}_{measure}_mean"] == pytest.approx(np.mean(values))
            assert parent.data.metrics[f"{level}_{measure}_sd"] == pytest.approx(np.std(values, ddof=1))
    assert parent.data.metrics["auc_mean"] == record.summary["auc_mean"]
    assert not {"undefined", "simulated", "assay"} & set(parent.data.metrics)
    assert parent.data.params["fit.epochs"] == "300"
    assert json.loads(parent.data.params["fit.sizes"]) == [1, 2]
    assert parent.data.params["note"] == "ä" * 500
    tags = {key: value for key, value in parent.data.tags.items() if key.startswith("ms2img.")}
    assert tags == {
        "ms2img.assay": "dpph",
        "ms2img.simulated": "false",
        "ms2img.preset": "paper",
        "ms2img.version": tags["ms2img.version"],
        "ms2img.done": "true",
    }
    inputs = {each.dataset.name: each.dataset.digest for each in parent.inputs.dataset_inputs}
    assert inputs == {"images": "5a5a", "sheet": "0f0f"}
    text = Path(store.client().download_artifacts(run.run_id, "config.yaml")).read_text()
    assert yaml.safe_load(text)["fit"] == {"epochs": 300, "sizes": [1, 2]}
    assert parent.info.status == "FINISHED"


def test_the_record_comes_back(store: Store, logged: tuple[CvRecord, TrackedRun]) -> None:
    record, run = logged
    with record_folder(store, run.run_id) as folder:
        found = CvRecord.load(folder)
    pd.testing.assert_frame_equal(found.predictions, record.predictions)
    pd.testing.assert_frame_equal(found.history, record.history)
    pd.testing.assert_frame_equal(found.metrics, record.metrics)
    assert found.summary == {**record.summary, "undefined": None}
    assert not folder.exists()


def test_a_run_without_a_record_is_refused(store: Store, logged: tuple[CvRecord, TrackedRun]) -> None:
    child = _children(store, logged[1])[0].info.run_id
    with pytest.raises(UsageError, match="no finished cross-validation"), record_folder(store, child):
        pass
    with pytest.raises(UsageError, match="no run"), record_folder(store, "0" * 32):
        pass


@pytest.mark.parametrize(
    ("raised", "status", "reason"),
    [
        (KeyboardInterrupt(), "KILLED", None),
        (SystemExit(1), "KILLED", None),
        (ValueError("no such luck\nsecond line"), "FAILED", "no such luck"),
        (UsageError("a fold has one class"), "FAILED", "a fold has one class"),
    ],
)
def test_a_run_that_does_not_end_well_says_so(
    store: Store, raised: BaseException, status: str, reason: str | None
) -> None:
    with (
        pytest.raises(type(raised)),
        track_cross_validation(store, name="x", config={}, tags={}) as run,
    ):
        raise raised
    found = store.client().get_run(run.run_id)
    assert found.info.status == status
    assert found.info.end_time >= found.info.start_time
    assert found.data.tags.get("ms2img.error") == reason


def test_what_the_store_refuses_is_one_line(store: Store) -> None:
    with (
        pytest.raises(StoreError, match=r"mlflow\.db: ") as refusal,
        track_cross_validation(store, name="x", config={"a key\nwith a break": 1}, tags={}),
    ):
        pytest.fail("the run should not have started")
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 1


def test_a_figure_is_kept(store: Store, tmp_path: Path) -> None:
    (tmp_path / "roc.svg").write_text("<svg/>")
    with track_cross_validation(store, name="x", config={}, tags={}) as run:
        run.log_figure(tmp_path / "roc.svg")
    assert [entry.path for entry in store.client().list_artifacts(run.run_id, "figures")] == ["figures/roc.svg"]
