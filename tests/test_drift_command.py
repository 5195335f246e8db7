"""``ms2img drift``: a sheet and files that every other command takes, written once, and marked as simulated."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from mgf_files import good, group, run, spectrum

from ms2img.errors import UsageError
from ms2img.io.dataset.images import load_images
from ms2img.io.dataset.lease import Lease
from ms2img.io.formats.mgf import read_mgf
from ms2img.io.sheet import Sheet
from ms2img.io.storage import FileStatus, folder
from ms2img.ms2toimg.convert_group import RunGroup
from ms2img.ms2toimg.drift_config import Drift
from ms2img.ms2toimg.simulation import SimulationConfig, write_study
from pipelines import cli
from pipelines.drift import DriftConfig
from pipelines.drift_job import drift, parted
from pipelines.drift_task import Settings, file_of, run_task

pytestmark = pytest.mark.usefixtures("ray_session")

STRANGE = ("a/b", "..", "ä ö", "A", "a", "x" * 300, "x" * 299)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory) -> Path:
    """A simulated study whose runs share one aligned table."""
    out = tmp_path_factory.mktemp("aligned")
    write_study(out, SimulationConfig(accessions=3, replicates=2, format="msdial"))
    return out


@pytest.fixture
def study(tmp_path) -> Path:
    """Three good runs with an assay, a blank, and two bad ones."""
    rows = ["sample_id,path,kind,accession,dpph,note"]
    for name, kind in (("one", "sample"), ("two", "sample"), ("three", ""), ("blank", "blank"), ("half", "sample")):
        good(tmp_path / f"{name}.mgf", 300.0 + len(rows))
        rows.append(f'{name},{name}.mgf,{kind},acc-{name},{len(rows)}.50,"say ""so"", please"')
    (tmp_path / "half.mgf").write_text(spectrum(300, [(120, 3)]).replace("END IONS\n", ""))
    (tmp_path / "samples.csv").write_text("\n".join([*rows, "gone,gone.mgf,sample,,7,"]) + "\n")
    return tmp_path


def config(study: Path, out: str = "out", **options: object) -> DriftConfig:
    return DriftConfig(**{"samples": str(study / "samples.csv"), "out": str(study / out), "mz_ppm": 10, **options})


def copies(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "runs").iterdir()}


def test_a_copy_is_a_study_that_every_command_takes(study, capsys):
    arguments = ["drift", str(study / "samples.csv"), str(study / "out"), "--mz-ppm", "10"]
    assert cli.main([*arguments, "--max-failures", "1", "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1]) == {
        "written": 3, "unchanged": 0, "failed": 2, "simulated": True, "drift": "mz_ppm 10",
        "samples": str(study / "out" / "samples.csv"),
    }  # fmt: skip
    assert "half" in err
    assert "END IONS [truncated]" in err
    assert cli.main([*arguments, "--max-failures", "2"]) == 0
    errors = pq.read_table(study / "out" / "errors.parquet").to_pylist()
    assert [(row["sample_id"], row["code"], row["attempts"]) for row in errors] == [
        ("gone", "not-found", 2), ("half", "truncated", 2)
    ]  # fmt: skip

    before, sheet = Sheet.read(study / "samples.csv"), Sheet.read(study / "out" / "samples.csv")
    assert sheet.is_simulated()
    assert [run.sample_id for run in sheet.runs] == ["one", "two", "three"]  # samples only
    assert list(sheet.table["simulated_drift"]) == ["mz_ppm 10"] * 3
    for name in ("accession", "dpph", "note"):
        assert list(sheet.table[name]) == list(before.table[name][:3])
    for run_ in sheet.runs:
        text = Path(run_.path).read_text()
        titles = [line for line in text.splitlines() if line.startswith("TITLE=")]
        assert titles == [f"TITLE=SIMULATED drift (mz_ppm 10) of {run_.sample_id} spectrum 1"]
    assert read_mgf(sheet.runs[0].path)["precursor_mz"].to_pylist() == [301 * (1 + 10e-6)]

    assert cli.main(["convert", str(study / "out/samples.csv"), str(study / "images"), "--size", "75x70"]) == 0
    assert load_images(study / "images").sample_ids == ("one", "three", "two")


def test_a_second_run_does_only_what_is_missing_or_changed(study):
    first = drift(config(study), quiet=True)
    assert (first.written, first.unchanged, first.failed) == (3, 0, 2)
    before = copies(study / "out")
    times = {path: path.stat().st_mtime_ns for path in (study / "out" / "runs").iterdir()}
    assert drift(config(study), quiet=True).unchanged == 3
    assert {path: path.stat().st_mtime_ns for path in (study / "out" / "runs").iterdir()} == times

    # what a killed job leaves: some whole files, nothing that says so
    for name in ("samples.csv", "sources.parquet", "errors.parquet", "runs/two.mgf"):
        (study / "out" / name).unlink()
    again = drift(config(study), quiet=True)
    assert (again.written, again.unchanged, again.failed) == (1, 2, 2)
    assert copies(study / "out") == before

    good(study / "two.mgf", 640.0)
    (study / "three.mgf").unlink()
    changed = drift(config(study), quiet=True)
    assert (changed.written, changed.unchanged, changed.failed) == (1, 1, 3)
    after = copies(study / "out")
    assert set(after) == {"one.mgf", "two.mgf"}
    assert after["one.mgf"] == before["one.mgf"]
    assert after["two.mgf"] != before["two.mgf"]


def test_the_copy_does_not_depend_on_the_order_of_the_sheet(study):
    options = {"missing_fragments": 0.5, "mz_noise_ppm": 5, "kinds": ("sample, blank",)}
    drift(config(study, "straight", **options), quiet=True)
    pd.read_csv(study / "samples.csv", dtype=str).iloc[::-1].to_csv(study / "samples.csv", index=False)
    drift(config(study, "reversed", **options), quiet=True)
    assert copies(study / "straight") == copies(study / "reversed")
    assert config(study, kinds=("sample,blank", "sample")).kinds == ("sample", "blank")
    assert "blank.mgf" in copies(study / "straight")


def test_the_runs_of_an_aligned_table_become_files_of_their_own(aligned, tmp_path):
    values = {"samples": str(aligned / "samples.csv"), "out": str(tmp_path / "out"), "retention_seconds": 60}
    drift(DriftConfig(**values), quiet=True)
    sheet, before = Sheet.read(tmp_path / "out" / "samples.csv"), Sheet.read(aligned / "samples.csv")
    samples = [each for each in before.runs if each.kind == "sample"]
    assert [each.sample_id for each in sheet.runs] == [each.sample_id for each in samples]
    assert not {"column", "quant_path", "format"} & set(sheet.table.columns)
    twice = DriftConfig(samples=str(tmp_path / "out" / "samples.csv"), out=str(tmp_path / "twice"), mz_da=0.02)
    drift(twice, quiet=True)
    said = Sheet.read(tmp_path / "twice" / "samples.csv").table["simulated_drift"]
    assert set(said) == {"retention_seconds 60; mz_da 0.02"}


@pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (lambda study: drift(config(study), quiet=True), {"mz_ppm": 5}, "made with mz_ppm=10.0, now asked for mz_ppm"),
        (lambda study: drift(config(study), quiet=True), {"seed": 5}, "made with seed=0, now asked for seed=5"),
        (lambda study: (study / "out").touch(), {}, "is a file; OUT must be a folder"),
        (lambda study: (study / "out" / "runs").mkdir(parents=True) or good(study / "out/runs/one.mgf"), {}, "one.mgf"),
        (lambda study: None, {"out": "."}, "not empty and not of 'ms2img drift'"),
        (lambda study: (study / "out").mkdir() or (study / "out/config.yaml").write_text("a: [\n"), {}, "config.yaml"),
        (lambda study: None, {"kinds": ("qc",)}, "no run of kind qc; see --kinds"),
    ],
)
def test_a_wrong_output_or_sheet_is_refused_before_any_work(study, prepare, options, message):
    prepare(study)
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    with pytest.raises(UsageError, match=message):
        drift(config(study, options.pop("out", "out"), **options), quiet=True)
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before


def test_a_copy_is_not_drifted_into_itself(study):
    drift(config(study), quiet=True)
    again = config(study).model_copy(update={"samples": str(study / "out" / "samples.csv")})
    with pytest.raises(UsageError, match="which is to be copied; give OUT another folder"):
        drift(again, quiet=True)


def test_nor_through_a_link(study):
    drift(config(study), quiet=True)
    (study / "link").symlink_to(study / "out")
    again = config(study).model_copy(update={"samples": str(study / "link" / "samples.csv")})
    with pytest.raises(UsageError, match="which is to be copied; give OUT another folder"):
        drift(again, quiet=True)


def test_a_job_that_ended_while_this_one_came_is_not_mixed_with_it(study, monkeypatch):
    class Late(Lease):
        """Another job, with other options, had the lease until now."""

        def __enter__(self):
            monkeypatch.undo()
            drift(config(study, mz_ppm=5), quiet=True)
            return super().__enter__()

    monkeypatch.setattr("pipelines.drift_job.Lease", Late)
    with pytest.raises(UsageError, match="made with mz_ppm=5.0, now asked for mz_ppm=10.0"):
        drift(config(study), quiet=True)
    assert set(Sheet.read(study / "out" / "samples.csv").table["simulated_drift"]) == {"mz_ppm 5"}


def test_the_columns_of_one_table_are_several_tasks():
    runs = [run(Path("table.txt"), f"s{number}") for number in range(1000)]
    wide = RunGroup(tuple(runs), {"table.txt": FileStatus(10, "1")}, {"table.txt": "hash"})
    one = RunGroup((run(Path("one.mgf")),), {"one.mgf": FileStatus(9, "1")})
    tasks = parted([wide, one], cores=1)
    parts = [part for task in tasks for part in task]
    assert len(tasks) >= 8
    assert [each for part in parts for each in part.runs] == [*runs, *one.runs]
    assert max(len(part.runs) for part in parts) == 64
    assert all((part.statuses, part.hashes) == (wide.statuses, wide.hashes) for part in parts[:-1])


@pytest.mark.parametrize("given", ["pool", "sample,pool", "", "sample,"])
def test_a_kind_that_no_sheet_has_is_a_wrong_option(study, capsys, given):
    assert cli.main(["drift", str(study / "samples.csv"), str(study / "out"), "--kinds", given]) == 2
    assert "expected one or more of sample, blank, qc, parted by commas" in capsys.readouterr().err


def test_names_of_every_kind_become_files_of_their_own_below_runs():
    names = [file_of(name) for name in STRANGE]
    assert len(set(names)) == len(STRANGE)
    assert all(name.startswith("runs/") and "/" not in name[5:] and len(name) < 200 for name in names)


def test_a_task_writes_to_an_object_store(study, s3):
    settings = Settings("s3://bucket/copy", Drift(missing_fragments=0.1), config(study).read_options())
    groups = [group(run(study / "one.mgf")), group(run(study / "half.mgf"))]
    result = run_task(groups, settings)
    assert (result.written, [name for name, _, _ in result.failed]) == (["one"], ["half"])
    assert list(folder("s3://bucket/copy").names()) == ["runs/one.mgf"]
    assert run_task(groups, settings).unchanged == ["one"]
