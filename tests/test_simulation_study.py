"""The simulated collection, its acquisition and the files: read back with the real readers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from s3_servers import S3Server

from ms2img.errors import UsageError
from ms2img.io.read import RunSpectra, read_runs, sniff
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.simulation import SimulationConfig, assays, write_study
from ms2img.ms2toimg.simulation.compounds import load_compounds
from ms2img.ms2toimg.simulation.config import ASSAYS
from ms2img.ms2toimg.simulation.ions import Ions, make_ions
from ms2img.ms2toimg.simulation.store import store_study
from ms2img.ms2toimg.simulation.study import SIMULATION_VERSION, contaminants

TINY = SimulationConfig(accessions=5, replicates=2)
#: Of TINY's files, both formats. When it changes, raise SIMULATION_VERSION and put the new one here.
GOLDEN = (1, "d2887613122d70c0ed3f2dcce6a81e08")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "mgf"
    write_study(out, TINY)
    return out


@pytest.fixture(scope="module")
def tiny_aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "msdial"
    write_study(out, TINY.model_copy(update={"format": "msdial"}))
    return out


@pytest.fixture(scope="module")
def ions() -> Ions:
    return make_ions(load_compounds(), TINY.seed)


def _digest(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _spectra(folder: Path) -> dict[str, RunSpectra]:
    found = {}
    for run, outcome in read_runs(Sheet.read(folder / "samples.csv").runs):
        assert isinstance(outcome, RunSpectra), outcome
        found[run.sample_id] = outcome
    return found


# --- the files -------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_in_another_process(tiny: Path, tiny_aligned: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from ms2img.ms2toimg.simulation import SimulationConfig, write_study\n"
        "write_study(Path(sys.argv[1]), SimulationConfig(accessions=5, replicates=2, format=sys.argv[2]))\n"
    )
    for folder, format_name in ((tiny, "mgf"), (tiny_aligned, "msdial")):
        again = tmp_path / format_name
        environment = {**os.environ, "PYTHONHASHSEED": "17"}
        subprocess.run([sys.executable, "-c", program, again, format_name], env=environment, check=True)
        assert _digest(again) == _digest(folder)


def test_a_change_of_the_files_raises_the_version(tiny: Path, tiny_aligned: Path) -> None:
    assert (SIMULATION_VERSION, _digest(tiny) + _digest(tiny_aligned)) == GOLDEN


def test_another_seed_is_another_study(tiny: Path, tmp_path: Path) -> None:
    write_study(tmp_path / "seed1", TINY.model_copy(update={"seed": 1}))
    assert (tmp_path / "seed1/runs/SIM0001-1.mgf").read_bytes() != (tiny / "runs/SIM0001-1.mgf").read_bytes()


def test_sheet_is_labelled_simulated_and_complete(tiny: Path) -> None:
    sheet = Sheet.read(tiny / "samples.csv")
    assert sheet.table["simulated"].astype(str).str.lower().eq("true").all()
    kinds = [run.kind for run in sheet.runs]
    assert (kinds.count("sample"), kinds.count("blank"), kinds.count("qc")) == (10, 1, 2)
    assert all(Path(run.path).is_file() for run in sheet.runs)
    assert {run.accession for run in sheet.runs if run.kind == "sample"} == {f"SIM000{i}" for i in range(1, 6)}
    assert sheet.table["injection_order"].astype(int).tolist() == list(range(1, 14))
    for name in ASSAYS:
        values = sheet.assay(name)
        for run, value in zip(sheet.runs, values, strict=True):
            assert np.isfinite(value) == (run.kind == "sample")
        assert np.nanmax(values) <= assays.FULL_SCALE[name]
    assert "SIMULATED" in (tiny / "README.txt").read_text()
    assert json.loads((tiny / "study.json").read_text())["simulated"] is True
    assert SimulationConfig.resolve({}, tiny / "config.yaml") == TINY


def test_every_mgf_entry_says_simulated(tiny: Path) -> None:
    for path in (tiny / "runs").iterdir():
        text = path.read_text()
        assert text.count("TITLE=simulated ") == text.count("BEGIN IONS") > 0


def test_runs_read_back(tiny: Path) -> None:
    for name, run in _spectra(tiny).items():
        table = run.table
        assert run.ms2_source == "own"
        assert table["precursor_intensity"].null_count == 0
        assert set(table["polarity"].to_pylist()) == {"negative"}
        if not name.startswith("SIM-BLANK"):
            assert 100 <= table.num_rows <= 600
        for mz, precursor in zip(table["mz"].to_pylist(), table["precursor_mz"].to_pylist(), strict=True):
            assert max(mz) <= precursor * (1 + 10 * 3e-6)
            assert 100 <= precursor < 1500.1


def test_alignment_reads_back_like_a_real_export(tiny_aligned: Path, shared: Path) -> None:
    written = tiny_aligned / "alignment.txt"
    assert sniff(str(written)) == "msdial-alignment"
    real = (shared / "data/msdial/msdial4_alignment_72_runs.txt").read_text(encoding="utf-8").splitlines()
    ours = written.read_text(encoding="utf-8").splitlines()
    for theirs, own in zip(real[:5], ours[:5], strict=True):
        assert own.split("\t")[:32] == theirs.split("\t")[:32]
    assert {len(line.split("\t")) for line in ours} == {32 + 13 + 6}
    spectra = _spectra(tiny_aligned)
    assert len(spectra) == 13
    assert {run.ms2_source for run in spectra.values()} == {"representative"}
    n_features = len(ours) - 5
    assert all(0 < run.table.num_rows <= n_features for run in spectra.values())


def test_aligned_features_are_the_ions(tiny_aligned: Path, ions: Ions) -> None:
    rows = [line.split("\t") for line in (tiny_aligned / "alignment.txt").read_text().splitlines()[4:]]
    place = {name: rows[0].index(name) for name in ("Average Mz", "Average Rt(min)", "Adduct type", "MS/MS spectrum")}
    assert len({row[0] for row in rows[1:]}) == len(rows) - 1 > 300
    drift = TINY.retention_drift_seconds / 60
    for row in rows[1:]:
        mz, rt = float(row[place["Average Mz"]]), float(row[place["Average Rt(min)"]])
        adduct = row[place["Adduct type"]].replace("[M+FA-H]-", "[M+HCOO]-")
        near = np.flatnonzero(np.abs(ions.mz / mz - 1) < 10e-6)
        assert any(ions.adduct[ion] == adduct and -0.1 < rt - ions.rt[ion] / 60 < drift for ion in near)
    assert sum(bool(row[place["MS/MS spectrum"]]) for row in rows[1:]) > 200


def test_replicates_are_more_alike_than_accessions(tiny_aligned: Path) -> None:
    rows = [line.split("\t") for line in (tiny_aligned / "alignment.txt").read_text().splitlines()]
    columns = {name: place for place, name in enumerate(rows[4]) if name.startswith("SIM0")}
    heights = {name: np.sqrt([float(row[place]) for row in rows[5:]]) for name, place in columns.items()}
    unit = {name: values / np.linalg.norm(values) for name, values in heights.items()}
    same, other = [], []
    for a in unit:
        for b in unit:
            if a < b:
                (same if a[:7] == b[:7] else other).append(float(unit[a] @ unit[b]))
    assert min(same) > max(other)


def test_blanks_hold_contaminants_only(tiny: Path, ions: Ions) -> None:
    compounds = load_compounds()
    foreign = ions.mz[[compounds[index].is_contaminant for index in ions.compound]]
    blank = np.array(_spectra(tiny)["SIM-BLANK-1"].table["precursor_mz"].to_pylist())
    assert len(blank) >= 10
    ppm = np.abs(blank[:, None] / foreign - 1).min(axis=1) * 1e6
    assert ppm.max() < 6 * TINY.mz_error_ppm
    plant = contaminants(compounds, TINY.seed)[[not compound.is_contaminant for compound in compounds]]
    assert not plant.any()


# --- the folder ------------------------------------------------------------------------------------------------------


def test_the_same_study_again_is_unchanged(tiny: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    assert write_study(tiny, TINY).unchanged
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob("*")} == before


def test_another_study_or_other_files_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed 0, not 3"):
        write_study(tiny, TINY.model_copy(update={"seed": 3}))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no simulated study"):
        write_study(tmp_path, TINY)
    with pytest.raises(UsageError, match="is a file"):
        write_study(tmp_path / "notes.txt", TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_study_with_a_lost_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "study"
    out.mkdir()  # an empty folder is as good as none
    small = SimulationConfig(accessions=2, replicates=1)
    assert not write_study(out, small).unchanged
    (out / "runs/SIM0002-1.mgf").unlink()
    with pytest.raises(UsageError, match=r"SIM0002-1\.mgf .* is gone"):
        write_study(out, small)


def test_a_study_in_an_object_store_is_the_local_one(tiny: Path, s3: S3Server, tmp_path: Path) -> None:
    out = s3.bucket("lab") + "/study"
    s3.put("lab/study/runs/SIM0001-1.mgf", b"half of an upload")  # of a call that was interrupted
    summary = store_study(out, TINY)
    assert (summary.sheet, summary.unchanged) == (f"{out}/samples.csv", False)
    for name in s3.keys("lab/study"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(s3.get(f"lab/{name}"))
    assert _digest(tmp_path / "study") == _digest(tiny)
    assert store_study(out, TINY).unchanged
    with pytest.raises(UsageError, match="seed 0, not 3"):
        store_study(out, TINY.model_copy(update={"seed": 3}))
    s3.put("lab/other/notes.txt", b"mine")
    with pytest.raises(UsageError, match=r"is not empty \(notes\.txt\)"):
        store_study("s3://lab/other", TINY)
    s3.client().delete_object(Bucket="lab", Key="study/samples.csv")
    with pytest.raises(UsageError, match=r"samples\.csv .* is gone"):
        store_study(out, TINY)


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_study(tmp_path / "study", TINY, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_bad_options_are_one_line() -> None:
    with pytest.raises(UsageError, match="accessions"):
        SimulationConfig.checked({"accessions": 1}, source="command line")


# --- the difficulty -------------------------------------------------------------------------------------------------


@pytest.mark.slow  # half a minute: the whole study
def test_the_default_study_is_neither_trivial_nor_hopeless() -> None:
    """A random forest on the pixels of the default study, through the files and the renderer."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "bench.simulated_difficulty", "--seeds", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])[0]
    assert 0.75 <= row["auc_pooled"] <= 0.90
    assert 0.75 <= row["auc_folds"] <= 0.90
    assert min(row["low"], row["high"]) >= 12
