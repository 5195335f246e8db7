"""The section on a search: its numbers against the record, its marks read back through axes worked out here."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_pages import MODEL, Page
from search_records import EPOCHS, REASON, make_search

from ms2img.ms2toimg.record import CvRecord
from pipelines.report.page import build_report, write_report
from pipelines.report.sweep_axes import Axis
from pipelines.report.sweep_trials import Scale, Trials
from tune.record import SweepRecord
from tune.space import Space

# The plot area of an ordinary picture and of a small one, in user units: left, top, right, bottom.
ORDINARY, SMALL = (52, 12, 428, 292), (38, 12, 208, 142)


@pytest.fixture(scope="module")
def made() -> tuple[SweepRecord, CvRecord]:
    return make_search(30, failed=(4, 9), stopped_at={2: 2, 11: 3})


@pytest.fixture(scope="module")
def html(made: tuple[SweepRecord, CvRecord]) -> str:
    return build_report(made[1], model=MODEL, search=made[0])


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def ranked(search: SweepRecord) -> pd.DataFrame:
    """Finished trials in the order in which the winner is chosen."""
    finished = search.trials[search.trials["status"] == "finished"]
    key = finished.assign(accuracy_=-finished["validation_accuracy"].round(12))
    return key.sort_values(["accuracy_", "validation_loss", "n_weights", "trial"])


def panel(html: str, title: str) -> str:
    """The markup of one picture."""
    return html[(start := html.index(f"{title}</h3>")) : html.index("</svg>\n</div>", start)]


def padded(values: pd.Series, pad: float = 0.04) -> tuple[float, float]:
    """The axis around some values."""
    room = (values.max() - values.min()) * pad
    return values.min() - room, values.max() + room


def marks(svg: str, css: str) -> dict[int, tuple[float, float]]:
    """Trial -> centre of its mark (circles and diamonds)."""
    circles = re.findall(
        rf'<circle class="mark {css}" cx="([0-9.]+)" cy="([0-9.]+)" r="[0-9.]+"><title>trial (\d+)', svg
    )
    diamonds = re.findall(rf'<path class="mark {css}" d="M([0-9.]+) ([0-9.]+)l5\.6[^"]+"><title>trial (\d+)', svg)
    return {int(trial): (float(x), float(y)) for x, y, trial in circles} | {
        int(trial): (float(x), float(y) + 5.6) for x, y, trial in diamonds
    }


def test_the_three_rules_are_the_records(made: tuple[SweepRecord, CvRecord], page: Page) -> None:
    search, record = made
    shown = {row[0]: row[1:] for row in page.table("rule")}
    for name, key in (("Nested", "nested"), ("Winner", "winner"), ("Paper’s rule", "paper_rule")):
        section = search.summary[key]
        assert shown[name][0] == f"{section['accuracy_mean']:.3f} ± {section['accuracy_sd']:.3f}"
        assert shown[name][1] == f"{section['roc_auc_mean']:.3f} ± {section['roc_auc_sd']:.3f}"
    # Worked out anew from the tables: what each fold's choice, and what the best outer trial, had.
    outer = search.trials.set_index("trial")["accuracy"]
    assert shown["Paper’s rule"][2] == str(outer[outer == outer.max()].index[0])
    assert shown["Winner"][2] == str(ranked(search)["trial"].iloc[0])
    best = search.history[search.history["is_best"]].merge(search.trials.query("status == 'finished'")[["trial"]])
    for fold, rows in best.groupby("fold"):
        order = rows.assign(worse=-rows["validation_accuracy"].round(12)).sort_values(["worse", "validation_loss"])
        chosen = int(order["trial"].iloc[0])
        assert re.search(rf"\b{chosen} \(folds? [^)]*\b{fold + 1}\b", shown["Nested"][2])
    # The page's headline is the nested cross-validation.
    assert f"ROC AUC {shown['Nested'][1]}" in page.text
    assert record.summary["accession_accuracy_mean"] == search.summary["nested"]["accuracy_mean"]


def test_the_optimism_is_the_difference_in_plain_words(made: tuple[SweepRecord, CvRecord], page: Page) -> None:
    summary = made[0].summary
    gap = summary["paper_rule"]["accuracy_mean"] - summary["nested"]["accuracy_mean"]
    assert gap > 0.001
    assert f"The nested accuracy, {summary['nested']['accuracy_mean']:.3f}, is the one to quote" in page.text
    assert f"{summary['paper_rule']['accuracy_mean']:.3f}: here {gap:.3f} more" in page.text
    smaller = gap < summary["nested"]["accuracy_sd"]
    assert ("It is less than the spread between folds" in page.text) == smaller
    assert "The scheduler (asha) stopped trials" in page.text


def test_without_a_difference_no_optimism_is_claimed() -> None:
    search, record = make_search(1)
    text = Page(build_report(record, search=search)).text
    assert "1 choice of hyper-parameters was tried" in text
    assert "no more than the nested one, so this search shows no optimism" in text
    assert "nearly, not strictly" not in text


def test_counts_epochs_and_reasons_are_told(made: tuple[SweepRecord, CvRecord], page: Page) -> None:
    trained = 26 * 3 * EPOCHS + 3 * 2 + 3 * 3
    assert "Time 5.2 minutes of trials" in page.text  # 29 starts ten seconds apart, and the last one's 19 seconds
    assert "26 finished (2 stopped early, 2 failed)" in page.text
    assert f"trained {trained:,} of {30 * 3 * EPOCHS:,} ({100 * trained / (90 * EPOCHS):.0f} %)" in page.text
    assert f"2 trials failed: {REASON} (number 4, 9)" in page.text
    assert "2 trials stopped early by asha (number 2, 11)" in page.text


def test_the_top_ten_are_the_best_by_the_winners_rule(made: tuple[SweepRecord, CvRecord], page: Page) -> None:
    rows = page.table("trial")
    best = ranked(made[0]).head(10).to_dict("records")
    assert [row[0] for row in rows] == [str(each["trial"]) for each in best]
    names = sorted(Space.load("paper").parameters)
    for row, each in zip(rows, best, strict=True):
        wanted = ("validation_accuracy", "validation_loss", "accuracy", "roc_auc")
        assert row[1:5] == [f"{each[name]:.3f}" for name in wanted]
        assert row[5:8] == [f"{each['n_weights']:,}", str(each["epochs"]), "19"]
        values = json.loads(each["values"])
        assert [float(cell) for cell in row[8:]] == [pytest.approx(values[name], rel=1e-3) for name in names]


def test_each_mark_lies_at_its_hyper_parameter_and_score(made: tuple[SweepRecord, CvRecord], html: str) -> None:
    search, _ = made
    shown = search.trials[search.trials["validation_accuracy"].notna()].set_index("trial")
    low, high = padded(shown["validation_accuracy"])
    left, top, right, bottom = SMALL
    room = 2 * 0.04  # of the logarithm's two decades
    ends = {"learning_rate": (-6 - room, -4 + room), "dropout": (0.05, 0.55), "units": (16, 528)}
    for name, (first, last) in ends.items():
        svg = panel(html, name)
        places = marks(svg, "(?:active faint|best active|unused)")
        assert set(places) == set(shown.index)
        for trial, (across, down) in places.items():
            score = shown.loc[trial, "validation_accuracy"]
            assert down == pytest.approx(bottom - (score - low) / (high - low) * (bottom - top), abs=0.11)
            value = json.loads(shown.loc[trial, "values"])[name]
            value = math.log10(value) if name == "learning_rate" else value
            wanted = left + (value - first) / (last - first) * (right - left)
            beside = {"learning_rate": 0.0, "dropout": 0.03, "units": 9.6}[name] / (last - first) * (right - left)
            assert across == pytest.approx(wanted, abs=0.11 + beside)
        assert set(marks(svg, "best active")) == {ranked(search)["trial"].iloc[0]}
        assert set(marks(svg, "unused")) == {2, 11}
    assert ">10⁻⁶</text>" in panel(html, "learning_rate")


@pytest.mark.parametrize(
    ("title", "by_time"), [("B. Best so far, by trials", False), ("C. Best so far, by time", True)]
)
def test_best_so_far_is_the_running_maximum(
    made: tuple[SweepRecord, CvRecord], html: str, title: str, by_time: bool
) -> None:
    search, _ = made
    svg = panel(html, title)
    rows = search.trials.sort_values(["ended", "trial"]).reset_index(drop=True)
    at = rows["ended"] / 60 if by_time else pd.Series(np.arange(1.0, len(rows) + 1))
    scores = rows["validation_accuracy"].where(rows["status"] == "finished")
    low, high = padded(pd.concat([rows["validation_accuracy"], rows["accuracy"]]))
    left, top, right, bottom = ORDINARY
    path = re.search(r'class="line thick active" d="M([^"]+)"', svg.split('<svg class="frame"')[1])
    assert path is not None
    points = np.array([[float(number) for number in point.split()] for point in path[1].split("L")])
    x = (points[:, 0] - left) / (right - left) * at.max() * 1.03
    y = low + (bottom - points[:, 1]) / (bottom - top) * (high - low)
    running = scores.cummax().ffill()
    for moment, best in zip(at, running, strict=True):
        if math.isfinite(best):
            assert y[np.flatnonzero(x <= moment + 0.02)[-1]] == pytest.approx(best, abs=2e-3)
    # The dashed line is the same trials' test accuracy, where the winner's ends.
    outer = re.findall(r'class="line thick inactive" d="M([^"]+)"', svg)[-1].split("L")[-1].split()[1]
    winner = search.summary["winner"]["accuracy_mean"]
    assert low + (bottom - float(outer)) / (bottom - top) * (high - low) == pytest.approx(winner, abs=2e-3)


def test_a_line_of_the_parallel_axes_crosses_each_at_its_value(made: tuple[SweepRecord, CvRecord], html: str) -> None:
    search, _ = made
    svg = panel(html, "D. All finished trials")
    lines = re.findall(r'class="line (fifth-\d(?: chosen)?)" d="M([^"]+)"><title>trial (\d+)', svg)
    table = ranked(search).set_index("trial")
    assert [int(trial) for _, _, trial in lines] == list(table.index[::-1])  # the best on top
    scores = table["validation_accuracy"]
    names = sorted(Space.load("paper").parameters)
    for css, path, trial in lines:
        points = [tuple(map(float, point.split())) for point in path.split("L")]
        assert len(points) == len(names) + 1
        share = (scores[int(trial)] - scores.min()) / (scores.max() - scores.min())
        assert css == f"fifth-{min(int(share * 5), 4)}" + (" chosen" if int(trial) == table.index[0] else "")
        assert points[-1][0] == pytest.approx(118 + (share + 0.04) / 1.08 * (428 - 118), abs=0.11)
        rate = math.log10(json.loads(table.loc[int(trial), "values"])["learning_rate"])
        across = 118 + (rate + 6 + 0.08) / 2.16 * (428 - 118)
        assert points[names.index("learning_rate")][0] == pytest.approx(across, abs=0.11)
        steps = np.diff([y for _, y in points])
        assert np.allclose(steps, steps[0], atol=0.11)
        assert steps[0] > 30


def test_the_rules_picture_has_means_and_spreads(made: tuple[SweepRecord, CvRecord], html: str) -> None:
    svg = panel(html, "A. What each rule reports").split('<svg class="frame"')[1]
    summary = made[0].summary
    said = re.findall(r"<title>(nested|winner|paper’s rule): (accuracy|ROC AUC) ([0-9.]+) ± ([0-9.]+)</title>", svg)
    keys = {"nested": "nested", "winner": "winner", "paper’s rule": "paper_rule"}
    assert len(said) == 6
    for rule, measure, mean, sd in said:
        name = "accuracy" if measure == "accuracy" else "roc_auc"
        assert (mean, sd) == tuple(f"{summary[keys[rule]][f'{name}_{end}']:.3f}" for end in ("mean", "sd"))
    heights = [float(y) for y in re.findall(r'<circle class="mark active" cx="[0-9.]+" cy="([0-9.]+)"', svg)]
    means = [summary[keys[rule]]["accuracy_mean"] for rule in keys]
    assert np.corrcoef(heights, means)[0, 1] == pytest.approx(-1, abs=1e-3)


def test_the_methods_and_the_lede_tell_of_the_search(page: Page) -> None:
    assert "chosen among 30 trials by the fold’s training accessions" in page.text
    assert "A search of 30 trials, see there" in page.text
    assert "the median of the best ones of the winner’s folds" in page.text
    assert "search and cross-validation report" in page.text


def test_a_page_without_a_search_says_nothing_of_one(made: tuple[SweepRecord, CvRecord]) -> None:
    page = Page(build_report(made[1]))
    assert "search" not in page.text.lower()
    assert "Figure 5" not in page.text


HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def test_hostile_texts_stay_text() -> None:
    space = Space.parse(HOSTILE, {"parameters": {"pool": {"choice": ["last", "each"]}}}, source="test")
    search, record = make_search(4, space=space, failed=(1,), reason=HOSTILE)
    search.summary["searcher"] = HOSTILE
    html = build_report(record, search=search)
    assert "<script" not in html
    assert f"1 trial failed: {HOSTILE} (number 1)" in Page(html).text


@pytest.mark.parametrize(
    "case",
    [
        {"n": 1},
        {"n": 2, "folds": 2},
        {"n": 120, "failed": (3,), "stopped_at": dict.fromkeys(range(40, 110), 2)},
        {"n": 20, "space": "wide", "simulated": True},
        {"n": 6, "skill": 0.0},
        {"n": 5, "failed": (0, 1, 2, 3)},
    ],
    ids=["one trial", "two folds", "120 trials", "wide, simulated", "nothing learned", "one of five finished"],
)
def test_a_whole_page_from_disk(case: dict, tmp_path: Path) -> None:
    search, record = make_search(**case)
    search.save(tmp_path / "sweep")
    record.save(tmp_path / "record")
    again = CvRecord.load(tmp_path / "record"), SweepRecord.load(tmp_path / "sweep")
    out = Path(write_report(again[0], tmp_path / "report.html", search=again[1]))
    html = out.read_text(encoding="utf-8")
    assert html == build_report(record, search=search)
    page = Page(html)
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"base64,[^\"]*", "", html))
    assert len(html) < 600_000
    space = search.summary["space"]["parameters"]
    assert len(re.findall(r'<div class="panel">\n<h3>[a-z_]+</h3>', html)) == len(space)
    headings = re.findall(r"<h2>(Figure[^\n]*|The search[^\n]*)</h2>", html)
    assert len(headings) == 4 + 3
    assert all(("simulated" in heading) == bool(case.get("simulated")) for heading in headings)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    pictures = [found for found in page.all("svg") if found.get("aria-hidden") != "true"]
    assert all(found["role"] == "img" and found["aria-label"] for found in pictures)


# ---- axes


def test_an_axis_of_each_kind() -> None:
    rate = Axis.of("learning_rate", {"log": [1e-6, 1e-4]})
    assert rate.position(1e-5) == pytest.approx(-5)
    assert rate.ticks == {-6.0: "10⁻⁶", -5.0: "10⁻⁵", -4.0: "10⁻⁴"}
    narrow = Axis.of("learning_rate", {"log": [2e-4, 5e-4]})
    assert list(narrow.ticks.values()) == ["0.0002", "0.0005"]
    pool = Axis.of("batch_norm", {"choice": [False, True]})
    assert (pool.position(True), pool.ticks) == (1.0, {0.0: "no", 1.0: "yes"})
    layers = Axis.of("conv_layers", {"int": [1, 3], "step": 1})
    assert (layers.span, list(layers.ticks)) == ((0.5, 3.5), [1.0, 2.0, 3.0])
    assert len(Axis.of("units", {"int": [32, 512], "step": 32}).ticks) <= 4
    single = Axis.of("shift", {"int": [2, 2]})
    assert single.span[0] < 2 < single.span[1]


@given(st.lists(st.sampled_from([16, 32, 48, 64]), max_size=120))
def test_equal_values_lie_side_by_side_and_never_reach_another_level(values: list[int]) -> None:
    axis = Axis.of("filters", {"int": [16, 64], "step": 16})
    places = axis.places(values)
    assert len(set(places)) == len(values)
    for value, place in zip(values, places, strict=True):
        assert abs(place - value) < 8
    for level in set(values):
        assert np.mean([place for value, place in zip(values, places, strict=True) if value == level]) == pytest.approx(
            level
        )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_fifths_are_of_equal_width_and_the_best_is_in_the_last(scores: list[float]) -> None:
    scale = Scale(min(scores), max(scores))
    assert scale.fifth(max(scores)) == 4
    assert all(0 <= scale.fifth(score) <= 4 for score in scores)
    assert sorted(scores, key=scale.fifth) is not None
    assert [scale.fifth(score) for score in sorted(scores)] == sorted(scale.fifth(score) for score in scores)


def test_trials_are_ranked_as_the_winner_is_chosen(made: tuple[SweepRecord, CvRecord]) -> None:
    trials = Trials.of(made[0].trials)
    assert trials.finished[0]["trial"] == made[0].summary["winner"]["trial"]
    assert [row["trial"] for row in trials.finished] == list(ranked(made[0])["trial"])
