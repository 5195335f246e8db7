"""``ms2img features`` as a user runs it: real runs, bad runs, other tables, and what a kill leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conversions import finish, running, staged, strike, wait_for
from features_inputs import as_features, in_rows, prepared
from mgf_files import slow, spectrum

from bench.features_brute import Feature, merge
from ms2img.errors import UsageError
from ms2img.io.dataset.features import load_features
from ms2img.io.dataset.manifest import MANIFEST_NAME
from ms2img.io.read import read_run
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.extract import extract
from ms2img.ms2toimg.features.onto import match_onto
from ms2img.ms2toimg.features.similarity import spectrum_similarity
from ms2img.ms2toimg.render_config import RenderOptions
from pipelines import cli
from pipelines.features import FeaturesConfig, features

REAL = ["QEC18_F1-1_F2-1", "QEC18_F1-1_NIST-3", "QEC18_F1-1_To-3"]
MANY = 24  # runs of the job that is killed: more than it reads before the kill


def sheet_of(folder: Path, files: dict[str, object], **columns: object) -> Path:
    sheet = folder / "samples.csv"
    pd.DataFrame({"sample_id": list(files), "path": [str(path) for path in files.values()], **columns}).to_csv(
        sheet, index=False
    )
    return sheet


def content(out: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}


def test_the_cut_is_that_of_the_images():
    options = RenderOptions()
    ours = FeatureOptions()
    assert ours.intensity_cut == options.intensity_cut
    assert ours.missing_precursor_intensity == options.missing_precursor_intensity


@pytest.mark.ray
@pytest.mark.parametrize("similarity", ["cosine", "entropy"])
def test_real_runs_on_ray_give_the_table_of_brute_force(shared, tmp_path, ray_session, similarity):
    paths = {name: shared / f"data/qemistree/mgf/{name}.mgf" for name in REAL}
    sheet = sheet_of(tmp_path, paths)
    out = tmp_path / "out"
    assert cli.main(["features", str(sheet), str(out), "--similarity", similarity, "--quiet"]) == 0
    table = load_features(out)

    how = spectrum_similarity(similarity, 0.02)
    merged, n_spectra = [], 0
    for run in Sheet.read(sheet).runs:
        raw = as_features(extract(read_run(run).table, FeatureOptions(), path=run.path)[0])
        n_spectra += len(raw)
        for entry in merge(prepared(raw, how), 0.01, 60.0, how.compare, one_a_sample=False):
            one = entry.founder
            merged.append(Feature(one.sample, one.spectrum, one.mz, one.rt, entry.height, one.peaks))
    expected = in_rows(merge(merged, 0.01, 60.0, how.compare, one_a_sample=True))

    assert table.sample_ids == tuple(sorted(REAL))
    assert table.precursor_mz.tolist() == [founder.mz for founder, _ in expected]
    assert table.rt_seconds.tolist() == [founder.rt for founder, _ in expected]
    wanted = [[own.get(sample, 0.0) for _, own in expected] for sample in table.sample_ids]
    np.testing.assert_allclose(table.heights, wanted, rtol=1e-12)
    assert len(set(table.feature_ids)) == len(table.feature_ids) < len(merged) < n_spectra
    counts = table.about["counts"]
    assert counts["sample_features"] == len(merged) == np.count_nonzero(table.heights)
    assert counts["spectra"] - counts["without_msms"] - counts["below_cut"] == n_spectra
    assert all(len(row["mz"]) == len(row["intensity"]) > 0 for row in table.spectra.to_pylist())

    frame = pd.read_parquet(out / "features.parquet")  # as anyone else reads it
    assert list(frame.columns) == ["feature_id", "precursor_mz", "rt_seconds", "mz", "intensity", *table.sample_ids]
    np.testing.assert_array_equal(frame[list(table.sample_ids)].to_numpy().T, table.heights)


@pytest.mark.ray
def test_again_does_nothing_and_a_changed_sheet_is_brought_up_to_date(shared, tmp_path, ray_session):
    paths = {name: shared / f"data/qemistree/mgf/{name}.mgf" for name in REAL}
    sheet = sheet_of(tmp_path, paths)
    out = tmp_path / "out"
    config = FeaturesConfig(samples=str(sheet), out=str(out))
    assert features(config, quiet=True).read == len(REAL)
    before = content(out)
    again = features(config, quiet=True)
    assert (again.read, again.samples) == (0, len(REAL))
    assert content(out) == before
    (out / "features.parquet").write_bytes(b"half of it")
    assert features(config, quiet=True).read == 0  # made again, of what is staged
    assert {name: now[1] for name, now in content(out).items()} == {name: old[1] for name, old in before.items()}

    old = load_features(out)
    sheet_of(tmp_path, dict(list(paths.items())[:2]))
    assert features(config, quiet=True).samples == 2
    new = load_features(out)
    assert new.sample_ids == tuple(sorted(REAL[:2]))
    assert new.fingerprint != old.fingerprint
    assert new.heights.sum(axis=1) == pytest.approx(old.heights[old.rows_of(new.sample_ids)].sum(axis=1))
    assert_nothing_is_staged_but(out, REAL[:2])


def assert_nothing_is_staged_but(out: Path, sample_ids: list[str]) -> None:
    found = [set(pq.read_table(path)["sample_id"].to_pylist()) for path in staged(out)]
    assert all(samples & set(sample_ids) for samples in found)
    assert set(sample_ids) <= set().union(*found)


@pytest.mark.ray
def test_a_sample_more_or_a_touched_file_is_all_that_is_read(tmp_path, ray_session):
    for number in range(3):
        (tmp_path / f"{number}.mgf").write_text(spectrum(300.0 + number, [(120.5, 3.0)]))
    out = tmp_path / "out"
    config = FeaturesConfig(samples=str(tmp_path / "samples.csv"), out=str(out))
    sheet_of(tmp_path, {f"S{n}": f"{n}.mgf" for n in range(2)})
    assert features(config, quiet=True).read == 2
    sheet_of(tmp_path, {f"S{n}": f"{n}.mgf" for n in range(3)})
    assert features(config, quiet=True).read == 1
    (tmp_path / "1.mgf").touch()  # staged by the first job, beside another sample's
    assert features(config, quiet=True).read == 1
    again = features(config, quiet=True)
    assert (again.read, again.samples) == (0, 3)
    (tmp_path / "1.mgf").write_text(spectrum(400.0, [(120.5, 3.0)]))
    assert features(config, quiet=True).read == 1
    assert load_features(out).precursor_mz.tolist() == [300.0, 302.0, 400.0]
    assert features(config, quiet=True).read == 0
    assert_nothing_is_staged_but(out, ["S0", "S1", "S2"])


@pytest.mark.ray
def test_the_papers_sigma_is_the_standard_deviation_over_the_study(shared, tmp_path, ray_session):
    paths = {name: shared / f"data/qemistree/mgf/{name}.mgf" for name in REAL[:2]}
    sheet = sheet_of(tmp_path, paths)
    paper = features(FeaturesConfig(samples=str(sheet), out=str(tmp_path / "paper"), sigma_mz="paper"), quiet=True)
    options = FeatureOptions()
    raw = [extract(read_run(run).table, options, path=run.path)[0] for run in Sheet.read(sheet).runs]
    sigma = np.std(np.concatenate([table["precursor_mz"].to_numpy() for table in raw]))
    assert paper.about["sigma_mz_da"] == pytest.approx(sigma)

    same = features(
        FeaturesConfig(samples=str(sheet), out=str(tmp_path / "same"), sigma_mz=repr(float(sigma))), quiet=True
    )
    assert same.features == paper.features
    first, second = load_features(tmp_path / "paper"), load_features(tmp_path / "same")
    np.testing.assert_array_equal(first.heights, second.heights)


@pytest.mark.ray
def test_onto_a_table_new_runs_get_its_columns_as_the_library_places_them(shared, tmp_path, ray_session):
    paths = {name: shared / f"data/qemistree/mgf/{name}.mgf" for name in REAL}
    first = sheet_of(tmp_path, dict(list(paths.items())[:2]))
    features(FeaturesConfig(samples=str(first), out=str(tmp_path / "table"), similarity="entropy"), quiet=True)
    table = load_features(tmp_path / "table")
    sheet = sheet_of(tmp_path, dict(list(paths.items())[1:]))
    onto = FeaturesConfig(samples=str(sheet), out=str(tmp_path / "out"), onto=str(tmp_path / "table"))
    summary = features(onto, quiet=True)
    placed = load_features(tmp_path / "out")

    assert placed.about["similarity"] == "entropy"  # the table's, though the default is cosine
    assert placed.feature_ids == table.feature_ids
    assert placed.spectra.equals(table.spectra)
    for run in Sheet.read(sheet).runs:
        row = match_onto(table, read_run(run).table, path=run.path)
        np.testing.assert_array_equal(placed.heights[placed.rows_of([run.sample_id])[0]], row)
    known, new = placed.rows_of([REAL[1], REAL[2]])
    before = table.heights[table.rows_of([REAL[1]])[0]]
    assert np.mean((placed.heights[known] > 0) == (before > 0)) > 0.9  # a run that is in the table finds itself
    assert 0 < np.count_nonzero(placed.heights[new]) < len(table.feature_ids)
    counts = summary.about["counts"]
    assert counts["unmatched"] == counts["sample_features"] - np.count_nonzero(placed.heights) > 0
    again = ["features", str(sheet), str(tmp_path / "out"), "--onto", str(tmp_path / "table"), "--quiet"]
    assert cli.main([*again, "--config", str(tmp_path / "out/config.yaml")]) == 0


@pytest.mark.ray
def test_onto_a_table_files_are_read_as_asked_and_compared_as_the_table_was_made(shared, tmp_path, ray_session, capsys):
    both = (tmp_path / "both.mgf").write_text
    first, second = (spectrum(mz, [(120.5, 3.0)]) for mz in (300.0, 500.0))
    both(first.replace("MSLEVEL", "IONMODE=Positive\nMSLEVEL") + second.replace("MSLEVEL", "IONMODE=Negative\nMSLEVEL"))
    (tmp_path / "plain.mgf").write_text(first + second)
    table, arguments = str(tmp_path / "table"), ["--intensity-cut", "0.001", "--quiet"]
    assert cli.main(["features", str(sheet_of(tmp_path, {"plain": "plain.mgf"})), table, *arguments]) == 0
    sheet = str(sheet_of(tmp_path, {"both": "both.mgf"}))
    for polarity, heights in (("positive", [1000.0, 0.0]), ("negative", [0.0, 1000.0])):
        out = tmp_path / polarity
        assert cli.main(["features", sheet, str(out), "--onto", table, "--polarity", polarity, "--quiet"]) == 0
        placed = load_features(out)
        assert placed.heights.tolist() == [heights]
        assert placed.about["config"]["intensity_cut"] == 0.001  # the table's: not the default

    capsys.readouterr()
    for given in (["--similarity", "entropy"], ["--intensity-cut", "1e-4"], ["--sigma-mz", "0.02"]):
        assert cli.main(["features", sheet, str(tmp_path / "none"), "--onto", table, *given]) == 2
        name = given[0][2:].replace("-", "_")
        (line,) = capsys.readouterr().err.splitlines()
        assert f"the feature table was made with {name}=" in line
    assert not (tmp_path / "none").exists()


@pytest.mark.ray
def test_the_papers_sigma_of_equal_precursors_is_refused_in_one_line(tmp_path, ray_session, capsys):
    for number in range(2):
        (tmp_path / f"{number}.mgf").write_text(spectrum(300.1, [(120.5, 3.0)]))
    sheet, out = sheet_of(tmp_path, {f"S{n}": f"{n}.mgf" for n in range(2)}), tmp_path / "out"
    assert cli.main(["features", str(sheet), str(out), "--sigma-mz", "paper", "--quiet"]) == 2
    assert "all 2 features have precursor m/z 300.1, whose standard deviation is 0; give a number" in (
        capsys.readouterr().err
    )
    assert cli.main(["features", str(sheet), str(out), "--quiet"]) == 0
    assert load_features(out).heights.tolist() == [[1000.0], [1000.0]]


@pytest.mark.ray
def test_bad_runs_are_named_counted_and_not_tried_again(tmp_path, ray_session, capsys):
    (tmp_path / "good.mgf").write_text(spectrum(300.0, [(120.5, 3.0), (290.0, 9.0)]))
    (tmp_path / "half.mgf").write_text(spectrum(300, [(120, 3)]).replace("END IONS\n", ""))
    (tmp_path / "bare.mgf").write_text(spectrum(300, []))
    names = ["good", "half", "bare", "gone"]
    sheet = sheet_of(tmp_path, {name: f"{name}.mgf" for name in names})
    out = tmp_path / "out"
    arguments = ["features", str(sheet), str(out), "--quiet", "--json"]
    assert cli.main(arguments) == 3
    assert json.loads(capsys.readouterr().out)["failed"] == 3
    errors = pq.read_table(out / "errors.parquet").to_pydict()
    assert dict(zip(errors["sample_id"], errors["code"], strict=True)) == {
        "bare": "no-msms",
        "gone": "not-found",
        "half": "truncated",
    }
    table = load_features(out)
    assert table.sample_ids == ("good",)
    assert table.heights.tolist() == [[1000.0]]

    assert cli.main([*arguments, "--max-failures", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["read"] == 0
    assert cli.main([*arguments, "--max-failures", "75%", "--retry-errors"]) == 0
    assert json.loads(capsys.readouterr().out)["read"] == 2  # the two that may be read; the good one is staged


@pytest.mark.ray
def test_blanks_and_other_kinds_are_columns_only_on_request(tmp_path, ray_session):
    for number in range(3):
        (tmp_path / f"{number}.mgf").write_text(spectrum(300.0 + number, [(120.5, 3.0)]))
    sheet = sheet_of(tmp_path, {f"S{n}": f"{n}.mgf" for n in range(3)}, kind=["sample", "blank", "qc"])
    features(FeaturesConfig(samples=str(sheet), out=str(tmp_path / "default")), quiet=True)
    assert load_features(tmp_path / "default").sample_ids == ("S0",)
    features(FeaturesConfig(samples=str(sheet), out=str(tmp_path / "more"), kinds="qc, sample"), quiet=True)
    assert load_features(tmp_path / "more").sample_ids == ("S0", "S2")


@pytest.mark.ray
@pytest.mark.slow  # half a minute; test_convert_kills.py kills the same kind of job
def test_a_killed_job_goes_on_from_what_is_staged(tmp_path, ray_session):
    for number in range(MANY):
        slow(tmp_path / f"{number:02}.mgf", spectra=200 + number, peaks=40)
    sheet = sheet_of(tmp_path, {f"S{n:02}": f"{n:02}.mgf" for n in range(MANY)})
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"

    with running(["features", str(sheet), str(out), "--quiet"], {}) as process:
        wait_for(lambda: staged(out), process, seconds=240)
        strike(process, "driver")
        finish(process)
    assert not (out / MANIFEST_NAME).exists()
    with pytest.raises(UsageError, match="no manifest"):
        load_features(out)
    kept = sum(len(set(pq.read_table(path)["sample_id"].to_pylist())) for path in staged(out))
    assert 0 < kept < MANY

    notices: list[str] = []
    summary = features(FeaturesConfig(samples=str(sheet), out=str(out)), quiet=True, notice=notices.append)
    assert "took over the lease" in notices[0]
    assert 0 < summary.read <= MANY - kept  # a worker may have outlived the driver for a moment
    features(FeaturesConfig(samples=str(sheet), out=str(undisturbed)), quiet=True)
    for name in ("features.parquet", MANIFEST_NAME):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes()
    kept_samples = [set(pq.read_table(path)["sample_id"].to_pylist()) for path in staged(out)]
    assert {sample for samples in kept_samples for sample in samples} == {f"S{n:02}" for n in range(MANY)}
