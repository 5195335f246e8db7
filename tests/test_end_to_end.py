"""The whole job as a user types it, in miniature: simulate, convert, train, report, predict, models."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ms2img.errors import UsageError
from pipelines import cli

pytestmark = pytest.mark.usefixtures("ray_session")

SIZE = "30x28"
QUICK = ("--preset", "small", "--epochs", "3", "--folds", "2", "--precision", "float32")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, ray_session) -> Path:
    """A folder with a simulated study and its images, and the working folder of the tests."""
    folder = tmp_path_factory.mktemp("workplace")
    assert cli.main(["simulate", str(folder / "study"), "--accessions", "24", "--replicates", "2", "--quiet"]) == 0
    arguments = ["convert", str(folder / "study" / "samples.csv"), str(folder / "images"), "--size", SIZE, "--quiet"]
    assert cli.main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def trained(workplace) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return cli.invoke(
            ["train", "images", "--samples", "study/samples.csv", "--assay", "dpph", *QUICK, "--quiet"]
        ).values


@pytest.fixture
def inside(workplace, trained, monkeypatch) -> Path:
    monkeypatch.chdir(workplace)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return workplace


def test_training_registers_a_model_marked_simulated(inside, trained):
    assert trained["model"] == "models:/ms2img-sim-dpph/1"
    assert trained["champion"]
    assert 0 <= trained["auc_mean"] <= 1
    sheet = pd.read_csv("study/samples.csv").query("kind == 'sample'")
    scaled = (sheet["dpph"] - sheet["dpph"].min()) / (sheet["dpph"].max() - sheet["dpph"].min())
    expected = {
        "active": (scaled > 0.6).sum(),
        "inactive": (scaled < 0.4).sum(),
        "between": scaled.between(0.4, 0.6).sum(),
    }
    assert {name: trained["counts"][f"{name}_runs"] for name in expected} == expected
    listed = cli.invoke(["models", "--quiet"]).values["models"]
    assert [(row["name"], row["version"], row["aliases"]) for row in listed] == [("ms2img-sim-dpph", "1", ["champion"])]
    assert listed[0]["auc_mean"] == pytest.approx(trained["auc_mean"])


@pytest.mark.slow  # two more trainings; test_folds.py compares one to the last bit
def test_the_same_seed_gives_the_same_metrics_and_another_does_not(inside, trained):
    arguments = ["train", "images", "--samples", "study/samples.csv", "--assay", "dpph", *QUICK, "--quiet"]
    again = cli.invoke(arguments).values
    measured = {key for key in trained if key.endswith(("_mean", "_sd"))}
    assert {key: again[key] for key in measured} == {key: trained[key] for key in measured}
    assert again["model"] == "models:/ms2img-sim-dpph/2"
    assert again["champion"]  # same samples, labels and folds, and no worse
    other = cli.invoke([*arguments, "--seed", "7"]).values
    assert any(other[key] != trained[key] for key in measured)
    assert not other["champion"]  # other folds: a person decides


def test_the_report_says_what_was_measured(inside, trained):
    assert cli.main(["report", trained["run_id"], "--out", "page.html", "--quiet"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page.upper()
    assert f"{trained['auc_mean']:.2f}" in page
    assert "models:/ms2img-sim-dpph" in page


def test_prediction_of_unseen_files_names_the_bad_one(inside, trained, capsys, monkeypatch):
    sheet = pd.read_csv("study/samples.csv").set_index("sample_id")
    unseen = [f"study/{sheet.loc[sample, 'path']}" for sample in trained["unused_sample_ids"][:3]]
    Path("broken.mgf").write_text("BEGIN IONS\nPEPMASS=300\n")
    command = ["predict", str(trained["model"]), *unseen, "broken.mgf", "absent.mgf", "--out", "answer.csv", "--json"]
    assert cli.main(command) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["predicted"] == len(unseen)
    assert json.loads(out)["failed"] == 2
    assert "broken.mgf" in err
    answer = pd.read_csv("answer.csv", keep_default_na=False)
    assert [text.split(":")[0] for text in answer["error"]] == [""] * len(unseen) + ["truncated", "not-found"]
    assert set(answer["label"][: len(unseen)]) <= {"active", "inactive"}

    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{inside}/.ms2img/mlflow.db")
    model = mlflow.pyfunc.load_model(trained["model"])
    direct = model.predict(pd.DataFrame({"path": [*unseen, "broken.mgf", "absent.mgf"]}))
    assert direct["probability"][: len(unseen)].tolist() == [
        float(each) for each in answer["probability"][: len(unseen)]
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--assay", "dpp"], "dpp.*did you mean 'dpph'"),
        (["--assay", "dpph", "--low", "0.7"], "low 0.7 exceeds high 0.6"),
        (["--assay", "dpph", "--folds", "20"], "assay 'dpph': .*fold"),
        (["--assay", "batch"], "batch"),
    ],
)
def test_wrong_training_is_refused_before_anything_starts(inside, options, message):
    before = len(cli.invoke(["models", "--quiet"]).values["models"])
    with pytest.raises(UsageError, match=message) as refusal:
        cli.invoke(["train", "images", "--samples", "study/samples.csv", *options, *QUICK[:4], "--quiet"])
    assert "\n" not in str(refusal.value)
    assert len(cli.invoke(["models", "--quiet"]).values["models"]) == before
