"""Simulated drift: each perturbation has the size it claims, changes nothing else, depends on seed and name alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mgf_files import run as run_of
from scipy import stats

from ms2img.errors import RunError, UsageError
from ms2img.io.formats.mgf import read_mgf
from ms2img.io.formats.mgf_write import mgf_bytes
from ms2img.io.formats.spectra import name_sample
from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.schema import SPECTRA
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.drift import drifted
from ms2img.ms2toimg.drift_config import Drift
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.simulation import SimulationConfig, write_study

RENDER = RenderConfig(height=75, width=70)
RANDOM = Drift(mz_noise_ppm=5, missing_fragments=0.3)
CHANGED = {  # option -> the columns it may touch
    "mz_ppm": {"precursor_mz", "mz"},
    "mz_da": {"precursor_mz", "mz"},
    "mz_noise_ppm": {"precursor_mz", "mz"},
    "intensity_scale": {"precursor_intensity", "intensity"},
    "intensity_tilt": {"precursor_intensity", "intensity"},
    "missing_fragments": {"mz", "intensity"},
    "retention_seconds": {"rt_seconds"},
}
LEVELS = dict.fromkeys(CHANGED, 0.25) | {"intensity_scale": 4.0}

finite = st.floats(0, 2.0**100, allow_nan=False, width=32)
texts = st.none() | st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
rows = st.fixed_dictionaries(
    {
        "sample_id": st.just("run"),
        "spectrum_id": st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=9),
        "precursor_mz": st.floats(50, 2000),
        "precursor_intensity": st.none() | st.floats(1e-3, 1e12),
        "rt_seconds": st.none() | st.floats(0, 1e5),
        "charge": st.none(),
        "adduct": texts,
        "polarity": st.sampled_from([None, "positive", "negative"]),
        "collision_energy": texts,
        "peaks": st.lists(st.tuples(st.floats(1, 2000), finite), max_size=4),
    }
)


def table_of(described: list[dict[str, object]]) -> pa.Table:
    """Rows with `peaks` as a table of schema SPECTRA."""
    split = [
        {**row, "mz": [mz for mz, _ in row["peaks"]], "intensity": [height for _, height in row["peaks"]]}
        for row in described
    ]
    return pa.Table.from_pylist(split, schema=SPECTRA)


def large(sample_id: str = "run", spectra: int = 300, peaks: int = 100) -> pa.Table:
    """A run of 30,000 peaks."""
    rng = np.random.default_rng(7)
    return table_of(
        [
            {
                "sample_id": sample_id,
                "spectrum_id": str(number),
                "precursor_mz": float(rng.uniform(200, 1200)),
                "precursor_intensity": float(rng.lognormal(10)),
                "rt_seconds": float(number),
                "charge": 1,
                "polarity": "positive",
                "peaks": list(zip(rng.uniform(50, 1500, peaks).tolist(), rng.lognormal(5, 1, peaks), strict=True)),
            }
            for number in range(spectra)
        ]
    )


def after(table: pa.Table, **options: float) -> pa.Table:
    return drifted(table, Drift(**options), sample_id="run", path="run.mgf")


def flat(table: pa.Table, column: str) -> np.ndarray:
    return table[column].combine_chunks().flatten().to_numpy()


# --- what each perturbation claims -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", CHANGED)
def test_one_perturbation_leaves_every_other_column_as_it_is(option):
    before, found = large(), after(large(), **{option: LEVELS[option]})
    assert found.schema.equals(SPECTRA)
    for name in SPECTRA.names:
        assert before[name].equals(found[name]) == (name not in CHANGED[option]), name


def test_no_drift_changes_nothing():
    assert after(large()).equals(large())


@pytest.mark.parametrize("ppm", [10.0, -20.0])
def test_a_calibration_error_in_ppm_is_that_of_every_peak_and_precursor(ppm):
    before, found = large(), after(large(), mz_ppm=ppm)
    np.testing.assert_allclose((flat(found, "mz") / flat(before, "mz") - 1) * 1e6, ppm, rtol=1e-9)
    ratio = found["precursor_mz"].to_numpy() / before["precursor_mz"].to_numpy()
    np.testing.assert_allclose((ratio - 1) * 1e6, ppm, rtol=1e-9)


def test_a_calibration_error_in_da_is_added_but_never_reaches_zero():
    before = table_of([{"sample_id": "a", "spectrum_id": "1", "precursor_mz": 0.0, "peaks": [(0.01, 1), (300, 1)]}])
    found = after(before, mz_da=-0.02)
    assert flat(found, "mz").tolist() == [0.01, 300 - 0.02]
    assert found["precursor_mz"].to_pylist() == [0.0]  # a feature without MS/MS, as mzmine writes one
    np.testing.assert_allclose(flat(after(large(), mz_da=0.02), "mz") - flat(large(), "mz"), 0.02, rtol=1e-9)


def test_random_m_z_errors_are_normal_with_the_stated_deviation():
    errors = (flat(after(large(), mz_noise_ppm=5), "mz") / flat(large(), "mz") - 1) * 1e6
    assert stats.kstest(errors / 5, "norm").pvalue > 0.01
    both = (flat(after(large(), mz_noise_ppm=5, mz_ppm=12), "mz") / flat(large(), "mz") - 1) * 1e6
    np.testing.assert_allclose(both - errors, 12, rtol=1e-6)  # the same errors about another centre


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_of_lost_fragments_is_binomial(share):
    before, found = large(), after(large(), missing_fragments=share)
    lost = len(flat(before, "mz")) - len(flat(found, "mz"))
    assert stats.binomtest(lost, len(flat(before, "mz")), share).pvalue > 0.01
    of_spectrum = [100 - len(mz) for mz in found["mz"].to_pylist()]
    assert 0.8 < np.var(of_spectrum) / (100 * share * (1 - share)) < 1.25  # each peak by its own chance
    for old, new in zip(before.to_pylist(), found.to_pylist(), strict=True):
        kept = set(zip(new["mz"], new["intensity"], strict=True))
        assert kept <= set(zip(old["mz"], old["intensity"], strict=True))


def test_what_is_lost_at_one_share_is_lost_at_every_larger_one():
    left = [set(flat(after(large(), missing_fragments=share), "mz")) for share in (0, 0.1, 0.3, 0.5)]
    assert left[0] > left[1] > left[2] > left[3]


def test_a_tilted_response_is_one_at_100_and_the_factor_at_1500():
    peaks = [(100, 8.0), (800, 8.0), (1500, 8.0)]
    row = {"sample_id": "a", "spectrum_id": "1", "precursor_mz": 1500.0, "precursor_intensity": 10.0, "peaks": peaks}
    found = after(table_of([row]), intensity_tilt=0.25)
    np.testing.assert_allclose(flat(found, "intensity"), [8, 4, 2])
    np.testing.assert_allclose(found["precursor_intensity"].to_numpy(), 2.5)
    log = np.log(flat(after(large(), intensity_tilt=3, intensity_scale=2), "intensity") / flat(large(), "intensity"))
    expected = np.log(2) + np.log(3) * (flat(large(), "mz") - 100) / 1400
    np.testing.assert_allclose(log, expected, atol=1e-6)


def test_absent_values_stay_absent():
    before = table_of([{"sample_id": "a", "spectrum_id": "1", "precursor_mz": 200.0, "peaks": [(100, 1)]}])
    found = after(before, intensity_scale=3, retention_seconds=60)
    assert found["precursor_intensity"].null_count == found["rt_seconds"].null_count == 1


def test_an_intensity_beyond_float32_is_refused_by_the_runs_name():
    row = {"sample_id": "a", "spectrum_id": "1", "precursor_mz": 200.0, "peaks": [(100, 3e38)]}
    with pytest.raises(RunError, match="range") as error:
        after(table_of([row]), intensity_scale=10)
    assert error.value.path == "run.mgf"


@pytest.mark.parametrize(
    ("option", "value"),
    [("missing_fragments", 1), ("missing_fragments", -0.1), ("intensity_scale", 0), ("retention_seconds", -1)],
)
def test_impossible_levels_are_refused(option, value):
    with pytest.raises(UsageError, match=option):
        Drift.checked({option: value}, source="test")


# --- random, but only of seed and name -------------------------------------------------------------------------------


def test_what_is_random_depends_on_seed_and_name_alone():
    def of(drift: Drift, name: str = "run") -> pa.Table:
        return drifted(large(), drift, sample_id=name, path="")

    first = of(RANDOM)
    of(RANDOM, "another run in between")
    assert of(RANDOM).equals(first)
    assert not of(RANDOM, "other").equals(first)
    assert not of(RANDOM.model_copy(update={"seed": 1})).equals(first)
    kept = set(flat(of(Drift(missing_fragments=0.3)), "intensity"))
    assert kept == set(flat(first, "intensity"))  # errors in m/z do not move the losses


# --- lists of every shape --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, max_size=5), st.floats(0, 0.99), st.integers(1, 3))
def test_lists_of_any_length_and_chunks_keep_their_rows(described, share, chunks):
    whole = table_of(described)
    step = -(-len(whole) // chunks) or 1
    table = pa.concat_tables([whole.slice(start, step) for start in range(0, max(len(whole), 1), step)])
    found = after(table, missing_fragments=share, mz_ppm=1, intensity_scale=2)
    assert found.equals(after(whole, missing_fragments=share, mz_ppm=1, intensity_scale=2))
    for old, new in zip(described, found.to_pylist(), strict=True):
        expected = [(mz * (1 + 1e-6), np.float32(height) * 2) for mz, height in old["peaks"]]
        peaks = list(zip(new["mz"], new["intensity"], strict=True))
        left = iter(expected)
        assert all(peak in left for peak in peaks)  # a part of them, in order
        assert share or peaks == expected


@settings(max_examples=80, deadline=None)
@given(st.lists(rows, min_size=1, max_size=5))
def test_an_mgf_gives_the_same_table_back(tmp_path_factory, described):
    table = table_of(described)
    path = tmp_path_factory.mktemp("mgf") / "run.mgf"
    path.write_bytes(mgf_bytes(table, title="of = a test", comment="# first = line"))
    assert name_sample(read_mgf(str(path)), "run").combine_chunks().equals(table)


def test_an_mgf_keeps_charges_and_an_intensity_of_zero_present(tmp_path):
    row = {"sample_id": "a", "spectrum_id": "7", "precursor_mz": 200.5, "peaks": []}
    table = table_of([{**row, "charge": 2, "polarity": "positive", "precursor_intensity": 0.0},
                      {**row, "charge": -1, "polarity": "negative", "precursor_intensity": 5.0}])  # fmt: skip
    (tmp_path / "a.mgf").write_bytes(mgf_bytes(table, title="a\nBEGIN IONS", comment="two\nlines"))
    found = read_mgf(str(tmp_path / "a.mgf"))
    assert found["charge"].to_pylist() == [2, -1]
    assert found["polarity"].to_pylist() == ["positive", "negative"]
    zero, five = found["precursor_intensity"].to_pylist()
    assert 0 < zero < 1e-299
    assert five == 5


# --- what an image can see -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(shared, tmp_path_factory) -> list[tuple[object, RunSpectra]]:
    """Real runs of two instruments (MGF, and columns of an aligned table) and simulated ones, with their spectra."""
    study = tmp_path_factory.mktemp("study")
    write_study(study, SimulationConfig(accessions=2, replicates=1))
    chosen = []
    for sheet, first in ((shared / "data/qemistree/samples.csv", 40), (shared / "data/qemistree/fbmn/samples.csv", 40),
                         (study / "samples.csv", 2)):  # fmt: skip
        chosen += Sheet.read(sheet).runs[first : first + 2]
    found = [(run, spectra) for run, spectra in read_runs(chosen) if isinstance(spectra, RunSpectra)]
    assert len(found) == len(chosen)
    return found


def image(spectra: RunSpectra) -> np.ndarray:
    return image_row(run_of(Path("run.mgf")), spectra, RENDER, source_fingerprint="")["image"]


def changed(spectra: RunSpectra, **options: float) -> RunSpectra:
    return replace(spectra, table=after(spectra.table, **options))


def test_a_copy_without_drift_gives_the_same_points_and_image(runs, tmp_path):
    for run, spectra in runs:
        path = tmp_path / "copy.mgf"
        path.write_bytes(mgf_bytes(after(spectra.table), title="SIMULATED", comment="SIMULATED"))
        copied = next(iter(read_runs([replace(run, path=str(path), quant_path=None, column=None)])))[1]
        row, again = (image_row(run, each, RENDER, source_fingerprint="") for each in (spectra, copied))
        np.testing.assert_array_equal(row.pop("image"), again.pop("image"))
        assert {**row, "ms2_source": ""} == {**again, "ms2_source": ""}  # a copy no longer says that it was aligned
        points, others = (points_from_spectra(each.table, RENDER, path="") for each in (spectra, copied))
        for name in ("precursor_mz", "fragment_mz", "size", "grey"):
            np.testing.assert_array_equal(getattr(points, name), getattr(others, name))


@pytest.mark.parametrize("options", [{"retention_seconds": 120.0}, {"intensity_scale": 4.0}, {"intensity_scale": 0.5}])
def test_what_is_called_inert_does_not_move_a_pixel(runs, options):
    for _, spectra in runs:
        np.testing.assert_array_equal(image(changed(spectra, **options)), image(spectra))


def test_a_scale_that_rounds_moves_no_pixel_by_more_than_a_level(runs):
    for _, spectra in runs:
        difference = image(changed(spectra, intensity_scale=0.3)).astype(int) - image(spectra)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    "options", [{"mz_da": 0.02}, {"mz_ppm": 20.0}, {"intensity_tilt": 0.3}, {"missing_fragments": 0.3}]
)
def test_the_other_perturbations_are_seen(runs, options):
    assert any((image(changed(spectra, **options)) != image(spectra)).any() for _, spectra in runs)
