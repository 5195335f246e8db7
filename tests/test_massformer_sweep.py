"""A sweep of a spectrum model on Ray Tune: kept, gone on with, logged, and its winner registered. SIMULATED spectra."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from massformer_bundles import library_folder

from ms2img.errors import UsageError
from ms2img.io.storage import folder
from ms2img.massformer.training import train_model
from ms2img.tracking.store import open_store
from pipelines import cli
from pipelines.massformer.sweep import SweepConfig
from pipelines.massformer.sweep_job import sweep
from pipelines.massformer.sweep_plan import SweepPlan
from pipelines.massformer.sweep_record import SweepRecord
from tune.choose import scored, winner
from tune.forms import SPLIT
from tune.ledger import Ledger
from tune.molecules import COSINE
from tune.proposals import propose_values

SPACE = """
base: small
parameters:
  learning_rate: {log: [1.0e-3, 1.0e-2]}
  batch_size: {choice: [16, 32]}
  head_width: {choice: [16, 32]}
  width: {choice: [16, 32]}
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, str]:
    """A library of 40 molecules and a small space."""
    here = tmp_path_factory.mktemp("massformer-sweep")
    (here / "space.yaml").write_text(SPACE)
    return {"library": str(library_folder(here / "library")), "space": str(here / "space.yaml")}


@pytest.fixture(autouse=True)
def store(tmp_path_factory, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}")


def config(inputs: dict[str, str], out: object, **more: Any) -> SweepConfig:
    given = {"model": "fp", "trials": 3, "epochs": 2, "split": "inchikey", "precision": "float32", "concurrent": 1}
    return SweepConfig(**{**inputs, **given, "out": str(out), **more})


def results(out: object) -> list:
    ledger = Ledger(folder(str(out)), pytest.fail, SPLIT)
    return [ledger.result(entry, 1) for entry in ledger.entries(1, again=False).values()]


@pytest.mark.ray
def test_a_sweep_is_what_its_plan_says_tracked_registered_and_gone_on_with(ray_session, inputs, tmp_path, capsys):
    """One sweep through: hours that are over at once, then its trials one by one as Optuna has them, then one more."""
    out = tmp_path / "out"
    asked = config(inputs, out)
    plan = SweepPlan.make(asked)

    words = ["--model=fp", f"--space={inputs['space']}", f"--out={out}", "--trials=3", "--epochs=2", "--json"]
    words += ["--split=inchikey", "--precision=float32", "--concurrent=1", "--quiet"]
    assert cli.main(["massformer", "sweep", inputs["library"], *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"finished": 3, "stopped": 0, "failed": 0}
    assert told["simulated"]
    assert told["model"].startswith("models:/ms2img-sim-massformer-")

    found = results(out)
    ended: list = []
    for result in found:  # trial by trial what Optuna proposes knowing those before, trained as a plain loop trains
        assert result.values == propose_values(plan.space, 0, result.number, ended)
        trial = plan.trial(result.number, result.values)
        plain = train_model(plan.data, trial.model, trial.fit)
        assert result.folds[0].history == plain.fit.history
        assert result.n_weights == trial.n_weights == sum(each.numel() for each in plain.model.parameters())
        ended.append(Ledger(folder(str(out)), pytest.fail, SPLIT).entry(result.number))
    best = winner(found, COSINE)
    assert told["winner"]["trial"] == best.number
    assert told["refit"]["cosine"] == pytest.approx(told["winner"]["validation_cosine"], abs=1e-6)

    tracking, client = json.loads((out / "tracking.json").read_text()), open_store().client()
    parent = client.get_run(told["run_id"])
    children = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{told['run_id']}'")
    by_trial = {int(child.data.tags["ms2img.trial"]): child for child in children}
    assert sorted(by_trial) == [0, 1, 2]
    for result in found:
        assert by_trial[result.number].data.metrics[COSINE] == pytest.approx(scored(result, COSINE).value)
    assert by_trial[best.number].data.tags["ms2img.best"] == "true"
    version = client.get_model_version(*told["model"].removeprefix("models:/").split("/"))
    assert version.run_id == told["run_id"]
    record = SweepRecord.load(Path(client.download_artifacts(told["run_id"], "sweep", str(tmp_path))))
    assert record.trials["trial"].tolist() == [0, 1, 2]
    assert record.summary["winner"]["trial"] == best.number
    assert len(record.history) == 6

    with pytest.raises(UsageError, match=r"holds a sweep of model fp with 3 of 3 trials done; --resume goes on"):
        sweep(asked, quiet=True)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/*")}
    again = sweep(asked.model_copy(update={"resume": True}), quiet=True)
    assert (again.workers, again.run_id) == (0, told["run_id"])
    assert again.registration.uri == told["model"]
    more = sweep(asked.model_copy(update={"resume": True, "trials": 4}), quiet=True)
    assert more.record.summary["trials"] == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # what was done is not done again
    same_winner = more.record.summary["winner"]["trial"] == best.number
    assert (more.registration.uri == told["model"]) == same_winner
    assert json.loads((out / "tracking.json").read_text())["run_id"] == tracking["run_id"]

    spent = sweep(asked.model_copy(update={"resume": True, "trials": 100, "max_hours": 1e-6}), quiet=True)
    assert spent.record.summary["trials"] == 4  # the hours were over: nothing was begun
    assert spent.workers == 0


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_that_fails_is_a_row_and_chance_is_a_searcher_too(ray_session, inputs, tmp_path):
    space = tmp_path / "space.yaml"
    parameters = "{learning_rate: {choice: [1.0e-3, 1.0e+30]}, head_width: {choice: [16]}}"
    space.write_text(f"base: small\nparameters: {parameters}\n")
    asked = config({**inputs, "space": str(space)}, tmp_path / "out", searcher="random", trials=4, epochs=2)
    summary = sweep(asked, quiet=True)
    plan = SweepPlan.make(asked)
    drawn = {number: plan.space.sample(0, number) for number in range(4)}
    assert len({values["learning_rate"] for values in drawn.values()}) == 2  # both kinds occur
    rows = {row["trial"]: row for row in summary.record.trials.to_dict("records")}
    assert {number: json.loads(row["values"]) for number, row in rows.items()} == drawn
    for number, values in drawn.items():
        fails = values["learning_rate"] > 1
        assert rows[number]["status"] == ("failed" if fails else "finished")
        assert ("not finite" in rows[number]["reason"] or "loss is" in rows[number]["reason"]) == fails
    counts = summary.record.summary["counts"]
    assert counts["failed"] == sum(values["learning_rate"] > 1 for values in drawn.values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": "massformer-wln"}, "space 'massformer-wln': neither one of massformer-fp nor a YAML file"),
        ({"held_out": "Nobody"}, "--held-out Nobody: "),
        ({"adducts": "[M+K]+"}, r"--adducts \[M\+K\]\+: "),
        ({"cell": "CID"}, "--cell CID: "),
        ({"library": "/nowhere"}, "/nowhere"),
    ],
)
def test_wrong_input_is_refused_before_any_work(inputs, tmp_path, changed, message):
    with pytest.raises(UsageError, match=message):
        sweep(config(inputs, tmp_path / "out", **changed), quiet=True)
    assert not (tmp_path / "out").exists()


def test_what_a_sweep_may_change_when_it_goes_on(inputs, tmp_path):
    first = SweepPlan.make(config(inputs, tmp_path)).identity()
    same = {"trials": 200, "max_hours": 3.0, "concurrent": 2, "resume": True, "checkpoint_seconds": 1.0}
    assert SweepPlan.make(config(inputs, tmp_path / "other", **same)).identity() == first
    for changed in ({"seed": 1}, {"epochs": 3}, {"trial_minutes": 1.0}, {"preset": "paper"}, {"split_seed": 1}):
        assert SweepPlan.make(config(inputs, tmp_path, **changed)).identity() != first


def test_a_preset_takes_the_place_of_the_spaces_base(inputs, tmp_path):
    plan = SweepPlan.make(config(inputs, tmp_path, space=None, preset="small"))
    assert (plan.space.name, plan.space.base) == ("massformer-fp", "small")
    trial = plan.trial(0, plan.space.sample(0, 0))
    assert trial.model.head_norm == "layer"  # preset small's
    assert trial.fit.patience == 12
    assert SweepPlan.make(config(inputs, tmp_path, space=None)).space.base == "paper"
