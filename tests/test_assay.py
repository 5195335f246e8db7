"""Assay values: against scipy, pandas and published tables, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import INTERCEPT, LEVELS, SLOPE, many, plate, write_tidy
from scipy import stats

from ms2img.errors import UsageError
from ms2img.ms2toimg.assay.curve import fit_curve
from ms2img.ms2toimg.assay.options import AssayOptions
from ms2img.ms2toimg.assay.outliers import DIXON_95, ROBUST_Z, dixon_q, find_outliers, pooled_sd
from ms2img.ms2toimg.assay.plate_file import read_plates
from ms2img.ms2toimg.assay.values import Evaluation, evaluate

AS_IT_IS = AssayOptions()
LEVEL = np.repeat(np.array(LEVELS, float), 3)


def of(tmp_path, *tables: pd.DataFrame, **options: object) -> Evaluation:
    path = str(write_tidy(tmp_path / "plate.csv", *tables))
    return evaluate(read_plates(path)[0], AssayOptions(**options), path=path)


# --- the paper's arithmetic ------------------------------------------------------------------------------------------


def test_values_are_those_of_pandas_and_scipy(tmp_path):
    tables = [plate(many(20), name=name, blank=blank, noise=0.008, seed=seed)
              for seed, (name, blank) in enumerate((("P1", 0.71), ("P2", 0.62)))]  # fmt: skip
    tables[1]["accession"] = tables[1]["accession"].str.replace("GS00", "HS00")  # some on both plates, some on one
    found = of(tmp_path, *tables)

    whole = pd.concat(tables, ignore_index=True)
    blank = whole[whole["kind"] == "blank"].groupby("plate")["od"].mean()
    whole["scavenging"] = 100 - whole["od"] / whole["plate"].map(blank) * 100
    for name, wells in whole[whole["kind"] == "standard"].groupby("plate"):
        line = stats.linregress(wells["concentration"], wells["scavenging"])
        row = found.plates.set_index("plate").loc[name]
        np.testing.assert_allclose(
            [row["slope"], row["intercept"], row["r2"]], [line.slope, line.intercept, line.rvalue**2], rtol=1e-10
        )
        residual = wells["scavenging"] - line.intercept - line.slope * wells["concentration"]
        assert row["residual_sd"] == pytest.approx(math.sqrt((residual**2).sum() / (len(wells) - 2)))
        ours = found.wells[(found.wells["plate"] == name) & found.wells["in_curve"]]
        np.testing.assert_allclose(ours["residual"], residual, atol=1e-9)
        assert (row["low"], row["high"], row["n"], row["levels"], row["linear"]) == (20, 160, 24, 8, True)
        whole.loc[whole["plate"] == name, "equivalents"] = (whole["scavenging"] - line.intercept) / line.slope
    samples = whole[whole["kind"] == "sample"].groupby("accession")
    expected = samples["scavenging"].agg(["mean", "std", "count"])
    assert list(found.values["accession"]) == list(expected.index)
    np.testing.assert_allclose(found.values[["value", "sd", "n"]], expected, rtol=1e-10)
    np.testing.assert_allclose(found.values["cv"], expected["std"] / expected["mean"] * 100, rtol=1e-10)
    np.testing.assert_allclose(found.values["equivalents"], samples["equivalents"].mean(), rtol=1e-9)
    np.testing.assert_allclose(found.values["equivalents_sd"], samples["equivalents"].std(), rtol=1e-9)
    assert set(found.values["n"]) == {3, 6}


def test_the_formula_by_hand(tmp_path):
    rows = [
        ("A1", "blank", "", 0.70),
        ("A2", "blank", "", 0.72),
        ("B1", "sample", "a", 0.355),
        ("B2", "sample", "b", 0.9),
    ]
    found = of(tmp_path, pd.DataFrame(rows, columns=["well", "kind", "accession", "od"]))
    assert found.values["value"].tolist() == pytest.approx([50.0, -190 / 7.1])
    assert found.values["flags"].tolist() == ["few-replicates", "few-replicates negative"]
    assert found.values[["sd", "cv", "equivalents"]].isna().all(axis=None)
    assert found.plates["slope"].isna().all()


def test_a_samples_own_colour_is_taken_off_on_its_plate_only(tmp_path):
    rows = [("1", "A1", "blank", "", 0.8), ("1", "B1", "sample", "red", 0.5), ("1", "B2", "sample", "pale", 0.5),
            ("1", "C1", "sample-blank", "red", 0.05), ("1", "C2", "sample-blank", "red", 0.15),
            ("2", "A1", "blank", "", 0.4), ("2", "B1", "sample", "red", 0.1)]  # fmt: skip
    found = of(tmp_path, pd.DataFrame(rows, columns=["plate", "well", "kind", "accession", "od"]))
    value = found.values.set_index("accession")["value"]
    assert value["pale"] == pytest.approx(37.5)
    assert value["red"] == pytest.approx((50 + 75) / 2)  # (0.8 - 0.4) / 0.8, and (0.4 - 0.1) / 0.4


def test_equivalents_say_how_many_replicates_they_are_of(tmp_path):
    with_standards, without = plate({"a": 50.0}, name="P1"), plate({"a": 30.0, "b": 40.0}, name="P2")
    found = of(tmp_path, with_standards, without[without["kind"] != "standard"]).values.set_index("accession")
    assert found[["n", "equivalents_n"]].to_numpy().tolist() == [[6, 3], [3, 0]]
    assert found.loc["a", "equivalents"] == pytest.approx((50 - INTERCEPT) / SLOPE, rel=1e-3)
    assert np.isnan(found.loc["b", "equivalents"])


def test_controls_are_told_apart_from_samples(tmp_path):
    table = plate(many(2))
    table.loc[table["accession"] == "GS002", "kind"] = "control"
    found = of(tmp_path, table)
    assert list(zip(found.values["accession"], found.values["kind"], strict=True)) == [
        ("GS001", "sample"), ("GS002", "control")
    ]  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(factor=st.floats(0.2, 4), noise=st.floats(0, 0.03), seed=st.integers(0, 99))
def test_one_factor_on_every_od_changes_nothing(tmp_path_factory, factor, noise, seed):
    table = plate(many(5, seed), noise=noise, seed=seed)
    table["od"] = table["od"].clip(lower=0)
    folder = tmp_path_factory.mktemp("plate")
    before, after = of(folder, table), of(folder, table.assign(od=table["od"] * factor))
    for column in ("value", "sd", "cv", "equivalents", "n"):
        np.testing.assert_allclose(before.values[column], after.values[column], rtol=1e-6, atol=1e-8)
    assert list(before.values["flags"]) == list(after.values["flags"])


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_order_of_the_wells_changes_nothing(tmp_path_factory, seed):
    table = plate(many(12), noise=0.02, seed=seed)
    folder = tmp_path_factory.mktemp("plate")
    before, after = of(folder, table), of(folder, table.sample(frac=1, random_state=seed))
    pd.testing.assert_frame_equal(before.values, after.values, rtol=1e-9)


# --- the standard curve ----------------------------------------------------------------------------------------------


def test_equivalents_are_the_inverse_of_the_line_and_flagged_outside_it(tmp_path):
    inside = {"low": SLOPE * 30 + INTERCEPT, "high": SLOPE * 150 + INTERCEPT}
    outside = {"under": SLOPE * 10 + INTERCEPT, "over": SLOPE * 175 + INTERCEPT}
    found = of(tmp_path, plate({**inside, **outside}, blank=1.0)).values.set_index("accession")
    np.testing.assert_allclose(
        found.loc[["low", "high", "under", "over"], "equivalents"], [30, 150, 10, 175], rtol=1e-6
    )
    assert found["flags"].to_dict() == {"low": "", "high": "", "under": "outside-curve", "over": "outside-curve"}


@pytest.mark.parametrize(("bend", "expected"), [(None, (20, 160)), (120, (20, 120)), (80, (20, 80))])
def test_the_linear_range_ends_where_the_response_does_not_rise_further(bend, expected):
    response = INTERCEPT + SLOPE * np.minimum(LEVEL, bend or 999) + np.tile([-0.3, 0.0, 0.3], 8)
    curve = fit_curve(LEVEL, response, AssayOptions(min_r2=0.995), where="")
    assert (curve.low, curve.high) == expected
    assert curve.linear
    chosen = (expected[0] <= LEVEL) & (expected[1] >= LEVEL)
    line = stats.linregress(LEVEL[chosen], response[chosen])
    assert (curve.slope, curve.r2) == pytest.approx((line.slope, line.rvalue**2))


def test_the_range_is_the_longest_that_is_straight_by_brute_force():
    rng = np.random.default_rng(2)
    for _ in range(20):
        response = 90 * (1 - np.exp(-LEVEL / 90)) + rng.normal(0, 1, len(LEVEL))
        curve = fit_curve(LEVEL, response, AssayOptions(min_r2=0.98), where="")
        runs = [(low, high) for low in LEVELS for high in LEVELS if LEVELS.index(high) - LEVELS.index(low) >= 3]
        straight = {}
        for low, high in runs:
            chosen = (low <= LEVEL) & (high >= LEVEL)
            r2 = stats.linregress(LEVEL[chosen], response[chosen]).rvalue ** 2
            if r2 >= 0.98:
                straight[low, high] = (LEVELS.index(high) - LEVELS.index(low), r2)
        expected = max(straight, key=straight.get) if straight else (20, 160)
        assert (curve.low, curve.high) == expected
        assert curve.linear == bool(straight)


def test_a_straight_fall_does_not_hide_a_rise():
    rise, fall = np.arange(4) * 20.0 + [0.0, 1.0, -1.0, 0.0], np.arange(1, 5) * -15.0
    response = np.repeat(np.concatenate([rise, rise[-1] + fall]), 3)
    curve = fit_curve(LEVEL, response, AssayOptions(), where="")
    assert (curve.low, curve.high, curve.linear) == (20, 80, True)
    line = stats.linregress(LEVEL[:12], response[:12])
    assert (curve.slope, curve.r2) == pytest.approx((line.slope, line.rvalue**2))


def test_a_given_range_is_taken_and_a_bent_curve_is_said_to_be_bent(tmp_path):
    response = 95 * (1 - np.exp(-LEVEL / 40))
    assert not fit_curve(LEVEL, response, AssayOptions(min_r2=0.999), where="").linear
    given_range = fit_curve(LEVEL, response, AssayOptions(linear_from=20, linear_to=80, min_r2=0.999), where="")
    assert (given_range.low, given_range.high, given_range.n) == (20, 80, 12)
    table = plate({"a": 40.0})
    standards = table["kind"] == "standard"
    table.loc[standards, "od"] = 0.7 * (1 - response / 100)
    found = of(tmp_path, table, min_r2=0.9999)
    assert "curve-not-linear" in found.values["flags"][0].split()


@pytest.mark.parametrize(
    ("response", "options", "message"),
    [
        (100 - SLOPE * LEVEL, AS_IT_IS, "plate P: scavenging does not rise"),
        (np.full(24, 50.0), AS_IT_IS, "does not rise"),
        (LEVEL, AssayOptions(linear_to=45), "standards of 2 concentrations from 0 to 45; expected 3"),
    ],
)
def test_standards_that_give_no_curve_are_refused(response, options, message):
    with pytest.raises(UsageError, match=message):
        fit_curve(LEVEL, response, options, where="plate P")


# --- outliers --------------------------------------------------------------------------------------------------------


def test_dixons_q_against_his_published_example():
    # Dean and Dixon's and Rorabacher's textbook case: Q = 0.455 of ten values, below the 95 % value of 0.466
    values = np.array([0.189, 0.167, 0.187, 0.183, 0.186, 0.182, 0.181, 0.184, 0.181, 0.177])
    assert dixon_q(values) == (pytest.approx(0.010 / 0.022), 1)
    assert find_outliers([values], "dixon") == ([None], "dixon")


@pytest.mark.parametrize("n", DIXON_95)
def test_critical_values_are_exceeded_by_one_sound_set_in_twenty(n):
    drawn = np.sort(np.random.default_rng(n).standard_normal((100_000, n)), axis=1)
    gaps = np.maximum(drawn[:, 1] - drawn[:, 0], drawn[:, -1] - drawn[:, -2])
    share = (gaps / (drawn[:, -1] - drawn[:, 0]) > DIXON_95[n]).mean()
    assert share == pytest.approx(0.05, abs=0.003)
    few = [find_outliers([values], "dixon")[0][0] is not None for values in drawn[:2000]]
    assert stats.binomtest(sum(few), 2000, 0.05).pvalue > 0.001


def test_the_pooled_sd_is_the_true_one_though_one_set_in_ten_holds_an_outlier():
    rng = np.random.default_rng(5)
    sets = list(3.0 * rng.standard_normal((4000, 3)))
    assert pooled_sd(sets) == pytest.approx(3.0, rel=0.03)
    for values in sets[:400]:
        values[0] += 100
    assert pooled_sd(sets) == pytest.approx(3.0, rel=0.03)


def test_the_pooled_test_names_sound_values_as_rarely_as_its_z_says():
    sets = list(np.random.default_rng(6).standard_normal((20_000, 3)) + 50)
    named = sum(place is not None for place in find_outliers(sets, "pooled")[0])
    assert stats.binomtest(named, 60_000, 2 * stats.norm.sf(ROBUST_Z)).pvalue > 0.001


@pytest.mark.parametrize(("n_sets", "test"), [(9, "dixon"), (10, "pooled")])
def test_few_sets_are_tested_by_dixon_alone(n_sets, test):
    sets = [np.array([1.0, 2.0, 3.0 + number]) for number in range(n_sets)]
    assert find_outliers([*sets, np.array([1.0, 900.0])], "auto")[1] == test


def test_equal_values_and_pairs_have_no_outlier():
    sets = [np.array([5.0, 5.0, 5.0]), np.array([1.0, 99.0]), np.array([7.0])]
    for test in ("dixon", "pooled"):
        assert find_outliers(sets, test)[0] == [None, None, None]


@pytest.mark.parametrize("drop", [False, True])
def test_an_outlier_is_named_and_left_out_only_when_asked(tmp_path, drop):
    table = plate(many(12), noise=0.004, seed=3)
    sample = table.index[table["accession"] == "GS005"][1]
    blank, standard = table.index[1], table.index[4 + 3 * 4]
    table.loc[[sample, blank, standard], "od"] += [-0.15, 0.12, 0.2]
    found = of(tmp_path, table, drop_outliers=drop)
    assert found.outlier_test == "pooled"
    assert set(found.wells.index[found.wells["outlier"]]) == {sample, blank, standard}
    value = found.values.set_index("accession").loc["GS005"]
    assert value["outliers"] == f"1:{table.loc[sample, 'well']}"
    clean = table.drop([sample, blank, standard]) if drop else table
    again = of(tmp_path, clean, min_r2=0).values.set_index("accession")
    expected = of(tmp_path, table, drop_outliers=drop, min_r2=0).values.set_index("accession")
    np.testing.assert_allclose(
        expected[["value", "sd", "n", "equivalents"]], again[["value", "sd", "n", "equivalents"]]
    )
    assert ("outlier-dropped" in value["flags"].split(), "outlier" in value["flags"].split()) == (drop, not drop)
    assert value["n"] == (2 if drop else 3)
