"""``ms2img explain`` from a registered model to table and picture, and every refusal in one line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from bundle_samples import make_bundle, write_mgf
from matplotlib.image import imread
from record_samples import make_record

from ms2img.errors import UsageError
from ms2img.io.sheet import Run
from ms2img.ms2toimg.bundle import bundle_version
from ms2img.ms2toimg.explain.explanation import Explanation, explain_run
from ms2img.tracking.registry import register
from ms2img.tracking.runs import track_cross_validation
from ms2img.tracking.store import open_store
from pipelines.cli import main
from pipelines.explain import ExplainConfig, ExplainSummary, explain
from pipelines.predict import PredictConfig, predict


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle", seed=1)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in (1, 2, 3):
        write_mgf(folder / f"run{number}.mgf", seed=number)
    sheet = pd.DataFrame({"sample_id": ["a/../b", "c", "gone"], "path": ["run1.mgf", "run2.mgf", "no.mgf"]})
    sheet.to_csv(folder / "samples.csv", index=False)
    return folder


def _explain(*given: object, **options: object) -> ExplainSummary:
    model, *inputs = map(str, given)
    return explain(ExplainConfig.checked({"model": model, "input": inputs, **options}, source="test"), quiet=True)


def test_from_a_registered_model_to_table_and_picture(
    bundle: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with track_cross_validation(open_store(), name="x", config={}, tags={}) as tracked:
        tracked.log_record(make_record())
        register(open_store(), bundle, run_id=tracked.run_id)
    out, model = tmp_path / "why", "models:/ms2img-dpph@champion"
    capsys.readouterr()
    command = ["explain", model, str(runs / "run1.mgf"), "--out", str(out), "--top", "12", "--json"]
    assert main(command) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out.splitlines()[-1])
    predict(PredictConfig(model=model, input=(str(runs / "run1.mgf"),), out=str(tmp_path / "p.csv")), quiet=True)
    [scored] = pd.read_csv(tmp_path / "p.csv").to_dict("records")
    assert told["runs"][0]["probability"] == scored["probability"]
    assert told["model_version"] == bundle_version(bundle)
    assert told["simulated"] is False

    top = pd.read_csv(out / "top.csv")
    pairs = pq.read_table(out / "pairs.parquet").to_pandas()
    [row] = pd.read_csv(out / "runs.csv").to_dict("records")
    assert len(top) == 12
    assert pairs["adduct"].isna().all()
    pd.testing.assert_frame_equal(top.drop(columns="adduct"), pairs.head(12).drop(columns="adduct"), check_dtype=False)
    assert np.abs(pairs["share"]).sum() == pytest.approx(1)
    assert pairs["attribution"].sum() + row["rest"] == pytest.approx(row["logit"] - row["black_logit"], abs=1e-9)
    assert row["n_pairs"] == len(pairs)
    towards = 1 if row["label"] == "active" else -1
    assert (row["probability_without_top"] - row["probability"]) * towards < 0
    text = (runs / "run1.mgf").read_text()  # the run's own spectra
    for pair in top.to_dict("records"):
        block = text.split(f"TITLE={pair['spectrum_id']}\n")[1].split("END IONS")[0]
        assert f"PEPMASS={pair['precursor_mz']:.4f} {pair['precursor_intensity']:.1f}" in block
        assert f"\n{pair['fragment_mz']:.4f} " in block
    assert f"run1: {row['label']} in dpph with probability {row['probability']:.3f} (threshold 0.5)" in shown.err
    assert shown.err.count("%") == 10
    assert f"{top['fragment_mz'][9]:.4f}" in shown.err
    assert f"{top['fragment_mz'][10]:.4f} " not in shown.err

    pixels = imread(io.BytesIO((out / row["picture"]).read_bytes()))[..., :3]
    assert min(pixels.shape[:2]) > 600
    red, blue = pixels[..., 0] - pixels[..., 2] > 0.3, pixels[..., 2] - pixels[..., 0] > 0.3
    assert min(red.sum(), blue.sum()) > 100  # for and against


def test_samples_of_a_sheet_in_its_order_and_a_bad_run_beside_them(
    bundle: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = make_bundle(tmp_path / "sim", simulated=True)
    out = tmp_path / "why"
    command = ["explain", str(simulated), str(runs / "samples.csv"), "--out", str(out)]
    assert main([*command, "--quiet"]) == 3
    assert "no.mgf: not-found: no such file" in capsys.readouterr().err
    rows = pd.read_csv(out / "runs.csv", dtype=str).to_dict("records")
    assert [row["sample_id"] for row in rows] == ["a/../b", "c", "gone"]
    assert [row["simulated"] for row in rows] == ["True"] * 3
    assert rows[2]["error"].startswith("not-found")
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert pictures == ["001-a_.._b.png", "002-c.png"] == [row["picture"] for row in rows[:2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "sim", "why"]
    assert pd.read_csv(out / "top.csv")["sample_id"].tolist() == ["a/../b"] * 20 + ["c"] * 20

    assert main([*command, "--sample", "c", "--method", "occlusion"]) == 0
    assert "SIMULATED" in capsys.readouterr().out
    assert pd.read_csv(out / "runs.csv")["sample_id"].tolist() == ["c"]


def test_a_defect_costs_one_run_and_the_others_are_written(
    bundle: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defective(run: Run, *given: object, **options: object) -> Explanation:
        if run.sample_id == "run2":
            raise ZeroDivisionError("of all things\nand more")
        return explain_run(run, *given, **options)

    monkeypatch.setattr("ms2img.ms2toimg.explain.explanation.explain_run", defective)
    files = [str(runs / f"run{number}.mgf") for number in (1, 2, 3)]
    assert main(["explain", str(bundle), *files, "--out", str(tmp_path / "why"), "--top", "3", "--quiet"]) == 3
    assert "run2.mgf: internal: ZeroDivisionError: of all things" in capsys.readouterr().err
    rows = pd.read_csv(tmp_path / "why" / "runs.csv").set_index("sample_id")
    assert rows["error"].fillna("").tolist() == ["", "internal: ZeroDivisionError: of all things", ""]
    assert pd.read_csv(tmp_path / "why" / "top.csv")["sample_id"].tolist() == ["run1"] * 3 + ["run3"] * 3
    pairs = pq.ParquetFile(tmp_path / "why" / "pairs.parquet")
    assert pairs.num_row_groups == 2
    found = pairs.read().to_pandas().groupby("sample_id")["attribution"].agg(["size", "sum"])
    np.testing.assert_allclose(found["size"], rows.loc[["run1", "run3"], "n_pairs"])
    np.testing.assert_allclose(found["sum"], rows.loc[["run1", "run3"], "explained"], rtol=1e-9)
    assert not list((tmp_path / "why").glob("*run2*"))


def test_an_incomplete_attribution_is_named(
    bundle: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["explain", str(bundle), str(runs / "run1.mgf"), "--out", str(tmp_path / "why"), "--json"]
    for method, complete in (("integrated-gradients", True), ("occlusion", False)):
        assert main([*command, "--method", method]) == 0
        shown = capsys.readouterr()
        [row] = pd.read_csv(tmp_path / "why" / "runs.csv").to_dict("records")
        allowed = max(0.01 * abs(row["logit"] - row["black_logit"]), 1e-3)
        assert row["complete"] == complete == (abs(row["rest"]) <= allowed)
        assert json.loads(shown.out.splitlines()[-1])["runs"][0]["complete"] == complete
        assert ("1 explained incompletely, the pairs do not add up to the score: run1" in shown.err) != complete


def test_an_aligned_table_is_explained_by_its_column(shared: Path, bundle: Path, tmp_path: Path) -> None:
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    with pytest.raises(UsageError, match="it has 69, such as"):
        _explain(bundle, path, sample=("nobody",), out=str(tmp_path / "why"))
    assert not (tmp_path / "why").exists()
    name = "S_neg_Vd_3"
    summary = _explain(bundle, path, sample=(name,), out=str(tmp_path / "why"))
    assert [each.row["sample_id"] for each in summary.runs] == [name]
    assert summary.runs[0].top is not None
    assert summary.runs[0].top["rt_seconds"].notna().all()


def test_refusals_come_before_any_work(
    bundle: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "manifest.json").write_text("{}")
    cases = [
        ((bundle, runs / "samples.csv"), {"sample": ("d",)}, "--sample d: no such run in the input; it has 3"),
        ((bundle, runs / "samples.csv", runs / "run1.mgf"), {}, "a sheet is given alone"),
        ((runs, runs / "run1.mgf"), {}, "without a model bundle"),
        ((bundle, runs / "run1.mgf"), {"out": str(runs / "run1.mgf")}, "is a file; --out must be a folder"),
        ((bundle, runs / "run1.mgf"), {"out": str(images)}, "is an image data set"),
        ((bundle, runs / "run1.mgf"), {"top": 0}, "top: Input should be greater"),
        ((bundle, runs / "run1.mgf"), {"method": "lime"}, "method: "),
    ]
    for given, options, message in cases:
        with pytest.raises(UsageError, match=message) as refusal:
            _explain(*given, **{"out": str(tmp_path / "why"), **options})
        assert "\n" not in str(refusal.value)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UsageError, match="captum is not installed"):
        _explain(bundle, runs / "run1.mgf", out=str(tmp_path / "why"))
    assert not (tmp_path / "why").exists()
