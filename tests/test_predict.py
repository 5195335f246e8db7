"""``ms2img predict`` as a job: inputs to rows, rows to a table, and the table the pyfunc would give."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pandas as pd
import pytest
from bundle_samples import make_bundle, write_mgf
from record_samples import make_record

from ms2img.errors import UsageError
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.bundle import bundle_version
from ms2img.tracking.registry import register
from ms2img.tracking.runs import track_cross_validation
from ms2img.tracking.store import open_store
from pipelines.models import ModelsConfig, load_record, models
from pipelines.predict import PredictConfig, PredictSummary, input_frame, predict, write_answer


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in (1, 2, 10):
        write_mgf(folder / f"run{number}.mgf", seed=number)
    (folder / "readme.txt").write_text("about these runs\n")
    return folder


def _predict(model: Path | str, *inputs: Path | str, out: Path) -> PredictSummary:
    return predict(PredictConfig(model=str(model), input=tuple(map(str, inputs)), out=str(out)), quiet=True)


def test_files_are_scored_and_bad_ones_are_rows(bundle: Path, runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "p.csv"
    inputs = [runs / "run10.mgf", runs / "readme.txt", tmp_path / "absent.mgf", runs / "run1.mgf"]
    summary = _predict(bundle, *inputs, out=out)
    table = pd.read_csv(out, keep_default_na=False, na_values={"probability": [""]})
    assert table.columns.tolist() == [
        "sample_id",
        "path",
        "probability",
        "label",
        "threshold",
        "model_version",
        "error",
    ]
    assert table["sample_id"].tolist() == ["run10", "readme", "absent", "run1"]
    assert table["path"].tolist() == [str(path) for path in inputs]
    assert table["error"].str.partition(":")[0].tolist() == ["", "unknown-format", "not-found", ""]
    assert table["probability"].isna().tolist() == [False, True, True, False]
    assert summary == PredictSummary(
        predicted=2,
        failed=2,
        active=int((table["label"] == "active").sum()),
        output=str(out),
        model=str(bundle),
        model_version=bundle_version(bundle),
        allowed=0,
        errors=table.loc[table["error"] != "", ["sample_id", "path", "error"]].to_dict("records"),
    )


def test_a_sheet_a_folder_and_its_files_give_the_same_probabilities(bundle: Path, runs: Path, tmp_path: Path) -> None:
    sheet = runs / "samples.csv"
    pd.DataFrame({"sample_id": ["b", "a"], "path": ["run10.mgf", "run2.mgf"], "kind": ["qc", "sample"]}).to_csv(
        sheet, index=False
    )
    _predict(bundle, sheet, out=tmp_path / "sheet.csv")
    _predict(bundle, runs, out=tmp_path / "folder.parquet")
    by_sheet = pd.read_csv(tmp_path / "sheet.csv").set_index("sample_id")["probability"]
    by_folder = pd.read_parquet(tmp_path / "folder.parquet").set_index("sample_id")["probability"]
    assert by_sheet.index.tolist() == ["b", "a"]
    assert by_folder.index.tolist() == ["run1", "run2", "run10"]
    assert by_sheet["b"] == by_folder["run10"]
    assert by_sheet["a"] == by_folder["run2"]
    assert by_folder.nunique() == 3


def test_an_aligned_file_gives_a_row_a_run(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    frame = input_frame([str(path)])
    header = next(line for line in path.read_text().splitlines() if line.startswith("Alignment ID"))
    assert len(frame) == 69
    assert frame["sample_id"].tolist() == [cell for cell in header.split("\t") if cell in set(frame["column"])][:69]
    as_table = tmp_path / "export.tsv"  # a sheet by its name, an alignment by its content
    as_table.write_bytes(path.read_bytes())
    assert input_frame([str(as_table)])["column"].tolist() == frame["column"].tolist()


def test_a_feature_table_with_its_mgf_gives_a_row_a_run(shared: Path, bundle: Path, tmp_path: Path) -> None:
    folder = shared / "data/emi"
    run = Sheet.read(folder / "samples.csv").runs[0]
    summary = _predict(bundle, run.path, str(run.quant_path), out=tmp_path / "pair.csv")
    assert (summary.predicted, summary.failed) == (1, 0)
    _predict(bundle, folder / "samples.csv", out=tmp_path / "all.csv")
    by_sheet = pd.read_csv(tmp_path / "all.csv").set_index("sample_id")["probability"]
    assert pd.read_csv(tmp_path / "pair.csv")["probability"].tolist() == [by_sheet[run.sample_id]]
    assert len(by_sheet) == len(Sheet.read(folder / "samples.csv").runs)


def test_wrong_arguments_are_refused_before_any_work(bundle: Path, runs: Path, tmp_path: Path) -> None:
    run, out = runs / "run1.mgf", tmp_path / "p.csv"
    before = run.read_bytes()
    pd.DataFrame({"sample_id": ["a"], "path": ["run1.mgf"]}).to_csv(runs / "sheet.csv", index=False)
    (runs / "bad.csv").write_text("name,file\na,run1.mgf\n")
    cases = [
        ((bundle, runs / "sheet.csv", run), out, "a sheet is given alone"),
        ((bundle, runs / "bad.csv"), out, "no column 'sample_id'"),
        ((bundle, runs / "no.csv"), out, "no.csv"),
        ((bundle, runs / "sheet.csv"), runs / "sheet.csv", "is one of the inputs"),
        ((bundle, run), tmp_path / "runs", "ends in"),
        ((tmp_path / "runs", run), out, "without a model bundle"),
        ((bundle, bundle), out, "no run file in this folder"),
    ]
    (tmp_path / "folder.csv").mkdir()
    cases.append(((bundle, run), tmp_path / "folder.csv", "is a folder"))
    for (model, *inputs), target, message in cases:
        with pytest.raises(UsageError, match=message) as refusal:
            given = {"model": str(model), "input": [str(each) for each in inputs], "out": str(target)}
            predict(PredictConfig.checked(given, source="command line"), quiet=True)
        assert "\n" not in str(refusal.value)
    assert not out.exists()
    assert run.read_bytes() == before
    linked = tmp_path / "linked.csv"
    linked.symlink_to(run)
    with pytest.raises(UsageError, match="is one of the inputs"):
        _predict(bundle, run, out=linked)


def test_an_old_table_stays_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    write_answer(pd.DataFrame({"probability": [0.5]}), str(out))
    with pytest.raises(Exception, match="(?i)convert|expected|type"):
        write_answer(pd.DataFrame({"probability": [object()]}), str(out))
    assert pd.read_parquet(out)["probability"].tolist() == [0.5]
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_from_training_to_a_table_the_pyfunc_agrees_with_exactly(
    bundle: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert models(ModelsConfig()) == []
    with pytest.raises(UsageError, match="no store there yet; run this in the folder where"):
        _predict("models:/ms2img-dpph@champion", runs / "run1.mgf", out=tmp_path / "p.csv")
    assert not (tmp_path / "mlflow.db").exists()
    store, record = open_store(), make_record()
    assert models(ModelsConfig()) == []
    with pytest.raises(UsageError, match="no model of ms2img is registered"):
        _predict("models:/ms2img-dpph@champion", runs / "run1.mgf", out=tmp_path / "p.csv")
    with track_cross_validation(store, name="x", config={}, tags={}) as run:
        run.log_record(record)
        registration = register(store, bundle, run_id=run.run_id)

    inputs = [runs / "run1.mgf", runs / "run2.mgf", tmp_path / "absent.mgf"]
    summary = _predict("models:/ms2img-dpph@champion", *inputs, out=tmp_path / "p.csv")
    assert summary.model == "models:/ms2img-dpph/1" == registration.uri
    by_pyfunc = mlflow.pyfunc.load_model("models:/ms2img-dpph@champion").predict(
        pd.DataFrame({"path": [str(path) for path in inputs]})
    )
    by_command = pd.read_csv(tmp_path / "p.csv", keep_default_na=False, na_values={"probability": [""]})
    pd.testing.assert_frame_equal(by_command, by_pyfunc, check_exact=True)

    [row] = models(ModelsConfig(name="dpph"))
    assert row["bundle"] == summary.model_version
    for reference in (run.run_id, "models:/ms2img-dpph@champion", "models:/ms2img-dpph/1"):
        found = load_record(reference)
        pd.testing.assert_frame_equal(found.record.predictions, record.predictions)
        assert (found.run_id, found.model) == (run.run_id, row)
    with pytest.raises(UsageError, match="no record of a cross-validation"):
        load_record(str(bundle))
