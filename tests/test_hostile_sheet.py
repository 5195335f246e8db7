"""A hostile sample sheet: paths that want out, files that are none, tables as other spreadsheets save them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.contract import check_line
from ms2img.errors import UsageError
from ms2img.io.read import read_run
from ms2img.io.sheet import Sheet

SHEET = "sample_id,path,dpph\na,runs/a.mgf,0.5\nb,b.mgf,NA\n"


def write(folder: Path, text: str | bytes, name: str = "sheet.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        Sheet.read(path)
    check_line(str(caught.value))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("column", ["path", "quant_path"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("..", "lies above"),
        ("../secret", "lies above"),
        ("runs/../../secret", "lies above"),
        ("./../secret", "lies above"),
        ("runs/../..", "lies above"),
        ("file:///etc/passwd", "no address that is read"),
        ("http://example/x.mzML", "no address that is read"),
        ("S3://bucket/key", "no address that is read"),
        ("s3://", "names no file"),
        ("s3://bucket", "names no file"),
        ("s3:///key", "names no file"),
        ("s3://bucket/folder/", "names no file"),
        ("s3://bucket/../other/key", "no key has"),
        ("a\0b", "NUL"),
    ],
)
def test_paths_that_want_out(tmp_path: Path, column: str, value: str, message: str) -> None:
    other = "x.mgf," if column == "quant_path" else ""
    header = "sample_id,path,quant_path" if column == "quant_path" else "sample_id,path"
    assert message in refusal(write(tmp_path, f"{header}\na,{other}{value}\n"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("runs/../a.mgf", "{folder}/a.mgf"),
        ("./a.mgf", "{folder}/a.mgf"),
        ("...", "{folder}/..."),  # a name like another
        ("..a/b", "{folder}/..a/b"),
        ("/elsewhere/a.mgf", "/elsewhere/a.mgf"),  # absolute ones are a decision, not an escape
        ("s3://bucket/a..b/key", "s3://bucket/a..b/key"),
        ("~/a.mgf", "{folder}/~/a.mgf"),  # nothing expands
        ("$HOME/a.mgf", "{folder}/$HOME/a.mgf"),
        ("*.mgf", "{folder}/*.mgf"),
        ("C:\\a.mgf", "{folder}/C:\\a.mgf"),
    ],
)
def test_paths_that_only_look_so(tmp_path: Path, value: str, expected: str) -> None:
    (run,) = Sheet.read(write(tmp_path, f"sample_id,path\na,{value}\n")).runs
    assert run.path == expected.format(folder=tmp_path)


def test_a_link_leads_where_it_leads(tmp_path: Path) -> None:
    """A link below the sheet's folder was put there by whoever owns the folder; links are how labs mount their data."""
    study, store = tmp_path / "study", tmp_path / "store"
    study.mkdir()
    store.mkdir()
    (store / "a.mgf").write_text("BEGIN IONS\nPEPMASS=100\n50 1\nEND IONS\n")
    (study / "runs").symlink_to(store)
    (run,) = Sheet.read(write(study, "sample_id,path\na,runs/a.mgf\n")).runs
    assert run.path == str(study / "runs" / "a.mgf")
    assert len(read_run(run).table) == 1
    assert "lies above" in refusal(write(study, "sample_id,path\na,runs/../../store/a.mgf\n"))  # by its text


def test_what_is_no_sheet(tmp_path: Path) -> None:
    """Asked in another process: opening a pipe would wait, reading /dev/zero would not end."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "empty.csv").touch()
    names = ["pipe.csv", "zero.csv", "folder.csv", "empty.csv"]
    script = (
        "import sys\nfrom ms2img.io.sheet import Sheet\nfrom ms2img.errors import UsageError\n"
        "for path in sys.argv[1:]:\n    try:\n        Sheet.read(path)\n"
        "    except UsageError as error:\n        print(error)\n"
    )
    command = [sys.executable, "-c", script, *(str(tmp_path / name) for name in names)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = ended.stdout.splitlines()
    assert [name in line for name, line in zip(names, lines, strict=True)] == [True] * 4
    assert ["not a regular file" in line for line in lines] == [True, True, False, False]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_line_ends_give_one_sheet(tmp_path: Path, suffix: str) -> None:
    text = SHEET if suffix == ".csv" else SHEET.replace(",", "\t")
    expected = Sheet.read(write(tmp_path, text, f"a{suffix}"))
    assert [run.sample_id for run in expected.runs] == ["a", "b"]
    for line_end in ("\r\n", "\r"):
        for mark in ("", "\ufeff"):
            found = Sheet.read(write(tmp_path, mark + text.replace("\n", line_end), f"a{suffix}"))
            assert found.runs == expected.runs
            assert found.table.equals(expected.table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SHEET.encode("utf-16"), "not UTF-8; save the sheet as CSV UTF-8"),
        (SHEET.encode("utf-16-le"), "NUL"),
        (SHEET.replace(",", ";").encode(), "semicolons; save the sheet with commas or tabs"),
        (SHEET.replace(",", ";").replace("0.5", "0,5").encode(), "semicolons"),
        (b"sample_id,path\na,x.mgf\na,y.mgf\n", "rows 2 and 3: both are sample_id 'a'"),
        (b"sample_id,path,path\na,x,y\n", "two columns are called 'path'"),
        (b"sample_id,path\na,x\x1b[2J,c\n", "3 cells"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal(write(tmp_path, content))


def test_a_decimal_comma_in_an_assay(tmp_path: Path) -> None:
    sheet = Sheet.read(write(tmp_path, SHEET.replace("0.5", '"0,5"')))
    with pytest.raises(UsageError, match="row 2: dpph is '0,5'.*write the decimal sign as a point"):
        sheet.assay("dpph")
    for number in ("inf", "-inf", "1e400"):
        with pytest.raises(UsageError, match="finite number"):
            Sheet.read(write(tmp_path, SHEET.replace("0.5", number))).assay("dpph")
