"""Points back to spectra, spectra to ranked pairs, and what the order of a file may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bundle_samples import make_bundle
from render_inputs import golden_spectra, table

from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.sheet import Run, Sheet
from ms2img.ms2toimg.bundle import load_bundle
from ms2img.ms2toimg.explain.deletion import probabilities_without
from ms2img.ms2toimg.explain.explanation import Explanation, explain_run
from ms2img.ms2toimg.explain.pairs import COLUMNS, join_pairs, rank_pairs
from ms2img.ms2toimg.explain.peaks import drawn_peaks, without_peaks
from ms2img.ms2toimg.points import Points, points_from_spectra
from ms2img.ms2toimg.predictor import Predictor
from ms2img.ms2toimg.render_config import RenderConfig

CONFIG = RenderConfig(height=75, width=70)
RUN = Run("run", "run.mgf", None, None, None, "sample", "run", None, None)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("model") / "bundle", seed=3))


def explained(spectra: pa.Table, predictor: Predictor) -> Explanation:
    return explain_run(RUN, RunSpectra(spectra, "own"), predictor)


def require_right_peaks(spectra: pa.Table, config: RenderConfig) -> int:
    """Each point's peak, looked up in the table, must give the point again."""
    points = points_from_spectra(spectra, config, path="x")
    peaks = drawn_peaks(spectra, points, config, path="x")
    mz, intensity = spectra["mz"].to_pylist(), spectra["intensity"].to_pylist()
    tolerance = np.inf if config.keep_above_precursor else config.precursor_tolerance
    precursor = spectra["precursor_mz"].to_pylist()
    for i, (row, peak) in enumerate(zip(peaks.row.tolist(), peaks.peak.tolist(), strict=True)):
        possible = [
            value for at, value in zip(mz[row], intensity[row], strict=True) if at <= precursor[row] + tolerance
        ]
        assert (precursor[row], mz[row][peak]) == (points.precursor_mz[i], points.fragment_mz[i])
        assert intensity[row][peak] / max(possible) == pytest.approx(points.grey[i], rel=1e-6)
    assert len(set(zip(peaks.row.tolist(), peaks.peak.tolist(), strict=True))) == points.n_fragments
    return points.n_fragments


@pytest.mark.parametrize("changes", [{}, {"keep_above_precursor": True}, {"precursor_mz": (300.0, 800.0)}])
def test_each_point_is_traced_to_its_peak(changes: dict[str, object]) -> None:
    assert require_right_peaks(golden_spectra(), CONFIG.model_copy(update=changes)) > 500


def test_each_point_of_a_real_run_is_traced_to_its_peak(shared: Path) -> None:
    runs = Sheet.read(shared / "data/emi/samples.csv").runs[:2]
    for _, spectra in read_runs(list(runs)):
        assert isinstance(spectra, RunSpectra)
        assert require_right_peaks(spectra.table, CONFIG) > 20


def test_of_two_like_spectra_the_one_above_the_cut_is_named() -> None:
    peaks = [(100.0, 5.0), (150.0, 0.0), (200.0, 10.0), (990.0, 99.0)]
    spectra = table((400.0, 1.0, peaks), (400.0, 1e6, peaks), (500.0, 5e5, []))
    points = points_from_spectra(spectra, CONFIG, path="x")
    found = drawn_peaks(spectra, points, CONFIG, path="x")
    assert found.row.tolist() == [1, 1]
    assert found.peak.tolist() == [0, 2]
    lighter = without_peaks(spectra, found.row[:1], found.peak[:1])
    assert lighter["intensity"].to_pylist() == [[5, 0, 10, 99], [0, 0, 10, 99], []]
    assert points_from_spectra(lighter, CONFIG, path="x").fragment_mz.tolist() == [200.0]


def test_pairs_are_joined_ranked_and_told_as_the_strongest_spectrum_has_them() -> None:
    spectra = table(
        (400.000, 1e5, [(100.00, 3.0), (200.000, 10.0)]),
        (400.015, 4e5, [(200.012, 8.0), (250.0, 2.0)]),  # the ion again, stronger
        (400.300, 1e5, [(200.000, 5.0)]),  # another
    )
    points = points_from_spectra(spectra, CONFIG, path="x")
    peaks = drawn_peaks(spectra, points, CONFIG, path="x")
    given = np.array([-0.5, 0.25, 0.5, 0.125, 0.25])
    pair = join_pairs(points, 0.02)
    assert pair.tolist() == [0, 1, 1, 2, 3]
    ranked, place = rank_pairs(spectra, points, peaks, given, pair=pair, active=True)
    assert tuple(ranked.columns) == COLUMNS
    assert ranked["rank"].tolist() == [1, 2, 3, 4]
    assert ranked["precursor_mz"].tolist() == [400.015, 400.3, 400.015, 400.0]
    assert ranked["fragment_mz"].tolist() == [200.012, 200.0, 250.0, 100.0]
    assert ranked["attribution"].tolist() == [0.75, 0.25, 0.125, -0.5]
    assert ranked["share"].tolist() == pytest.approx([0.75 / 1.625, 0.25 / 1.625, 0.125 / 1.625, -0.5 / 1.625])
    assert ranked["n_spectra"].tolist() == [2, 1, 1, 1]
    assert ranked["spectrum_id"].tolist() == ["s1", "s2", "s1", "s0"]
    assert ranked["fragment_intensity"].tolist() == [8.0, 5.0, 2.0, 3.0]
    assert ranked["rt_seconds"].isna().all()
    assert place.tolist() == [3, 0, 0, 2, 1]
    against, _ = rank_pairs(spectra, points, peaks, given, pair=pair, active=False)
    assert against["attribution"].tolist() == [-0.5, 0.125, 0.25, 0.75]
    assert join_pairs(points, 0.0).tolist() == [0, 1, 2, 3, 4]


def by_brute_force(points: Points, tolerance: float) -> list[int]:
    """Greedy from the lowest m/z on, precursors first, one point after the other."""

    def parts(places: list[int], mz: np.ndarray) -> list[list[int]]:
        made: list[list[int]] = []
        for place in sorted(places, key=lambda each: mz[each]):
            if not made or mz[place] - mz[made[-1][0]] > tolerance:
                made.append([])
            made[-1].append(place)
        return made

    pairs = [
        pair
        for precursor in parts(list(range(points.n_fragments)), points.precursor_mz)
        for pair in parts(precursor, points.fragment_mz)
    ]
    return [next(number for number, pair in enumerate(pairs) if i in pair) for i in range(points.n_fragments)]


@pytest.mark.parametrize("tolerance", [0.0, 0.005, 0.02])
def test_a_pair_spans_no_more_than_the_tolerance_however_dense_the_run(tolerance: float) -> None:
    rng = np.random.default_rng(4)
    spectra = table(
        *(
            (
                400 + float(rng.integers(60)) / 200,
                1e5,
                [(200 + float(at) / 200, 5.0) for at in sorted(rng.choice(60, 9))],
            )
            for _ in range(40)
        )
    )
    points = points_from_spectra(spectra, CONFIG, path="x")
    pair = join_pairs(points, tolerance)
    assert pair.tolist() == by_brute_force(points, tolerance)
    for mz in (points.precursor_mz, points.fragment_mz):
        assert max(np.ptp(mz[pair == number]) for number in np.unique(pair)) <= tolerance
    shuffled = rng.permutation(points.n_fragments)
    names = ("precursor_mz", "fragment_mz", "size", "grey")
    again = join_pairs(replace(points, **{name: getattr(points, name)[shuffled] for name in names}), tolerance)
    assert again.tolist() == pair[shuffled].tolist()
    given = rng.normal(size=points.n_fragments)
    peaks = drawn_peaks(spectra, points, CONFIG, path="x")
    ranked, place = rank_pairs(spectra, points, peaks, given, pair=pair, active=True)
    assert ranked["attribution"].sum() == pytest.approx(given.sum())
    np.testing.assert_allclose(ranked["attribution"], np.bincount(place, weights=given))


def test_pairs_and_rest_add_up_to_the_logits_and_the_logit_to_the_probability(predictor: Predictor) -> None:
    found = explained(golden_spectra(), predictor)
    logits = found.attribution
    total = found.pairs["attribution"].sum() + found.rest
    assert total == pytest.approx(logits.logit - logits.black_logit, abs=1e-12)
    assert abs(found.rest) <= max(0.01 * abs(logits.logit - logits.black_logit), 1e-3)
    assert abs(logits.logit - logits.black_logit) > 0.005
    assert found.pairs["attribution"].sum() == pytest.approx(logits.pixels.sum(), abs=1e-12)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-logits.logit)), abs=1e-6)
    assert np.abs(found.pairs["share"]).sum() == pytest.approx(1)
    order = found.pairs["attribution"].to_numpy() * (1 if found.label == "active" else -1)
    assert (np.diff(order) <= 0).all()


def test_the_order_of_spectra_plays_no_part_where_discs_lie_apart(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    spectra = table(
        *(
            (150.0 + 60 * column, float(rng.uniform(1e4, 1e6)), [(100.0 + 50 * k, float(rng.uniform(1, 9)))])
            for column in range(20)
            for k in range(0, column, 2)
        )
    )
    shuffled = spectra.take(pa.array(rng.permutation(spectra.num_rows)))
    found, again = explained(spectra, predictor), explained(shuffled, predictor)
    pd.testing.assert_frame_equal(found.pairs, again.pairs, check_exact=False, rtol=1e-9)
    assert len(found.pairs) > 50


def test_where_discs_overlap_the_order_decides_who_is_seen_but_joined_pairs_stay_whole(predictor: Predictor) -> None:
    """Two scans of one ion: either may cover the other, and the pair has what both have."""
    scans = table(
        (500.0, 9e5, [(300.0, 5.0)]), (500.001, 9e5, [(300.001, 7.0)]), (900.0, 1e6, [(300.0, 7.0), (600.0, 2.0)])
    )
    turned = scans.take(pa.array([1, 0, 2]))
    for spectra, seen in ((scans, "s1"), (turned, "s0")):
        found = explained(spectra, predictor)
        light = found.cover.brightness()
        by_row = {spectra["spectrum_id"][int(row)].as_py(): light[found.peaks.row == row].sum() for row in (0, 1)}
        assert by_row[seen] > 100 * by_row["s0" if seen == "s1" else "s1"]
    found, again = (explained(each, predictor).pairs for each in (scans, turned))
    pd.testing.assert_frame_equal(
        found.drop(columns=["attribution", "share"]), again.drop(columns=["attribution", "share"])
    )
    assert found["attribution"].to_numpy() == pytest.approx(again["attribution"].to_numpy(), rel=0.02, abs=1e-7)


def test_deleting_pairs_scores_the_run_without_them(predictor: Predictor) -> None:
    spectra = golden_spectra()
    found = explained(spectra, predictor)
    order = np.arange(len(found.pairs))
    curve = probabilities_without(found, spectra, predictor, order, [0, 7, len(order)])
    black = 1 / (1 + np.exp(-found.attribution.black_logit))
    assert curve[0] == found.probability
    assert curve[2] == pytest.approx(black)
    gone = np.isin(found.pair_of_point, order[:7])
    lighter = without_peaks(spectra, found.peaks.row[gone], found.peaks.peak[gone])
    [rescaled] = probabilities_without(found, spectra, predictor, order, [7], greys="rescaled")
    assert rescaled == explained(lighter, predictor).probability
    assert probabilities_without(found, spectra, predictor, order, [len(order)], greys="rescaled")[0] == curve[2]
    toward = curve[1] - curve[0]
    assert (toward < 0) == (found.label == "active")
