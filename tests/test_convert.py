"""Conversion: every good run once, every bad one named, and nothing depends on what happened in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ms2img.errors import UsageError
from ms2img.io.compaction import STAGING
from ms2img.io.images import load_images
from ms2img.io.read import read_run
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.render import render
from pipelines import cli
from pipelines.convert import ConvertConfig, convert

pytestmark = pytest.mark.usefixtures("ray_session")


def spectrum(precursor: float, peaks: list[tuple[float, float]]) -> str:
    lines = "\n".join(f"{mz} {intensity}" for mz, intensity in peaks)
    return f"BEGIN IONS\nPEPMASS={precursor} 1000\nMSLEVEL=2\nSCANS=1\n{lines}\nEND IONS\n"


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
    return ConvertConfig(samples=str(study / "samples.csv"), out=str(study / "out"), size="75x70", **options)


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
    assert set(pq.read_table(study / "out" / "errors.parquet")["attempts"].to_pylist()) == {2}

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


def test_killed_at_any_moment_a_second_run_gives_the_undisturbed_data_set(shared, tmp_path):
    sheet = shared / "data" / "qemistree" / "samples.csv"
    undisturbed = convert(ConvertConfig(samples=str(sheet), out=str(tmp_path / "a"), size="75x70"), quiet=True)
    assert (undisturbed.converted, undisturbed.failed) == (98, 0)

    out = tmp_path / "b"
    arguments = ["convert", str(sheet), str(out), "--size", "75x70"]
    command = [sys.executable, "-c", "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    driver = subprocess.Popen([*command, *arguments], env=environment, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 90
    while not list((out / STAGING).glob("[!.]*.parquet")):  # killed as soon as one unit is staged
        assert driver.poll() is None, driver.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not (out / "manifest.json").exists()

    resumed = convert(ConvertConfig(samples=str(sheet), out=str(out), size="75x70"), quiet=True)
    assert resumed.converted + resumed.unchanged == 98
    assert resumed.unchanged >= 1
    assert files_below(out) == files_below(tmp_path / "a")
