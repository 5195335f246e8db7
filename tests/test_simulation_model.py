"""The simulated collection, its assays and its instrument, before any file is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ms2img.ms2toimg.simulation import SimulationConfig, acquisition, assays
from ms2img.ms2toimg.simulation.acquisition import EXCLUSION_SECONDS, FLOOR, TRIGGER, acquire, sample_precursors
from ms2img.ms2toimg.simulation.compounds import load_compounds
from ms2img.ms2toimg.simulation.config import ASSAYS
from ms2img.ms2toimg.simulation.injections import Injection, sequence
from ms2img.ms2toimg.simulation.ions import Ions, make_ions
from ms2img.ms2toimg.simulation.study import Collection, contaminants, make_collection, vial

TINY = SimulationConfig(accessions=5, replicates=2)


@pytest.fixture(scope="module")
def ions() -> Ions:
    return make_ions(load_compounds(), TINY.seed)


@pytest.fixture(scope="module")
def collection() -> Collection:
    return make_collection(load_compounds(), TINY)


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
    for batch in (1, 2, 3):
        positions = [run.position for run in runs if run.batch == batch]
        assert positions[0] == 0.0
        assert np.all(np.diff(positions) > 0)
        assert 0.9 < positions[-1] < 1.0


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
            ion
            for ion in range(n_ions)
            if survey[cycle, ion] >= TRIGGER and time - last.get(ion, -1e9) >= EXCLUSION_SECONDS
        }
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
