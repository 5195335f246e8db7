"""The simulated collection, its acquisition and the files: read back with the real readers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ms2img.errors import UsageError
from ms2img.io.read import RunSpectra, read_runs, sniff
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.simulation import SimulationConfig, acquisition, assays, study, write_study
from ms2img.ms2toimg.simulation.acquisition import EXCLUSION_SECONDS, FLOOR, TRIGGER, acquire, sample_precursors
from ms2img.ms2toimg.simulation.compounds import load_compounds
from ms2img.ms2toimg.simulation.config import ASSAYS
from ms2img.ms2toimg.simulation.injections import Injection, sequence
from ms2img.ms2toimg.simulation.ions import Ions, make_ions
from ms2img.ms2toimg.simulation.study import SIMULATION_VERSION, Collection, contaminants, make_collection, vial

TINY = SimulationConfig(accessions=5, replicates=2)
#: Of TINY's files, both formats. When it changes, raise SIMULATION_VERSION and put the new one here.
GOLDEN = (1, "")


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


@pytest.fixture(scope="module")
def collection() -> Collection:
    return make_collection(load_compounds(), TINY)


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


# --- the collection --------------------------------------------------------------------------------------------------


def test_more_accessions_leave_the_earlier_ones_as_they_were(collection: Collection) -> None:
    more = make_collection(load_compounds(), TINY.model_copy(update={"accessions": 8}))
    np.testing.assert_array_equal(more.abundance[:5], collection.abundance)
    assert more.assays[:5] == collection.assays


def test_sequence_holds_every_vial_once() -> None:
    config = SimulationConfig(accessions=23, replicates=3)
    runs = sequence(config)
    vials = sorted((run.accession, run.replicate) for run in runs if run.kind == "sample")
    assert vials == [(accession, replicate) for accession in range(23) for replicate in (1, 2, 3)]
    assert len({run.sample_id for run in runs}) == len(runs)
    longer = sequence(SimulationConfig(accessions=40, replicates=3))
    assert longer[: 2 * 33] == runs[: 2 * 33]  # full batches stay


@pytest.mark.parametrize("seed", range(4))
def test_both_classes_of_every_assay_are_well_filled(seed: int) -> None:
    values = make_collection(load_compounds(), SimulationConfig(seed=seed)).assays
    for name in ASSAYS:
        value = np.array([row[name] for row in values])
        scaled = (value - value.min()) / np.ptp(value)
        assert (scaled < 0.4).sum() >= 12
        assert (scaled > 0.6).sum() >= 12


RISES_WITH = {
    "dpph": {"radical"},
    "tpc": {"phenol"},
    "tfc": {"flavonoid"},
    "elastase": {"terpene acid", "gallate"},
}


@settings(deadline=None)
@given(
    dose=st.lists(st.floats(0.01, 20), min_size=len(assays.CAUSES), max_size=len(assays.CAUSES)),
    cause=st.sampled_from(assays.CAUSES),
    factor=st.floats(1.1, 5),
)
def test_each_assay_rises_with_its_causes_and_with_nothing_else(dose: list[float], cause: str, factor: float) -> None:
    low = np.array(dose)[:, None]
    high = low.copy()
    high[assays.CAUSES.index(cause)] *= factor
    before, after = assays.responses(low), assays.responses(high)
    for name in ASSAYS:
        assert 0 <= before[name][0] <= after[name][0] <= 1
        assert (after[name][0] > before[name][0]) == (cause in RISES_WITH[name])


def test_noise_free_readings_follow_composition() -> None:
    compounds = load_compounds()
    found = make_collection(compounds, SimulationConfig(accessions=40, assay_noise=0.0))
    phenols = np.array([0 if compound.is_contaminant else compound.groups["phenols"] for compound in compounds])
    tpc = [row["tpc"] for row in found.assays]
    assert spearmanr(found.abundance @ phenols, tpc).statistic == pytest.approx(1.0)
    noisy = make_collection(compounds, SimulationConfig(accessions=40, assay_noise=0.2))
    assert 0.3 < spearmanr(found.abundance @ phenols, [row["tpc"] for row in noisy.assays]).statistic < 0.999


# --- the instrument --------------------------------------------------------------------------------------------------


def test_blanks_hold_contaminants_only(tiny: Path, ions: Ions) -> None:
    compounds = load_compounds()
    foreign = ions.mz[[compounds[index].is_contaminant for index in ions.compound]]
    blank = np.array(_spectra(tiny)["SIM-BLANK-1"].table["precursor_mz"].to_pylist())
    assert len(blank) >= 10
    ppm = np.abs(blank[:, None] / foreign - 1).min(axis=1) * 1e6
    assert ppm.max() < 6 * TINY.mz_error_ppm
    plant = contaminants(compounds, TINY.seed)[[not compound.is_contaminant for compound in compounds]]
    assert not plant.any()


def _recorded(config: SimulationConfig, ions: Ions, collection: Collection) -> tuple[np.ndarray, float]:
    """ppm errors of the fragments that were found, and the share of bright ones that were not."""
    injections = [run for run in sequence(config) if run.kind == "sample"][:4]
    errors: list[np.ndarray] = []
    missing = expected = 0
    background = contaminants(load_compounds(), config.seed)
    for run in injections:
        for scan in acquire(vial(run, collection, background), run, ions, config).scans:
            truth = ions.spectra[scan.ion]
            bright = scan.precursor_intensity * acquisition._MS2_YIELD * truth.intensity > 5 * FLOOR
            apart = np.minimum(np.diff(truth.mz, prepend=0), np.diff(truth.mz, append=9e9)) > 0.1
            wanted = truth.mz[bright & apart]
            if not len(wanted):
                continue
            ppm = (scan.mz[None, :] / wanted[:, None] - 1) * 1e6
            nearest = np.abs(ppm).argmin(axis=1)
            best = ppm[np.arange(len(wanted)), nearest]
            found = np.abs(best) < 40
            errors.append(best[found])
            missing += int((~found).sum())
            expected += len(wanted)
    return np.concatenate(errors), missing / expected


@pytest.mark.parametrize(("ppm", "dropout"), [(2.0, 0.0), (5.0, 0.3)])
def test_mz_error_and_missing_fragments_are_as_asked(
    ppm: float, dropout: float, ions: Ions, collection: Collection
) -> None:
    config = TINY.model_copy(update={"mz_error_ppm": ppm, "fragment_dropout": dropout})
    errors, missing = _recorded(config, ions, collection)
    assert len(errors) > 5000
    assert errors.std() == pytest.approx(ppm, rel=0.1)
    assert abs(errors.mean()) < 0.1 * ppm
    assert missing == pytest.approx(dropout, abs=0.01)


def test_an_instrument_without_faults_repeats_itself(ions: Ions, collection: Collection) -> None:
    """With all noise of choice off, what is left between replicates is the amount injected and chemical noise."""
    quiet = {"mz_error_ppm": 0.0, "intensity_noise": 0.0, "fragment_dropout": 0.0, "retention_drift_seconds": 0.0}
    config = TINY.model_copy(update=quiet)
    runs = [run for run in sequence(config) if run.accession == 0]
    heights = [acquire(collection.abundance[0], run, ions, config).height for run in runs]
    bright = (heights[0] > 3e5) & (heights[1] > 3e5)
    ratio = np.log(heights[0][bright] / heights[1][bright])
    assert ratio.std() < 0.25
    noisy = [acquire(collection.abundance[0], run, ions, TINY).height for run in runs]
    assert np.log(noisy[0][bright] / noisy[1][bright]).std() > 0.35


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), top_n=st.integers(1, 5), n_ions=st.integers(1, 30))
def test_data_dependent_sampling_keeps_its_rules(seed: int, top_n: int, n_ions: int) -> None:
    """Against the rules written out: at most N a cycle, none faint, none excluded, none passed over."""
    random = np.random.default_rng(seed)
    survey = TRIGGER * np.exp(random.normal(0.0, 1.5, (12, n_ions)))
    times = np.arange(12) * 4.0
    cycles, chosen = sample_precursors(survey, times, top_n)
    last: dict[int, float] = {}
    for cycle, time in enumerate(times):
        picked = chosen[cycles == cycle].tolist()
        free = {
            ion for ion in range(n_ions)
            if survey[cycle, ion] >= TRIGGER and time - last.get(ion, -1e9) >= EXCLUSION_SECONDS
        }  # fmt: skip
        assert len(picked) == len(set(picked)) == min(top_n, len(free))
        assert set(picked) <= free
        passed_over = [survey[cycle, ion] for ion in free - set(picked)]
        assert min(survey[cycle, picked], default=np.inf) >= max(passed_over, default=0.0)
        last.update(dict.fromkeys(picked, time))


def test_sampling_leaves_some_of_what_is_there(ions: Ions, collection: Collection) -> None:
    run = next(run for run in sequence(TINY) if run.kind == "sample")
    present = collection.abundance[run.accession][ions.compound] > 0
    sampled = {scan.ion for scan in acquire(collection.abundance[run.accession], run, ions, TINY).scans}
    assert 0.2 < len(sampled) / present.sum() < 0.95
    assert all(present[ion] for ion in sampled)
    wider = acquire(collection.abundance[run.accession], run, ions, TINY.model_copy(update={"top_n": 50}))
    fewer = acquire(collection.abundance[run.accession], run, ions, TINY.model_copy(update={"top_n": 1}))
    assert len({s.ion for s in fewer.scans}) < len(sampled) <= len({s.ion for s in wider.scans})


def test_retention_drifts_through_a_batch(ions: Ions, collection: Collection) -> None:
    run = Injection("SIM0001-1", "sample", 0, 1, 1, 1, 0.0)
    first = acquire(collection.abundance[0], run, ions, TINY).rt
    last = acquire(collection.abundance[0], replace(run, position=1.0), ions, TINY).rt
    np.testing.assert_allclose(last - first, TINY.retention_drift_seconds)


def test_co_eluting_ions_suppress_each_other(ions: Ions, collection: Collection) -> None:
    run = Injection("SIM0001-1", "sample", 0, 1, 1, 1, 0.0)
    once = acquire(collection.abundance[0], run, ions, TINY).height
    crowded = acquire(collection.abundance[0] * 10, run, ions, TINY).height
    bright = once > 1e6
    gain = crowded[bright] / once[bright]
    assert np.all(gain < 10)
    assert gain.min() < 0.7 * gain.max()


def test_the_default_study_is_neither_trivial_nor_hopeless() -> None:
    """A random forest on the pixels of the default study, through the files and the renderer."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "bench.simulated_difficulty", "--seeds", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])[0]
    assert 0.75 <= row["auc_pooled"] <= 0.90
    assert 0.75 <= row["auc_folds"] <= 0.90
    assert min(row["low"], row["high"]) >= 12


def test_stages_are_named_for_good() -> None:
    assert study.SIMULATION_VERSION >= 1
    assert len({int(stage) for stage in study.Stage}) == len(study.Stage)
