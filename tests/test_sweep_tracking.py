"""A sweep in the store, against a real SQLite store that breaks too, and under a real SIGTERM."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bundle_samples import make_bundle, write_mgf
from search_records import make_search
from tracked_sweeps import VALUES, log_trial, open_sweep, trials_of

from ms2img.ms2toimg.record import CvRecord
from ms2img.tracking.registry import register
from ms2img.tracking.runs import record_folder, track_cross_validation
from ms2img.tracking.store import Store, StoreError, open_store
from pipelines.cli import main
from pipelines.models import load_record
from pipelines.termination import Terminated, sigterm_raises
from tune.record import SweepRecord


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return open_store(folder)


@pytest.fixture(autouse=True)
def _no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)


@pytest.fixture(scope="module")
def records() -> tuple[SweepRecord, CvRecord]:
    return make_search(6, failed=(4,), stopped_at={2: 2})


def test_a_child_a_trial_with_its_curves_and_the_best_one_tagged(
    store: Store, records: tuple[SweepRecord, CvRecord]
) -> None:
    search, _ = records
    with open_sweep(store) as run:
        for row in search.trials.to_dict("records"):
            numbers = {name: row[name] for name in ("validation_accuracy", "accuracy")}
            history = search.history[search.history["trial"] == row["trial"]]
            run.log_trial(
                row["trial"], VALUES, row["status"], history, numbers, reason=row["reason"] or None, seconds=19.0
            )
        run.tag_best(run.logged[0], 0)
        run.tag_best(run.logged[3], 3)
    children = trials_of(run)
    assert set(children) == {str(number) for number in range(6)}
    for row in search.trials.to_dict("records"):
        child = children[str(row["trial"])]
        status = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}[row["status"]]
        assert child.info.status == status
        assert child.info.end_time - child.info.start_time == 19_000
        assert child.data.tags["ms2img.status"] == row["status"]
        assert child.data.tags.get("ms2img.reason", "") == row["reason"]
        assert child.data.params == {name: str(value) for name, value in VALUES.items()}
        history = search.history[search.history["trial"] == row["trial"]]
        assert ("mean/validation_loss" in child.data.metrics) == bool(len(history))
        for name in ("validation_accuracy", "accuracy"):
            assert child.data.metrics.get(name) == (row[name] if math.isfinite(row[name]) else None)
        for name in ("train_loss", "validation_accuracy"):
            points = run.client.get_metric_history(child.info.run_id, f"mean/{name}")
            found = {point.step: point.value for point in points}
            wanted = history.groupby("epoch")[name].mean() if len(history) else pd.Series(dtype=float)
            assert found == pytest.approx(wanted.to_dict())
            for fold, rows in history.groupby("fold"):
                points = run.client.get_metric_history(child.info.run_id, f"fold_{fold + 1}/{name}")
                assert {point.step: point.value for point in points} == dict(
                    zip(rows["epoch"], rows[name], strict=True)
                )
    assert [number for number, child in children.items() if "ms2img.best" in child.data.tags] == ["3"]
    parent = store.client().get_run(run.run_id)
    assert parent.data.tags["ms2img.best"] == run.logged[3]
    assert parent.data.tags["ms2img.best_trial"] == "3"
    assert parent.info.status == "FINISHED"


def test_the_mean_goes_as_far_as_every_fold() -> None:
    from ms2img.tracking.sweeps import _trial_curves

    history = pd.DataFrame({"fold": [0, 0, 0, 1, 1], "epoch": [1, 2, 3, 1, 2], "loss": [1.0, 2.0, 3.0, 5.0, 8.0]})
    rows = _trial_curves(history)
    assert [row for row in rows if row[0] == "mean/loss"] == [("mean/loss", 3.0, 1), ("mean/loss", 5.0, 2)]
    assert [row for row in rows if row[0] == "fold_2/loss"] == [("fold_2/loss", 5.0, 1), ("fold_2/loss", 8.0, 2)]


def test_records_come_back_and_the_report_finds_them(
    store: Store, folder: Path, records: tuple[SweepRecord, CvRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    search, record = records
    with open_sweep(store) as run:
        run.log_sweep(search)
        run.log_record(record)
    measured = store.client().get_run(run.run_id).data.metrics
    for rule in ("nested", "winner", "paper_rule"):
        assert measured[f"{rule}.accuracy_mean"] == search.summary[rule]["accuracy_mean"]
    assert measured["counts.failed"] == 1
    assert measured["accession_roc_auc_mean"] == search.summary["nested"]["roc_auc_mean"]
    with record_folder(store, run.run_id, "sweep") as place:
        pd.testing.assert_frame_equal(SweepRecord.load(place).trials, search.trials)
    monkeypatch.chdir(folder)
    found = load_record(run.run_id)
    assert found.search is not None
    pd.testing.assert_frame_equal(found.search.history, search.history)
    pd.testing.assert_frame_equal(found.record.predictions, record.predictions)


def test_the_winner_is_listed_with_its_nested_auc_reported_and_scores(
    folder: Path,
    store: Store,
    tmp_path: Path,
    records: tuple[SweepRecord, CvRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    search, record = records
    monkeypatch.chdir(folder)
    metrics = {name: record.summary[name] for name in ("auc_mean", "auc_sd")}
    bundle = make_bundle(tmp_path / "bundle", assay="tuned", preset="sweep paper", metrics=metrics)
    with open_sweep(store) as run:
        run.log_sweep(search)
        run.log_record(record)
        uri = register(store, bundle, run_id=run.run_id).uri
    assert main(["models", "tuned"]) == 0
    listed = capsys.readouterr().out
    nested = search.summary["nested"]
    assert f"{nested['roc_auc_mean']:.3f} ± {nested['roc_auc_sd']:.3f}" in listed
    assert "sweep paper" in listed
    for reference in (uri, "models:/ms2img-tuned@champion", run.run_id):
        assert main(["report", reference, "--out", str(tmp_path / "report.html")]) == 0
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "D. All finished trials" in page
        assert "Registered as ms2img-tuned, version 1 (champion)" in page
    write_mgf(tmp_path / "run.mgf")
    scored = ["predict", uri, str(tmp_path / "run.mgf"), "--out", str(tmp_path / "scored.csv")]
    assert main(scored) == 0
    assert pd.read_csv(tmp_path / "scored.csv")["probability"].between(0, 1).all()


def test_a_resumed_sweep_goes_on_in_its_run_and_logs_no_trial_twice(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), open_sweep(store) as run:
        first = log_trial(run, 0)
        log_trial(run, 1, status="stopped")
        # A sweep that was killed between the first and the last call for trial 2.
        half = run.client.create_run(
            run.experiment_id, tags={"mlflow.parentRunId": run.run_id, "ms2img.trial": "2"}
        ).info.run_id
        raise KeyboardInterrupt
    assert store.client().get_run(run.run_id).info.status == "KILLED"
    with open_sweep(store, run.run_id) as again:
        assert again.run_id == run.run_id
        assert store.client().get_run(run.run_id).info.status == "RUNNING"
        assert set(again.logged) == {0, 1}
        assert log_trial(again, 0) == first
        for number in (1, 2, 3):
            log_trial(again, number)
    assert set(trials_of(again)) == {"0", "1", "2", "3"}
    assert half not in again.logged.values()
    assert store.client().get_run(run.run_id).info.status == "FINISHED"


def test_a_failure_is_forgotten_when_its_sweep_goes_on(store: Store) -> None:
    with pytest.raises(ValueError, match="no luck"), open_sweep(store) as run:
        raise ValueError("no luck")
    assert store.client().get_run(run.run_id).data.tags["ms2img.error"] == "no luck"
    with open_sweep(store, run.run_id):
        pass
    ended = store.client().get_run(run.run_id)
    assert (ended.info.status, "ms2img.error" in ended.data.tags) == ("FINISHED", False)


@pytest.mark.parametrize("gone", ["never there", "deleted"])
def test_a_sweep_whose_run_the_store_does_not_have_gets_a_new_one(store: Store, gone: str) -> None:
    with open_sweep(store) as run:
        log_trial(run, 0)
    store.client().delete_run(run.run_id)
    with open_sweep(store, "0" * 32 if gone == "never there" else run.run_id) as again:
        assert again.run_id not in ("0" * 32, run.run_id)
        assert again.logged == {}


def _terminated(open_it: Callable[[], AbstractContextManager[Any]]) -> str:
    """The id of a run in whose block this process got a SIGTERM."""
    with pytest.raises(Terminated), sigterm_raises(), open_it() as run:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        pytest.fail("the signal did not come")
    return str(run.run_id)


def test_a_terminated_run_is_killed_in_the_store_too(store: Store) -> None:
    for open_it in (partial(open_sweep, store), partial(track_cross_validation, store, name="x", config={}, tags={})):
        assert store.client().get_run(_terminated(open_it)).info.status == "KILLED"


def test_a_store_that_breaks_in_the_middle_is_one_typed_error_and_the_sweep_may_go_on(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    database = tmp_path / ".ms2img" / "mlflow.db"
    with open_sweep(store) as run:
        log_trial(run, 0)
        shutil.move(database, tmp_path / "aside.db")
        database.write_bytes(b"this is no database" * 100)
        with pytest.raises(StoreError, match=r"mlflow\.db: ") as refusal:
            log_trial(run, 1)
        assert "\n" not in str(refusal.value)
        shutil.move(tmp_path / "aside.db", database)
    # It answers again at the end, but what was not logged is missing: that is no finished run.
    ended = store.client().get_run(run.run_id)
    assert ended.info.status == "FAILED"
    assert ended.data.tags["ms2img.error"].startswith(str(refusal.value)[:40])


def test_what_a_store_missed_while_it_was_away_is_logged_once_when_it_is_back(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    history = pd.DataFrame({"fold": [0], "epoch": [1], "loss": [0.5]})

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(tmp_path / ".ms2img" / "mlflow.db")) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    with open_sweep(store) as run:
        log_trial(run, 0, history)
        rename("metrics", "away")
        with pytest.raises(StoreError):  # the child run is there by now, its curves are not
            log_trial(run, 1, history)
        rename("away", "metrics")
        for number in range(3):
            log_trial(run, number, history)
    assert set(trials_of(run)) == {"0", "1", "2"}
    assert {child.info.status for child in trials_of(run).values()} == {"FINISHED"}
    assert store.client().get_run(run.run_id).info.status == "FINISHED"


def test_artefacts_that_cannot_be_written_are_one_typed_error(
    tmp_path: Path, records: tuple[SweepRecord, CvRecord]
) -> None:
    store = open_store(tmp_path)
    with open_sweep(store) as run:
        artefacts = tmp_path / ".ms2img" / "artifacts"
        shutil.rmtree(artefacts)
        artefacts.write_text("a file where the folder should be")
        for log in (partial(run.log_sweep, records[0]), partial(run.log_record, records[1])):
            with pytest.raises(StoreError, match="artefact '(sweep|record)': ") as refusal:
                log()
            assert "\n" not in str(refusal.value)
