"""The sample sheet: every way it is read, and every line a user may see when it is wrong."""

from __future__ import annotations

import csv
import math
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ms2img.errors import UsageError
from ms2img.io.sheet import RESERVED, Run, Sheet


def write(folder: Path, text: str, name: str = "samples.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_all_columns_of_a_full_sheet(tmp_path: Path) -> None:
    sheet = Sheet.read(
        write(
            tmp_path,
            "sample_id,path,quant_path,column,format,kind,accession,replicate,batch,dpph,site\n"
            "a,runs/a.mgf,q/t.csv,a.mzML Peak area,mgf,sample,plant 1,1,b1,0.5,north\n"
            "b,/abs/b.mgf,,,,QC,,,,,\n",
        )
    )
    assert sheet.runs == (
        Run(
            sample_id="a",
            path=f"{tmp_path}/runs/a.mgf",
            quant_path=f"{tmp_path}/q/t.csv",
            column="a.mzML Peak area",
            format="mgf",
            kind="sample",
            accession="plant 1",
            replicate="1",
            batch="b1",
        ),
        Run("b", "/abs/b.mgf", None, None, None, "qc", "b", None, None),
    )
    assert list(sheet.table.columns) == [*RESERVED, "dpph", "site"]
    assert sheet.table["site"].isna().tolist() == [False, True]
    np.testing.assert_array_equal(sheet.assay("dpph"), [0.5, math.nan])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.csv", "sample_id,path,y\na,x.mgf,1\nb,z.mgf,\n"),
        ("s.csv", "\ufeffsample_id,path,y\r\na,x.mgf,1\r\nb,z.mgf,\r\n"),
        ("s.csv", '"sample_id","path","y"\n"a","x.mgf","1"\n"b","z.mgf",NA\n'),
        ("s.csv", " sample_id , path,y,,\n a,x.mgf , 1.0,,\n,,,,\nb,z.mgf,NaN,,\n"),
        ("s.tsv", "sample_id\tpath\ty\na\tx.mgf\t1e0\nb\tz.mgf\t\n"),
        ("s.txt", "sample_id\tpath\ty\na\tx.mgf\t1\nb\tz.mgf\t\n"),
        ("s.txt", "sample_id,path,y\na,x.mgf,1\nb,z.mgf,\n"),
    ],
)
def test_dialects_read_alike(tmp_path: Path, name: str, text: str) -> None:
    sheet = Sheet.read(write(tmp_path, text, name))
    assert [(run.sample_id, run.path, run.kind, run.accession) for run in sheet.runs] == [
        ("a", f"{tmp_path}/x.mgf", "sample", "a"),
        ("b", f"{tmp_path}/z.mgf", "sample", "b"),
    ]
    np.testing.assert_array_equal(sheet.assay("y"), [1.0, math.nan])


def test_parquet_keeps_its_types_and_reads_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame({"sample_id": [1, 2], "path": ["a.mgf", "b.mgf"], "kind": ["blank", None], "y": [0.25, None]})
    frame.to_parquet(tmp_path / "s.parquet")
    sheet = Sheet.read(tmp_path / "s.parquet")
    assert [(run.sample_id, run.kind) for run in sheet.runs] == [("1", "blank"), ("2", "sample")]
    np.testing.assert_array_equal(sheet.assay("y"), [0.25, math.nan])
    frame.assign(path=["a.mgf", None]).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(UsageError, match="row 3: path is empty"):
        Sheet.read(tmp_path / "s.parquet")


HEAD = "sample_id,path,kind,y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n", "no row below its header"),
        (HEAD, "no row below its header"),
        ("sampleid,path\na,b\n", "unknown column 'sampleid'; did you mean 'sample_id'?"),
        ("Sample_ID,path\na,b\n", "unknown column 'Sample_ID'; did you mean 'sample_id'?"),
        ("sample_id,Path\na,b\n", "unknown column 'Path'; did you mean 'path'?"),
        ("sample_id,path,acession\na,b,c\n", "unknown column 'acession'; did you mean 'accession'?"),
        ("sample_id,path,quant path\na,b,c\n", "unknown column 'quant path'; did you mean 'quant_path'?"),
        ("sample_id,paths\na,b\n", "no column 'path'; is 'paths' it?"),
        ("sample_id,y\na,1\n", "no column 'path' (a sheet needs sample_id and path)"),
        ("sample_id;path\na;b\n", "row 1: cells are parted by semicolons"),
        ("sample_id,path,y,y\na,b,1,2\n", "row 1: two columns are called 'y'"),
        ("sample_id,,path\na,1,b\n", "row 1: column 2 has no name"),
        (HEAD + "a,b,sample,1\n\na,c,sample,2\n", "rows 2 and 4: both are sample_id 'a'"),
        (HEAD + "a,b,sample,1\n,c,sample,2\n", "row 3: sample_id is empty"),
        (HEAD + "a,,sample,1\n", "row 2: path is empty"),
        (HEAD + "a,b,smaple,1\n", "row 2: kind is 'smaple', expected one of sample, blank, qc"),
        (
            "sample_id,path,format\na,b,raw\n",
            "row 2: format is 'raw', expected one of mgf, msp, mzml, mzxml, ",
        ),
        (HEAD + "a,b,sample\n", "row 2: 3 cells, but the header has 4"),
        (HEAD + "a,b,sample,1,2\n", "row 2: 5 cells, but the header has 4"),
        (HEAD + "a,../b.mgf,sample,1\n", "row 2: path '../b.mgf' lies above the sheet's folder; allow it with"),
        (HEAD + "a,b.mgf,,1\nc,x/../../b.mgf,,1\n", "row 3: path 'x/../../b.mgf' lies above"),
        ("sample_id,path,quant_path\na,b,../q.csv\n", "row 2: quant_path '../q.csv' lies above"),
        (
            HEAD + "a,gs://bucket/b.mgf,sample,1\n",
            "row 2: path 'gs://bucket/b.mgf' is no address that is read",
        ),
        (HEAD + "a,s3://bucket,sample,1\n", "row 2: path 's3://bucket' names no file; expected s3://BUCKET/KEY"),
        (HEAD + "a,s3:///b.mgf,sample,1\n", "row 2: path 's3:///b.mgf' names no file"),
        (HEAD + 'a,"b"c,sample,1\n', "row 2: not valid CSV"),
        (HEAD + 'a,"b,sample,1\n', "not valid CSV"),
        (HEAD + "a\0,b,sample,1\n", "holds NUL characters"),
    ],
)
def test_a_bad_sheet_is_one_line_with_place_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        Sheet.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_sheets(tmp_path: Path) -> None:
    (tmp_path / "utf16.csv").write_bytes("sample_id,path\na,b\n".encode("utf-16"))
    (tmp_path / "latin.csv").write_bytes("sample_id,path,y\na,b,é\n".encode("latin-1"))
    (tmp_path / "no.parquet").write_bytes(b"sample_id,path\n")
    (tmp_path / "folder.csv").mkdir()
    for name, message in [
        ("utf16.csv", "byte 0 is not UTF-8; save the sheet as CSV UTF-8"),
        ("latin.csv", "byte 21 is not UTF-8"),
        ("no.parquet", "not a sound Parquet file"),
        ("folder.csv", "this is a folder"),
        ("missing.csv", "no such file"),
        ("sheet.xlsx", "a sample sheet is .csv, .tsv, .txt or .parquet"),
    ]:
        with pytest.raises(UsageError, match=message):
            Sheet.read(tmp_path / name)


def test_paths_above_the_folder_when_allowed_and_inside_without_asking(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    path = write(folder, "sample_id,path\na,../b.mgf\nc,x/../d.mgf\n")
    sheet = Sheet.read(path, allow_outside=True)
    assert [run.path for run in sheet.runs] == [f"{tmp_path}/b.mgf", f"{folder}/d.mgf"]


def test_relative_sheet_path_starts_at_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "sample_id,path\na,b.mgf\n")
    monkeypatch.chdir(tmp_path)
    assert Sheet.read("samples.csv").runs[0].path == f"{tmp_path}/b.mgf"


def test_metadata_near_a_reserved_name_is_left_alone(tmp_path: Path) -> None:
    text = "sample_id,path,batch,batch2,patch,kinds,formats,replicate_of,accession,accessions\na,b,1,2,3,4,5,6,7,8\n"
    assert Sheet.read(write(tmp_path, text)).assay("accessions")[0] == 8


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("high", "row 3: y is 'high', expected a number or nothing"),
        ('"0,5"', "row 3: y is '0,5', expected a number or nothing; write the decimal sign as a point"),
        ("<0.1", "row 3: y is '<0.1'"),
        ("inf", "row 3: y is 'inf', expected a finite number"),
        ("-1e999", "row 3: y is '-1e999', expected a finite number"),
    ],
)
def test_an_assay_cell_that_is_no_number(tmp_path: Path, cell: str, message: str) -> None:
    sheet = Sheet.read(write(tmp_path, f"sample_id,path,y\na,b,1\nc,d,{cell}\n"))
    with pytest.raises(UsageError) as caught:
        sheet.assay("y")
    assert message in str(caught.value)


def test_an_assay_by_a_wrong_name(tmp_path: Path) -> None:
    sheet = Sheet.read(write(tmp_path, "sample_id,path,dpph,tpc\na,b,1,2\n"))
    with pytest.raises(UsageError, match="no column 'dphp'; did you mean 'dpph'"):
        sheet.assay("dphp")
    for name in RESERVED:
        with pytest.raises(UsageError, match=f"'{name}' is no assay"):
            sheet.assay(name)


def test_the_real_sheets(shared: Path) -> None:
    for folder, n_runs, n_accessions in (("qemistree", 98, 27), ("qemistree/fbmn", 92, 27), ("emi", 11, 7)):
        path = shared / "data" / folder / "samples.csv"
        sheet = Sheet.read(path)
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert len(sheet.runs) == len(rows) == n_runs
        assert len({run.accession for run in sheet.runs if run.kind == "sample"}) == n_accessions
        for run, row in zip(sheet.runs, rows, strict=True):
            assert run.sample_id == row["sample_id"]
            assert run.path == str(path.parent / row["path"])
            assert Path(run.path).is_file()
            assert run.accession == (row.get("accession") or row["sample_id"])
        if "tomato" in rows[0]:
            np.testing.assert_array_equal(sheet.assay("tomato"), [float(row["tomato"]) for row in rows])


WORDS = st.text(string.ascii_letters + string.digits + " _-é漢,;\"'\n\t", min_size=1, max_size=12).filter(
    lambda word: word == word.strip()
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    ids=st.lists(WORDS, min_size=1, max_size=6, unique=True),
    values=st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=6, max_size=6),
    delimiter=st.sampled_from([",", "\t"]),
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path: Path, ids: list[str], values: list[float | None], delimiter: str
) -> None:
    path = tmp_path / ("s.csv" if delimiter == "," else "s.tsv")
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=delimiter)
        writer.writerow(["sample_id", "path", "y"])
        writer.writerows(
            [name, f"{place}.mgf", value] for place, (name, value) in enumerate(zip(ids, values, strict=False))
        )
    sheet = Sheet.read(path)
    assert [run.sample_id for run in sheet.runs] == ids
    expected = [math.nan if value is None else value for value in values[: len(ids)]]
    np.testing.assert_array_equal(sheet.assay("y"), expected)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".tsv", ".txt", ".parquet"]))
def test_any_bytes_are_a_sheet_or_a_usage_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"s{suffix}"
    head = b"" if suffix == ".parquet" else b"sample_id,path,y\na,b,1\n"
    for start in (b"", head):
        path.write_bytes(start + content)
        try:
            sheet = Sheet.read(path)
        except UsageError:
            continue
        assert sheet.runs
