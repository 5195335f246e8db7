"""Tables that are aligned already are taken as they are; what cannot become a table is refused before any work."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mgf_files import group, spectrum

from ms2img.errors import UsageError
from ms2img.io.dataset.features import load_features
from ms2img.io.dataset.lease import LEASE_NAME
from ms2img.io.dataset.manifest import MANIFEST_NAME
from ms2img.io.formats.msdial_alignment import read_alignment_runs
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.onto import match_onto
from pipelines import cli
from pipelines.feature_table.reading import read_task
from pipelines.features import FeaturesConfig, features


def test_a_real_mzmine_table_is_taken_as_pandas_reads_it(shared, tmp_path):
    folder = shared / "data/qemistree/fbmn"
    sheet = pd.read_csv(folder / "samples.csv")
    sheet = sheet[sheet["kind"].fillna("sample") == "sample"].sort_values("sample_id")
    assert (
        features(FeaturesConfig(samples=str(folder / "samples.csv"), out=str(tmp_path / "out")), quiet=True).failed == 0
    )
    table = load_features(tmp_path / "out")

    quant = pd.read_csv(folder / sheet["quant_path"].iloc[0])
    quant = quant.sort_values(["row m/z", "row retention time"], kind="stable")
    assert table.about["similarity"] == "aligned"
    assert table.sample_ids == tuple(sheet["sample_id"])
    np.testing.assert_array_equal(table.precursor_mz, quant["row m/z"])
    np.testing.assert_allclose(table.rt_seconds, quant["row retention time"] * 60)
    assert sorted(table.feature_ids) == sorted(quant["row ID"].astype(str))
    by_id = quant.set_index(quant["row ID"].astype(str)).loc[list(table.feature_ids)]
    np.testing.assert_array_equal(table.heights, by_id[list(sheet["column"])].fillna(0).to_numpy().T)
    n_without = sum(not mz for mz in table.spectra["mz"].to_pylist())
    assert table.about["counts"]["without_msms_kept"] == n_without


@pytest.mark.parametrize("name", ["msdial4_alignment_72_runs.txt", "msdial5_alignment_69_samples.txt"])
def test_a_real_ms_dial_alignment_is_taken_as_pandas_reads_it(shared, tmp_path, name):
    path = shared / "data/msdial" / name
    columns = [run.column for run in read_alignment_runs(str(path))][::4]
    ids = [f"S{number:02}" for number in range(len(columns))]
    sheet = tmp_path / "samples.csv"
    pd.DataFrame({"sample_id": ids, "path": str(path), "column": columns}).to_csv(sheet, index=False)
    config = FeaturesConfig(samples=str(sheet), out=str(tmp_path / "out"))
    assert features(config, quiet=True).read == len(columns)
    table = load_features(tmp_path / "out")

    frame = pd.read_csv(path, sep="\t", skiprows=4, na_values=["null"])
    frame = frame.set_index(frame["Alignment ID"].astype(str)).loc[list(table.feature_ids)]
    assert len(frame) == len(table.feature_ids) == len(pd.read_csv(path, sep="\t", skiprows=4))
    assert (np.diff(table.precursor_mz) >= 0).all()
    np.testing.assert_array_equal(table.precursor_mz, frame["Average Mz"])
    np.testing.assert_allclose(table.rt_seconds, frame["Average Rt(min)"] * 60)
    np.testing.assert_array_equal(table.heights, frame[columns].fillna(0).to_numpy().T)
    cells = frame["MS/MS spectrum"].fillna("")
    assert [len(mz) for mz in table.spectra["mz"].to_pylist()] == [len(cell.split()) for cell in cells]
    assert features(config, quiet=True).read == 0


def test_samples_that_another_job_staged_do_not_move_the_columns_of_an_aligned_table(shared, tmp_path):
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    columns = [run.column for run in read_alignment_runs(str(path))][:3]
    sheet = tmp_path / "samples.csv"
    pd.DataFrame({"sample_id": list("abc"), "path": str(path), "column": columns}).to_csv(sheet, index=False)
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    (staged,) = [run for run in Sheet.read(sheet).runs if run.sample_id == "b"]
    out.mkdir()
    assert read_task([group(staged)], str(out), FeatureOptions()).staged  # what a job --onto leaves that is killed
    for folder in (out, undisturbed):
        assert features(FeaturesConfig(samples=str(sheet), out=str(folder)), quiet=True).read == 3
    assert (out / "features.parquet").read_bytes() == (undisturbed / "features.parquet").read_bytes()
    assert len(np.unique(load_features(out).heights, axis=0)) == 3  # columns that can be told apart


def test_what_another_job_commits_before_the_lease_is_ours_is_refused(shared, tmp_path):
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    columns = [run.column for run in read_alignment_runs(str(path))][:2]
    sheet = tmp_path / "samples.csv"
    frame = pd.DataFrame({"sample_id": list("ab"), "path": str(path), "column": columns, "kind": ["sample", "qc"]})
    frame.to_csv(sheet, index=False)
    other, out = tmp_path / "other", tmp_path / "out"
    features(FeaturesConfig(samples=str(sheet), out=str(other), kinds="qc"), quiet=True)
    out.mkdir()
    (out / LEASE_NAME).write_text("of a job that is dead")

    def commit(notice: str) -> None:  # told when the lease is taken over
        for name in ("features.parquet", MANIFEST_NAME):
            shutil.copy(other / name, out / name)

    with pytest.raises(UsageError, match="made with kinds=qc, now asked for kinds=sample"):
        features(FeaturesConfig(samples=str(sheet), out=str(out)), quiet=True, notice=commit)
    assert load_features(out).sample_ids == ("b",)


def test_of_an_aligned_table_a_bad_column_costs_its_own_run(shared, tmp_path):
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    column = read_alignment_runs(str(path))[0].column
    sheet = tmp_path / "samples.csv"
    pd.DataFrame({"sample_id": ["a", "b"], "path": str(path), "column": [column, "no such run"]}).to_csv(
        sheet, index=False
    )
    assert features(FeaturesConfig(samples=str(sheet), out=str(tmp_path / "out")), quiet=True).failed == 1
    assert load_features(tmp_path / "out").sample_ids == ("a",)
    assert pq.read_table(tmp_path / "out/errors.parquet")["code"].to_pylist() == ["no-column"]


def test_where_every_column_is_bad_the_table_is_empty_and_says_so(shared, tmp_path):
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    sheet, out = tmp_path / "samples.csv", tmp_path / "out"
    for names in (["x", "y"], ["x"]):  # then a row less: nothing is left to read
        pd.DataFrame({"sample_id": names, "path": str(path), "column": names}).to_csv(sheet, index=False)
        assert features(FeaturesConfig(samples=str(sheet), out=str(out)), quiet=True).failed == len(names)
        with pytest.raises(UsageError, match=f"the feature table is empty \\({len(names)} runs failed"):
            load_features(out)


@pytest.fixture
def sheet(tmp_path) -> Path:
    (tmp_path / "one.mgf").write_text(spectrum(300.0, [(120.5, 3.0), (290.0, 9.0)]))
    path = tmp_path / "samples.csv"
    path.write_text("sample_id,path,kind\none,one.mgf,sample\n")
    return path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["features", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kinds", "qc"], "no row of kind qc"),
        (["--kinds", "sample,pool"], "expected one or more of sample, blank, qc"),
        (["--sigma-mz", "0"], "expected a number of Da above 0 like 0.01, or 'paper'"),
        (["--sigma-mz", "papier"], "or 'paper'; got 'papier'"),
        (["--sigma-rt", "0"], "sigma_rt"),
        (["--max-failures", "101%"], "expected a number of runs"),
        (
            ["--onto", "nowhere"],
            "nowhere: no manifest.json here; expected the OUT folder of a finished 'ms2img features'",
        ),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_is_written(sheet, tmp_path, capsys, options, message):
    assert message in refused([str(sheet), str(tmp_path / "out"), *options], capsys)
    assert not (tmp_path / "out").exists()


def test_what_a_folder_must_not_be(sheet, tmp_path, capsys):
    assert "is a file; OUT must be a folder" in refused([str(sheet), str(sheet)], capsys)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.docx").write_text("years of work")
    assert "it has thesis.docx" in refused([str(sheet), str(tmp_path / "full")], capsys)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/manifest.json").write_text('{"manifest_version": 2}')
    assert "not a manifest of 'ms2img features'" in refused([str(sheet), str(tmp_path / "images")], capsys)


def test_a_run_called_like_a_column_is_refused(tmp_path, sheet, capsys):
    sheet.write_text("sample_id,path\nintensity,one.mgf\n")
    assert "'intensity' is the name of another column" in refused([str(sheet), str(tmp_path / "out")], capsys)


def test_another_config_on_the_same_output_and_a_touched_table_are_refused(shared, tmp_path, capsys):
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    rows = tmp_path / "samples.csv"
    columns = [run.column for run in read_alignment_runs(str(path))][:3]
    frame = pd.DataFrame(
        {"sample_id": list("abc"), "path": str(path), "column": columns, "kind": ["sample", "sample", "qc"]}
    )
    frame.to_csv(rows, index=False)
    out = tmp_path / "out"
    assert cli.main(["features", str(rows), str(out), "--quiet"]) == 0
    assert "made with kinds=sample, now asked for kinds=qc,sample" in refused(
        [str(rows), str(out), "--kinds", "qc,sample"], capsys
    )
    table = load_features(out)
    with pytest.raises(UsageError, match="does not say how its features are compared"):
        match_onto(table, None, path="x")

    content = (out / "features.parquet").read_bytes()
    (out / "features.parquet").write_bytes(content[:-1])
    with pytest.raises(UsageError, match="is not the committed one"):
        load_features(out)
    (out / "features.parquet").unlink()
    with pytest.raises(UsageError, match="is gone"):
        load_features(out)
    assert cli.main(["features", str(rows), str(out), "--quiet"]) == 0  # as the message says
    assert (out / "features.parquet").read_bytes() == content
