"""Sheets, inputs and outputs of commands in a bucket: what they give is what they give on a disk."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest
from bundle_samples import make_bundle, write_mgf
from fault_proxy import Drop, fault_proxy, share
from image_sets import commit
from report_pages import make_record
from s3_servers import SECRET, S3Server

from ms2img.errors import UsageError
from ms2img.io.read import read_run
from ms2img.io.sheet import Sheet
from ms2img.io.sheet_paths import located, written
from ms2img.ms2toimg.labels import LabelConfig
from pipelines import cli
from pipelines.cohort import Cohort
from pipelines.predict import PredictConfig, PredictSummary, input_frame, predict
from pipelines.report.page import build_report, write_report

QUANT = "row ID,row m/z,row retention time,{},\n1,300.1,2.5,{},\n"
MGF = "BEGIN IONS\nSCANS=1\nPEPMASS=300.1\n100.0 1\n200.0 2\nEND IONS\n"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs under every name and layout that a sheet may name."""
    folder = tmp_path / "runs"
    (folder / "deeper").mkdir(parents=True)
    for number in (1, 2, 10):
        write_mgf(folder / f"leaf_{number}.mgf", seed=number)
    write_mgf(folder / "root_1.mgf", seed=4)
    (folder / "root_2.MGF.gz").write_bytes(gzip.compress(write_mgf(tmp_path / "x.mgf", seed=5).read_bytes()))
    (folder / "pair.mgf").write_text(MGF)
    (folder / "pair_quant.csv").write_text(QUANT.format("apple.mzML Peak area", 5))
    (folder / "readme.txt").write_text("about these runs\n")
    (folder / ".hidden.mgf").write_text(MGF)
    (folder / "deeper" / "other.mgf").write_text(MGF)
    return folder


@pytest.mark.parametrize(
    ("value", "sheet", "expected"),
    [
        ("a.mgf", "s3://b/study/s.csv", "s3://b/study/a.mgf"),
        ("runs/a b.mgf", "s3://b/s.csv", "s3://b/runs/a b.mgf"),
        ("./x/../a.mgf", "s3://b/study/s.csv", "s3://b/study/a.mgf"),
        ("../study/a.mgf", "s3://b/study/s.csv", "s3://b/study/a.mgf"),
        ("a.mgf", "s3://b/odd//s.csv", "s3://b/odd/a.mgf"),
        ("s3://other/x//a.mgf", "s3://b/study/s.csv", "s3://other/x//a.mgf"),
        ("s3://other/x/a.mgf", "local/s.csv", "s3://other/x/a.mgf"),
        ("/data/./a.mgf", "s3://b/study/s.csv", "/data/a.mgf"),
    ],
)
def test_where_an_entry_of_a_sheet_lies(value: str, sheet: str, expected: str) -> None:
    assert located(value, sheet, "row 2: path", allow_outside=False) == expected


@pytest.mark.parametrize(
    ("value", "sheet", "allow_outside", "says"),
    [
        (
            "../a.mgf",
            "s3://b/study/s.csv",
            False,
            "row 2: path '../a.mgf' lies above the sheet's folder; allow it",
        ),
        ("x/../../a.mgf", "s3://b/study/s.csv", False, "lies above the sheet's folder"),
        ("../../a.mgf", "s3://b/study/s.csv", True, "lies above the bucket s3://b"),
        ("../a.mgf", "s3://b/s.csv", True, "lies above the bucket s3://b"),
        ("gs://b/a.mgf", "s3://b/s.csv", True, "expected a local path or s3://BUCKET/KEY"),
        ("https://host/a.mgf", "s.csv", True, "expected a local path or s3://BUCKET/KEY"),
        ("s3://b", "s.csv", True, "names no file; expected s3://BUCKET/KEY"),
        ("s3://b/runs/", "s.csv", True, "names no file"),
        ("s3://b/x/../a.mgf", "s3://b/x/s.csv", True, "has a step that no key has: '.' or '..'"),
    ],
)
def test_entries_that_are_refused(value: str, sheet: str, allow_outside: bool, says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        located(value, sheet, "row 2: path", allow_outside=allow_outside)
    assert says in str(refusal.value)


def test_above_the_prefix_when_allowed() -> None:
    assert located("../a.mgf", "s3://b/x/y/s.csv", "", allow_outside=True) == "s3://b/x/a.mgf"


@pytest.mark.parametrize(
    ("location", "sheet", "expected"),
    [
        ("s3://b/study/runs/a.mgf", "s3://b/study/s.csv", "runs/a.mgf"),
        ("s3://b/study2/a.mgf", "s3://b/study/s.csv", "s3://b/study2/a.mgf"),
        ("s3://other/study/a.mgf", "s3://b/study/s.csv", "s3://other/study/a.mgf"),
        ("s3://b/a.mgf", "s3://b/s.csv", "a.mgf"),
        ("s3://b/x//a.mgf", "s3://b/x/s.csv", "s3://b/x//a.mgf"),
        ("s3://b/a.mgf", "/home/s.csv", "s3://b/a.mgf"),
        ("/home/a.mgf", "s3://b/s.csv", "/home/a.mgf"),
        ("/home/lab/x/a.mgf", "/home/lab/s.csv", "x/a.mgf"),
        ("/home/other/a.mgf", "/home/lab/s.csv", "/home/other/a.mgf"),
    ],
)
def test_what_is_written_is_located_again(location: str, sheet: str, expected: str) -> None:
    assert written(location, sheet) == expected
    assert located(expected, sheet, "", allow_outside=False) == location


@pytest.mark.parametrize("name", ["s.csv", "s.tsv", "s.parquet"])
def test_a_sheet_in_a_bucket_is_the_sheet_on_the_disk(s3: S3Server, tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"sample_id": ["a", "b"], "path": ["x/a.mgf", "s3://other/b.mgf"], "dpph": [0.5, None]})
    local = tmp_path / name
    if name == "s.parquet":
        table.to_parquet(local)
    else:
        table.to_csv(local, sep="\t" if name == "s.tsv" else ",", index=False)
    there, here = Sheet.read(s3.put(f"bucket/study/{name}", local.read_bytes())), Sheet.read(local)
    pd.testing.assert_frame_equal(there.table, here.table)
    assert there.digest == here.digest
    assert there.assay("dpph").tolist()[0] == 0.5
    assert [run.path for run in there.runs] == ["s3://bucket/study/x/a.mgf", "s3://other/b.mgf"]
    assert [run.path for run in here.runs] == [f"{tmp_path}/x/a.mgf", "s3://other/b.mgf"]
    with pytest.raises(UsageError, match=f"s3://bucket/study/{name}: no column 'tpc'; did you mean 'dpph'"):
        there.assay("tpc")


def test_unreadable_sheets_in_a_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("bucket/no.parquet", b"sample_id,path\n")
    for location, says in (
        ("s3://bucket/none.csv", "s3://bucket/none.csv: cannot read the sample sheet: no such file"),
        ("s3://bucket/no.parquet", "s3://bucket/no.parquet: not a .*Parquet file"),
        ("s3://bucket/", "s3://bucket/: a sample sheet is .csv, .tsv, .txt or .parquet"),
        ("s3://no-bucket/s.csv", "s3://no-bucket: .*no such bucket.* \\[NoSuchBucket\\]"),
    ):
        with pytest.raises(UsageError, match=says):
            Sheet.read(location)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-not")
    with pytest.raises(UsageError, match="SignatureDoesNotMatch") as refusal:
        Sheet.read("s3://bucket/none.csv")
    assert SECRET not in str(refusal.value)


def test_drafting_from_a_bucket_is_drafting_from_the_folder(
    s3: S3Server, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.upload(runs, "bucket/study/runs")
    assert cli.main(["sheet", str(runs), str(tmp_path / "here.csv"), "--quiet"]) == 0
    capsys.readouterr()
    for folder, out in (
        ("s3://bucket/study/runs/", "s3://bucket/study/s.csv"),
        ("s3://bucket/study/runs", str(tmp_path / "there.csv")),
    ):
        assert cli.main(["sheet", folder, out, "--quiet"]) == 0
        assert capsys.readouterr().err.startswith("ms2img: skipped s3://bucket/study/runs/readme.txt: expected ")
        here, there = Sheet.read(tmp_path / "here.csv"), Sheet.read(out)
        assert [run.sample_id for run in there.runs] == ["leaf_1", "leaf_2", "leaf_10", "apple", "root_1", "root_2"]
        plain = ["path", "quant_path"]
        pd.testing.assert_frame_equal(there.table.drop(columns=plain), here.table.drop(columns=plain))
        for run, twin in zip(there.runs, here.runs, strict=True):
            assert run.path == f"s3://bucket/study/runs/{Path(twin.path).name}"
            assert read_run(run).table.equals(read_run(twin).table)
    assert s3.get("bucket/study/s.csv").decode().splitlines()[1].startswith("leaf_1,runs/leaf_1.mgf,")
    assert cli.main(["sheet", "s3://bucket/study/runs", "s3://bucket/study/s.csv"]) == 2
    assert "exists already, with what you may have filled in" in capsys.readouterr().err
    assert cli.main(["sheet", "s3://bucket/study/runs", "s3://bucket/study/s.csv", "--force", "--quiet"]) == 0
    assert cli.main(["sheet", "s3://bucket/none/", str(tmp_path / "none.csv")]) == 2
    assert cli.main(["sheet", str(runs), "s3://no-bucket/s.csv"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "skipped" not in line]
    assert len(lines) == 2
    assert lines[0] == "ms2img: s3://bucket/none/: no run file in this folder (folders below it are not searched)"
    assert lines[1].endswith("[NoSuchBucket]")


def test_drafting_reads_beginnings_only(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_mgf(tmp_path / "x.mgf").read_bytes()
    for number in range(12):
        s3.put(f"bucket/big/run_{number}.mgf", run * 40)  # about a megabyte each
    with fault_proxy(s3.endpoint, share(0.2, 1, Drop())) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert cli.main(["sheet", "s3://bucket/big/", str(tmp_path / "s.csv"), "--quiet"]) == 0
        asked = [request for request in proxy.requests if request.fault is None]
        assert proxy.faults
    assert len(Sheet.read(tmp_path / "s.csv").runs) == 12
    assert sum(request.method == "GET" and "/big/" in request.path for request in asked) == 12
    assert len(asked) < 2 * 12 + 6


def _predict(model: Path, *inputs: str, out: str) -> PredictSummary:
    return predict(PredictConfig(model=str(model), input=inputs, out=out), quiet=True)


def test_predictions_do_not_depend_on_where_the_runs_lie(s3: S3Server, runs: Path, tmp_path: Path) -> None:
    model = make_bundle(tmp_path / "bundle")
    s3.upload(runs, "bucket/study/runs")
    here = _predict(model, str(runs), out=str(tmp_path / "here.csv"))
    there = _predict(model, "s3://bucket/study/runs/", out="s3://bucket/out/there.csv")
    assert (there.predicted, there.failed, there.output) == (here.predicted, 0, "s3://bucket/out/there.csv")
    tables = []
    for content in ((tmp_path / "here.csv").read_text(), s3.get("bucket/out/there.csv").decode()):
        (tmp_path / "t.csv").write_text(content.replace(str(runs), "s3://bucket/study/runs"))
        tables.append((tmp_path / "t.csv").read_text())
    assert tables[0] == tables[1]
    one = _predict(
        model, "s3://bucket/study/runs/root_2.MGF.gz", "s3://bucket/none.mgf", out="s3://bucket/out/p.parquet"
    )
    assert (one.predicted, one.failed, one.errors[0]["error"]) == (1, 1, "not-found: no such file")
    s3.put("bucket/study/s.csv", b"sample_id,path\na,runs/leaf_1.mgf\n")
    assert input_frame(["s3://bucket/study/s.csv"])["path"].tolist() == ["s3://bucket/study/runs/leaf_1.mgf"]
    for inputs, out, says in (
        (("s3://bucket/study/s.csv",), "s3://bucket/study/s.csv", "is one of the inputs"),
        (("s3://bucket/study/s.csv", "s3://bucket/study/runs/leaf_1.mgf"), "p.csv", "a sheet is given alone"),
        (("s3://no-bucket/a.mgf",), str(tmp_path / "p.csv"), "NoSuchBucket"),
        ((str(runs),), "s3://no-bucket/p.csv", "NoSuchBucket"),
    ):
        with pytest.raises(UsageError, match=says):
            _predict(model, *inputs, out=out)


def test_training_data_from_a_bucket_is_that_from_the_disk(s3: S3Server, tmp_path: Path) -> None:
    samples = {f"s{number}": number for number in range(8)}
    commit(tmp_path / "images", samples, [samples])
    rows = [f"{name},{name}.mgf,{value}" for name, value in samples.items()]
    (tmp_path / "s.csv").write_text("\n".join(["sample_id,path,dpph", *rows]))
    s3.upload(tmp_path / "images", "bucket/study/images")
    s3.put("bucket/study/s.csv", (tmp_path / "s.csv").read_bytes())
    label = LabelConfig(assay="dpph")
    here = Cohort.load(str(tmp_path / "images"), str(tmp_path / "s.csv"), label)
    there = Cohort.load("s3://bucket/study/images", "s3://bucket/study/s.csv", label)
    assert there.fingerprint() == here.fingerprint()
    assert there.sheet.digest == here.sheet.digest
    assert there.labels.fingerprint() == here.labels.fingerprint()
    assert (there.images == here.images).all()
    assert there.images.any()
    with pytest.raises(UsageError, match="s3://bucket/study"):
        Cohort.load("s3://bucket/study", "s3://bucket/study/s.csv", label)


def test_a_report_in_a_bucket(s3: S3Server) -> None:
    record = make_record()
    assert write_report(record, "s3://bucket/reports/r.html") == "s3://bucket/reports/r.html"
    assert s3.get("bucket/reports/r.html").decode() == build_report(record)
    assert s3.keys("bucket") == ["reports/r.html"]
