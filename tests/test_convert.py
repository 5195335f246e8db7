"""Conversion: every good run once, every bad one named, and nothing depends on what happened in between."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mgf_files import readers_of, slow, spectrum

from ms2img.errors import UsageError
from ms2img.io.dataset.images import load_images
from ms2img.io.dataset.lease import Lease
from ms2img.io.formats.msdial_alignment import read_alignment_runs
from ms2img.io.read import read_run, read_runs
from ms2img.io.sheet import Sheet
from ms2img.io.storage import folder
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.render import render
from pipelines import cli
from pipelines.conversion import job
from pipelines.convert import ConvertConfig, ConvertSummary, convert

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def study(tmp_path) -> Path:
    """Three good runs, and one of each common misfortune."""
    for name, precursor in (("one", 300.0), ("two", 512.5), ("three", 871.2)):
        (tmp_path / f"{name}.mgf").write_text(spectrum(precursor, [(120.5, 3.0), (precursor, 9.0)]))
    (tmp_path / "empty.mgf").write_text("")
    (tmp_path / "half.mgf").write_text(spectrum(300, [(120, 3)]).replace("END IONS\n", ""))
    (tmp_path / "nan.mgf").write_text(spectrum(300, [(120, float("nan"))]))
    (tmp_path / "bare.mgf").write_text(spectrum(300, []))
    (tmp_path / "far.mgf").write_text(spectrum(3000, [(120, 1)]))
    (tmp_path / "prose.txt").write_text("Dear colleague,\n")
    files = ["one.mgf", "two.mgf", "three.mgf", "empty.mgf", "half.mgf", "nan.mgf", "bare.mgf", "far.mgf", "prose.txt"]
    files.append("gone.mgf")
    rows = pd.DataFrame({"sample_id": [file.split(".")[0] for file in files], "path": files})
    rows.to_csv(tmp_path / "samples.csv", index=False)
    return tmp_path


EXPECTED_CODES = {
    "bare": ("render", "no-msms"),
    "empty": ("read", "empty"),
    "far": ("render", "nothing-to-draw"),
    "gone": ("read", "not-found"),
    "half": ("read", "truncated"),
    "nan": ("read", "bad-value"),
    "prose": ("read", "unknown-format"),
}


def config(study: Path, **options: object) -> ConvertConfig:
    values = {"samples": str(study / "samples.csv"), "out": str(study / "out"), "size": "75x70", **options}
    return ConvertConfig(**values)


def files_below(out: Path) -> dict[str, bytes]:
    """Contents of the data set; the error table's time stamps differ by nature."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.name not in ("errors.parquet", "config.yaml"))
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_good_runs_become_images_and_bad_ones_rows(study, capsys):
    arguments = ["convert", str(study / "samples.csv"), str(study / "out"), "--size", "75x70"]
    assert cli.main([*arguments, "--json"]) == 3
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith('{"converted": 3, "failed": 7, "output": ')
    assert len([line for line in err.splitlines() if line.startswith("ms2img: ")]) == 6  # five and "2 more"
    assert "Traceback" not in err

    errors = pq.read_table(study / "out" / "errors.parquet").to_pylist()
    found = {row["sample_id"]: (row["stage"], row["code"]) for row in errors}
    assert found == EXPECTED_CODES
    assert all(row["message"] and row["path"].startswith(str(study)) and row["attempts"] == 1 for row in errors)

    images = load_images(study / "out")
    assert images.sample_ids == ("one", "three", "two")
    render_config = config(study).render_config()
    for run in Sheet.read(study / "samples.csv").runs[:3]:
        points = points_from_spectra(read_run(run).table, render_config, path=run.path)
        expected = render(points, render_config)
        assert expected.any()
        np.testing.assert_array_equal(images.images[images.rows_of([run.sample_id])[0]], expected)


def test_a_second_run_does_only_what_is_missing_or_changed(study):
    first = convert(config(study), quiet=True)
    assert (first.converted, first.unchanged, first.failed) == (3, 0, 7)
    before = files_below(study / "out")
    again = convert(config(study), quiet=True)
    assert (again.converted, again.unchanged, again.failed) == (0, 3, 7)
    assert files_below(study / "out") == before
    attempts = {row["sample_id"]: row["attempts"] for row in again.errors}
    assert attempts == {**dict.fromkeys(EXPECTED_CODES, 1), "gone": 2}  # the others' files are what they were

    (study / "two.mgf").write_text(spectrum(640.0, [(77.0, 3.0)]))
    (study / "gone.mgf").write_text(spectrum(205.0, [(77.0, 3.0)]))
    (study / "one.mgf").unlink()
    changed = convert(config(study), quiet=True)
    assert (changed.converted, changed.unchanged, changed.failed) == (2, 1, 7)
    assert load_images(study / "out").sample_ids == ("gone", "three", "two")

    (study / "samples.csv").write_text("sample_id,path\ntwo,two.mgf\n")
    assert convert(config(study), quiet=True).unchanged == 1
    assert load_images(study / "out").sample_ids == ("two",)
    assert pq.read_table(study / "out" / "errors.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (lambda study: convert(config(study), quiet=True), {"scale": "minmax"}, "made with scale=max, now asked for"),
        (lambda study: (study / "out").mkdir() or (study / "out" / "thesis.doc").touch(), {}, "not empty and not an"),
        (lambda study: (study / "out").touch(), {}, "is a file; OUT must be a folder"),
        (lambda study: (study / "samples.csv").write_text("sample_id,path\na,x\na,y\n"), {}, "samples.csv.*3"),
    ],
)
def test_a_wrong_output_or_sheet_is_refused_before_any_work(study, prepare, options, message):
    prepare(study)
    before = files_below(study)
    with pytest.raises(UsageError, match=message) as refusal:
        convert(config(study, **options), quiet=True)
    assert "\n" not in str(refusal.value)
    assert files_below(study) == before


def test_an_unchanged_data_set_is_left_without_a_task(study, monkeypatch):
    first = convert(config(study, samples=str(good_sheet(study))), quiet=True)
    assert (first.converted, first.failed) == (3, 0)
    before = files_below(study / "out")
    monkeypatch.setattr(job, "on_workers", None)  # nothing is to be given to a worker
    again = convert(config(study, samples=str(good_sheet(study))), quiet=True)
    assert (again.converted, again.unchanged, again.failed) == (0, 3, 0)
    assert files_below(study / "out") == before


def good_sheet(study: Path) -> Path:
    sheet = study / "good.csv"
    sheet.write_text("sample_id,path\none,one.mgf\ntwo,two.mgf\nthree,three.mgf\n")
    return sheet


def test_equal_content_is_unchanged_whatever_its_time_and_rehash_looks_again(study):
    options = {"samples": str(good_sheet(study))}
    convert(config(study, **options), quiet=True)
    images = files_below(study / "out" / "images")
    os.utime(study / "one.mgf", ns=(5, 5))
    touched = convert(config(study, **options), quiet=True)
    assert (touched.converted, touched.unchanged) == (0, 3)
    versions = {row["path"]: row["version"] for row in pq.read_table(study / "out" / "sources.parquet").to_pylist()}
    assert versions[str(study / "one.mgf")] == "5"

    # The same size and time, other content: what only --rehash can see.
    text = (study / "two.mgf").read_text()
    (study / "two.mgf").write_text(text.replace("120.5", "130.5"))
    os.utime(study / "two.mgf", ns=(int(versions[str(study / "two.mgf")]),) * 2)
    blind = convert(config(study, **options), quiet=True)
    assert (blind.converted, files_below(study / "out" / "images")) == (0, images)
    seen = convert(config(study, rehash=True, **options), quiet=True)
    assert (seen.converted, seen.unchanged) == (1, 2)


def test_failed_runs_are_tried_again_when_there_is_a_reason(study):
    convert(config(study), quiet=True)
    os.utime(study / "nan.mgf", ns=(7, 7))  # another version of the file: worth a look
    attempts = {row["sample_id"]: row["attempts"] for row in convert(config(study), quiet=True).errors}
    assert attempts == {**dict.fromkeys(EXPECTED_CODES, 1), "gone": 2, "nan": 2}
    again = convert(config(study, retry_errors=True), quiet=True)
    assert {row["sample_id"]: row["attempts"] for row in again.errors} == {
        **dict.fromkeys(EXPECTED_CODES, 2),
        "gone": 3,
        "nan": 3,
    }


def test_a_limit_is_tried_again_when_it_is_another(study):
    """100 MB hold no reader at all, so every run fails, and none of them is tried again until the limit is raised."""
    options = {"samples": str(good_sheet(study))}
    small = convert(config(study, memory_limit=100, **options), quiet=True)
    assert {row["code"] for row in small.errors} == {"memory-limit"}
    same = convert(config(study, memory_limit=100, **options), quiet=True)
    assert [row["attempts"] for row in same.errors] == [1, 1, 1]
    assert convert(config(study, **options), quiet=True).converted == 3


@pytest.mark.parametrize(("allowed", "status"), [("0", 3), ("6", 3), ("7", 0), ("70%", 0), ("69.9%", 3)])
def test_the_exit_status_follows_max_failures(study, allowed, status, capsys):
    arguments = ["convert", str(study / "samples.csv"), str(study / "out"), "--size", "75x70"]
    assert cli.main([*arguments, "--max-failures", allowed]) == status
    assert ("--max-failures" in capsys.readouterr().out) == (status == 3)


@pytest.mark.parametrize("text", ["-1", "five", "101%", "1.5", "%"])
def test_a_wrong_max_failures_is_a_usage_error(text, capsys):
    assert cli.main(["convert", "a.csv", "out", f"--max-failures={text}"]) == 2
    assert "expected a number of runs like 10, or a share of them like 5%" in capsys.readouterr().err


def test_an_output_that_another_job_writes_is_refused(study):
    with Lease(folder(str(study / "out")), lambda _: None):
        with pytest.raises(UsageError, match=f"another job is writing here: process {os.getpid()} on "):
            convert(config(study), quiet=True)
        assert {path.name for path in (study / "out").iterdir()} == {".lease.json"}


def test_many_runs_of_one_table_and_small_files_in_one_job(shared, tmp_path):
    """An alignment of 72 runs, a pair, and single files: the rows are those of a plain loop over the runs."""
    data = shared / "data"
    rows = ["sample_id,path,column,quant_path"]
    alignment = data / "msdial" / "msdial4_alignment_72_runs.txt"
    columns = [run.column for run in read_alignment_runs(str(alignment))]
    rows += [f"aligned {n},{alignment},{column}," for n, column in enumerate(columns)]
    rows += [f"{path.stem},{path},," for path in sorted((data / "qemistree" / "mgf").glob("*.mgf"))[:5]]
    (tmp_path / "samples.csv").write_text("\n".join(rows) + "\n")
    summary = convert(config(tmp_path), quiet=True)
    assert (summary.converted, summary.failed) == (77, 0)
    assert summary.seconds["read"] > 0 < summary.seconds["render"]
    images = load_images(tmp_path / "out")
    render_config = config(tmp_path).render_config()
    some = [run for run in Sheet.read(tmp_path / "samples.csv").runs if run.column in columns[::25] or not run.column]
    for run, spectra in read_runs(some):
        expected = render(points_from_spectra(spectra.table, render_config, path=run.path), render_config)
        np.testing.assert_array_equal(images.images[images.rows_of([run.sample_id])[0]], expected)


def test_a_worker_that_dies_is_replaced(study):
    """The Ray worker itself, not its reader: its task is done again."""
    bad = slow(study / "slow.mgf")
    (study / "samples.csv").write_text(f"sample_id,path\nslow,{bad}\none,one.mgf\n")
    done: list[ConvertSummary] = []
    thread = threading.Thread(target=lambda: done.append(convert(config(study), quiet=True)))
    thread.start()
    deadline = time.monotonic() + 60
    while not (readers := readers_of(bad)):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    parent = int(Path(f"/proc/{readers[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    thread.join(60)
    assert (done[0].converted, done[0].failed) == (2, 0)
