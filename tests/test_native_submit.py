"""The verbs of a user of the cluster, submitted from a folder outside the repository: the demo, and step by step."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversions import running
from native_jobs import job_environment, store

from cluster.native import Stack, native_cluster
from cluster.native.s3 import LAB_BUCKET

pytestmark = [pytest.mark.cluster, pytest.mark.ray]
LAB = f"s3://{LAB_BUCKET}"
SPACE = """
base: small
parameters:
  conv_layers: {choice: [1]}
  filters: {choice: [2, 4]}
  units: {choice: [4, 8]}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with native_cluster(tmp_path_factory.mktemp("cluster")) as up:
        yield up


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are typed in; only the search space lies there."""
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(stack: Stack, *words: str) -> str:
    """``ms2img submit -- WORDS``, which must succeed: what it said."""
    variables = job_environment(stack)
    del variables["RAY_ADDRESS"]  # a laptop knows the job server alone
    with running(["submit", "--", *words], variables) as process:
        out, err = process.communicate(timeout=900)
    assert process.returncode == 0, (out[-3000:], err[-3000:])
    return out


def last_line(said: str) -> dict[str, Any]:
    """The ``--json`` line of the job, which its log ends with."""
    found: dict[str, Any] = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("{")))
    return found


def predictions(stack: Stack, key: str) -> list[dict[str, str]]:
    text = store(stack).get(f"{LAB_BUCKET}/{key}").decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_demo_is_submitted(stack: Stack, elsewhere: Path) -> None:
    told = last_line(submit(stack, "demo", f"--out={LAB}/demo", "--json"))
    assert told["report"] == f"{LAB}/demo/report.html"
    assert told["model"].startswith("models:/ms2img-sim-dpph/")
    assert b"SIMULATED" in store(stack).get(f"{LAB_BUCKET}/demo/report.html")
    scored = predictions(stack, "demo/predictions.csv")
    assert len(scored) == 5
    assert not any(row["error"] for row in scored)
    assert all(0 < float(row["probability"]) < 1 for row in scored)
    assert [path.name for path in elsewhere.iterdir()] == ["space.yaml"]  # nothing was written here


def test_simulate_convert_train_sweep_and_predict_are_submitted(stack: Stack, elsewhere: Path) -> None:
    study, images, samples = f"{LAB}/study", f"{LAB}/images", f"{LAB}/study/samples.csv"
    submit(stack, "simulate", study, "--accessions=16", "--replicates=2")
    assert "unchanged" in submit(stack, "simulate", study, "--accessions=16", "--replicates=2")
    converted = last_line(submit(stack, "convert", samples, images, "--size=30x28", "--json"))
    assert converted["failed"] == 0
    learn = [images, f"--samples={samples}", "--assay=dpph", "--folds=2", "--epochs=4", "--json"]
    trained = last_line(submit(stack, "train", *learn))
    swept = last_line(submit(stack, "sweep", *learn, f"--out={LAB}/sweep", "--space=space.yaml", "--trials=3"))
    models = [trained["model"], swept["model"]]
    assert len(set(models)) == 2
    assert all(model.startswith("models:/ms2img-sim-dpph/") for model in models)
    for number, model in enumerate(models):
        submit(stack, "predict", model, samples, f"--out={LAB}/scored-{number}.csv", "--distributed")
        scored = predictions(stack, f"scored-{number}.csv")
        assert len(scored) == converted["converted"]
        assert {row["error"] for row in scored} == {""}
        assert {row["model_version"] for row in scored} != {""}
