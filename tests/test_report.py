"""The report page: its numbers against the record and scikit-learn, its text against hostile names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_pages import MODEL, Page, example_image, make_record
from sklearn import metrics as sklearn_metrics

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import PRESETS
from ms2img.ms2toimg.crossvalidate import plan_folds, plan_refit, run_fold
from ms2img.ms2toimg.labels import LabelConfig, Labels
from ms2img.ms2toimg.record import CvRecord
from ms2img.ms2toimg.summarise import fold_metrics, summarise
from pipelines.report.facts import ABOUT
from pipelines.report.page import build_report, write_report


@pytest.fixture(scope="module")
def record() -> CvRecord:
    return make_record()


@pytest.fixture(scope="module")
def page(record: CvRecord) -> Page:
    return Page(build_report(record, model=MODEL))


def test_headline_and_metrics_table_are_scikit_learns_mean_and_sd(record: CvRecord, page: Page) -> None:
    expected: dict[str, dict[str, list[float]]] = {"accession": {}, "run": {}}
    for _, rows in record.predictions.groupby("fold"):
        means = rows.groupby("accession").agg({"target": "first", "probability": "mean"})
        for level, scored in (("accession", means), ("run", rows)):
            truth, probability = scored["target"], scored["probability"]
            called = (probability >= 0.5).astype(int)
            for key, found in (
                ("ROC AUC", sklearn_metrics.roc_auc_score(truth, probability)),
                ("Accuracy", sklearn_metrics.accuracy_score(truth, called)),
                ("Precision", sklearn_metrics.precision_score(truth, called, zero_division=0)),
                ("Recall", sklearn_metrics.recall_score(truth, called)),
                ("F1", sklearn_metrics.f1_score(truth, called)),
            ):
                expected[level].setdefault(key, []).append(found)
    shown = {row[0]: row[1:] for row in page.table("metric")}
    assert set(shown) == set(expected["run"])
    for key, cells in shown.items():
        for cell, level in zip(cells, ("accession", "run"), strict=True):
            assert cell == f"{np.mean(expected[level][key]):.3f} ± {np.std(expected[level][key], ddof=1):.3f}"
    assert f"dpph, high against low: ROC AUC {shown['ROC AUC'][0]}" in page.text
    # The record's own summary says the same.
    summary = record.summary
    assert shown["ROC AUC"][0].startswith(
        f"{summary['accession_roc_auc_mean']:.3f} ± {summary['accession_roc_auc_sd']:.3f}"
    )


@pytest.mark.parametrize("level", ["accession", "run"])
def test_confusion_matrix_is_scikit_learns(record: CvRecord, page: Page, level: str) -> None:
    scored = record.predictions
    if level == "accession":
        scored = scored.groupby("accession").agg({"target": "first", "probability": "mean"})
    counts = sklearn_metrics.confusion_matrix(scored["target"], scored["probability"] >= 0.5)
    matrices = [rows for rows in page.tables if rows[0][1:] == ["predicted low", "predicted high"]]
    rows = matrices[0 if level == "accession" else 1][1:]
    shares = counts / counts.sum(axis=1, keepdims=True)
    for row, name, numbers, share in zip(rows, ("low", "high"), counts, shares, strict=True):
        assert row[0] == f"truly {name}"
        for cell, number, part in zip(row[1:], numbers, share, strict=True):
            assert cell == f"{number}{100 * part:.0f} % of {numbers.sum()} {level}s"


def test_fold_table_is_the_records(record: CvRecord, page: Page) -> None:
    rows = page.table("level")
    assert len(rows) == len(record.metrics) == 10
    for row in rows:
        (found,) = record.metrics[
            (record.metrics["level"] == row[0]) & (record.metrics["fold"] == int(row[1]) - 1)
        ].to_dict("records")
        names = ("roc_auc", "accuracy", "precision", "recall", "f1")
        assert row[3:8] == [f"{found[name]:.3f}" for name in names]
        assert [int(cell) for cell in (row[2], *row[8:12])] == [found[name] for name in ("n", "tn", "fp", "fn", "tp")]
        best = record.history[(record.history["fold"] == found["fold"]) & record.history["is_best"]]
        assert int(row[12]) == best["epoch"].item()


def test_every_accession_is_listed_with_its_mean_and_the_misclassified_are_named(record: CvRecord, page: Page) -> None:
    rows = {row[0]: row[1:] for row in page.table("accession")}
    used, unused = record.predictions.groupby("accession"), record.unused.groupby("accession")
    assert set(rows) == set(used.groups) | set(unused.groups)
    wrong = set()
    for accession, group in used:
        target, probability = group["target"].iloc[0], group["probability"].mean()
        row = rows[str(accession)]
        assert row[5] == f"{probability:.3f}"
        assert row[6] == f"{group['probability'].min():.3f} to {group['probability'].max():.3f}"
        assert (row[2], row[3], row[4]) == ("high" if target else "low", str(group["fold"].iloc[0] + 1), "3")
        missed = (probability >= 0.5) != bool(target)
        assert row[7].endswith(": wrong") == missed
        if missed:
            wrong.add(accession)
    for accession, group in unused:
        assert rows[str(accession)][2:4] == ["between", "-"]
        assert rows[str(accession)][5] == f"{group['probability'].mean():.3f}"
    named = re.findall(r"(ACC-\d+) : truly", page.text)
    assert wrong
    assert set(named) == wrong
    assert f"{len(wrong)} of {len(used)} accessions are misclassified" in page.text


def test_page_states_its_facts(page: Page) -> None:
    for fact in (
        "5-fold cross-validation",
        "accessions never straddle folds",
        "data set beans",
        "preset small",
        "2026-02-03",
        "00ff00ff",
        "below 0.4 is low (under 37) and above 0.6 is high (over 53)",
        "trained anew on all",
        "ms2img predict models:/ms2img-dpph@champion new_run.mgf",
        "MS2toImg: A Framework for Direct Bioactivity Prediction from Raw LC-MS/MS Data",
    ):
        assert fact in page.text
    assert "SIMULATED" not in page.text


def test_simulated_study_says_so_in_title_banner_every_figure_and_on_every_printed_page() -> None:
    html = build_report(make_record(simulated=True))
    page = Page(html)
    assert "[SIMULATED] dpph" in page.text
    assert "SIMULATED DATA These runs came out of ms2img simulate" in page.text
    headings = re.findall(r"<h2>(Figure[^\n]*)</h2>", html)
    assert len(headings) == 4
    assert all("simulated" in heading for heading in headings)
    assert re.search(r'@page { @top-center { content: "SIMULATED DATA"', html)


def test_page_asks_for_nothing_outside_itself(page: Page) -> None:
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert (attributes.get(key) or "data:").startswith("data:")
    assert not page.all("script")
    assert "url(" not in (Path(__file__).parent.parent / "pipelines/report/style.css").read_text(encoding="utf-8")
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert str(policy["content"]).startswith("default-src 'none'")


def test_page_can_be_read_aloud(page: Page) -> None:
    assert page.all("html", lang="en")
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    pictures = [found for found in page.all("svg") if found.get("aria-hidden") != "true"]
    assert len(pictures) == 2 + 2 + 3 + 1
    assert all(found["role"] == "img" and found["aria-label"] for found in pictures)
    assert all(found.get("scope") in ("row", "col") for found in page.all("th"))
    regions = [found for found in page.all("div") if found.get("class") == "scroll"]
    assert all(found.get("tabindex") == "0" and found.get("aria-label") for found in regions)


HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def test_hostile_names_stay_text() -> None:
    record = make_record(assay=HOSTILE, name=lambda i: f"{HOSTILE}{i}", n=24)
    record.summary["samples"] = HOSTILE
    record.summary["config"] = {HOSTILE: HOSTILE}
    record.summary["without_image"] = [HOSTILE]
    html = build_report(record, model={"name": HOSTILE, "version": HOSTILE, "aliases": []})
    page = Page(html)  # tags closed in order: no name closed one
    assert "<script" not in html
    assert not [found for _, found in page.elements if any(key.startswith("on") for key in found)]
    assert f"{HOSTILE}, high against low" in page.text
    assert f"{HOSTILE}3" in [row[0] for row in page.table("accession")]
    assert "49" not in re.findall(r"&(\d+)", page.text)


ODD_NAMES = ["야생콩", "Glycine soja Sieb. & Zucc. ", "x" * 300, "ß–μ ♯", "a b\tc"]


def with_a_one_class_fold() -> CvRecord:
    record = make_record()
    keep = (record.predictions["fold"] != 2) | (record.predictions["target"] == 1)
    predictions = record.predictions[keep].reset_index(drop=True)
    return replace(record, predictions=predictions, metrics=fold_metrics(predictions))


def without_refit() -> CvRecord:
    record = make_record()
    return replace(record, unused=record.unused.iloc[:0], summary={**record.summary, "refit_epochs": None})


EDGE_CASES: dict[str, Callable[[], CvRecord]] = {
    "a fold with one class": with_a_one_class_fold,
    "two accessions": partial(make_record, n=2, folds=1, low=0.5, high=0.5),
    "nothing between": partial(make_record, low=0.5, high=0.5),
    "low is active": partial(make_record, active="low"),
    "one run an accession": partial(make_record, replicates=1),
    "odd names": partial(make_record, name=lambda i: f"{ODD_NAMES[i % 5]}{i}", n=30),
    "other image": partial(make_record, size=(75, 70)),
    "no refit": without_refit,
}


@pytest.mark.parametrize("case", list(EDGE_CASES))
def test_edge_cases_make_a_whole_page(case: str) -> None:
    record = EDGE_CASES[case]()
    html = build_report(record, model=MODEL)
    page = Page(html)
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"base64,[^\"]*", "", html))
    accessions = set(record.predictions["accession"]) | set(record.unused["accession"])
    assert {row[0] for row in page.table("accession")} == {" ".join(name.split()) for name in accessions}
    if case == "a fold with one class":
        defined = record.metrics.query("level == 'accession' and fold != 2")["roc_auc"]
        assert f"ROC AUC {defined.mean():.3f} ± {defined.std():.3f}" in page.text
        assert "1 of 5 folds held one class only" in page.text
        assert "undefined" in {cell for row in page.table("level") for cell in row}
    if case == "two accessions":
        assert "A small study: a test fold holds 2 accessions" in page.text
    if case == "low is active":
        assert "the probability is that of the low class" in page.text
        assert ["", "predicted high", "predicted low"] in [rows[0] for rows in page.tables]
    if case == "one run an accession":
        assert "Figure 4" not in page.text
        assert "both levels are the same" in page.text
    if case == "other image":
        assert "75 × 70 pixels, 20 × 20 Da a pixel" in page.text
    if case in ("nothing between", "no refit"):
        assert "between" not in {row[3] for row in page.table("accession")}


def test_an_accession_in_two_folds_is_called_out() -> None:
    record = make_record()
    record.predictions.loc[0, "fold"] = (record.predictions.loc[0, "fold"] + 1) % 5
    text = Page(build_report(record)).text
    assert "1 accession had runs in more than one fold, so the metrics are too good: ACC-000" in text
    assert "never straddle" not in text
    assert "had seen none of its runs" not in text


def test_training_that_ended_at_its_best_epoch_is_called_out(record: CvRecord, page: Page) -> None:
    assert "last epoch was the best" not in page.text
    history = record.history.copy()
    history.loc[history["fold"] <= 1, "is_best"] = history["epoch"] == 20
    text = Page(build_report(replace(record, history=history))).text
    assert "In 2 of 5 folds the last epoch was the best" in text
    unvalidated = history.assign(validation_loss=np.nan, validation_accuracy=np.nan, validation_auc=np.nan)
    assert "last epoch was the best" not in Page(build_report(replace(record, history=unvalidated))).text


def test_a_threshold_that_does_not_fit_the_ranking_is_called_out(record: CvRecord, page: Page) -> None:
    assert "rank the accessions better" not in page.text
    shifted = record.predictions.assign(probability=record.predictions["probability"] / 2)  # same ranks, all below 0.5
    text = Page(build_report(replace(record, predictions=shifted, metrics=fold_metrics(shifted)))).text
    assert "rank the accessions better than the threshold of 0.5 divides them" in text


def test_a_real_cross_validation_makes_a_page(record: CvRecord) -> None:
    """What `summarise` writes, with what a training says about itself, is all the page needs."""
    rng = np.random.default_rng(0)
    value = np.repeat(np.linspace(0, 1, 14), 2)
    labels = Labels(
        config=LabelConfig(assay="tpc"),
        sample_ids=tuple(f"S{i:02d}" for i in range(28)),
        accessions=tuple(f"A{i // 2:02d}" for i in range(28)),
        value=value,
        scaled=value,
        target=np.select([value < 0.4, value > 0.6], [0, 1], -1).astype(np.int8),
        value_min=0.0,
        value_max=1.0,
        without_image=("S99",),
    )
    images = np.stack([example_image(rng, 24, 24) for _ in range(28)])
    fit = FitConfig(epochs=2, threads=1)
    tasks = plan_folds(labels, 2, PRESETS["small"], fit)
    results = [run_fold(images, labels.target, task)[0] for task in tasks]
    again = plan_refit(labels, results, PRESETS["small"], fit)
    refit, _ = run_fold(images, labels.target, again)
    about = {name: record.summary[name] for name in ABOUT} | {"not_labelled": {"blank": 13, "qc": 4}}
    found = summarise(labels, images, tasks, results, refit=refit, refit_epochs=again.fit.epochs, about=about)
    page = Page(build_report(found))
    assert len(page.all("image")) == 4
    assert {row[0] for row in page.table("accession")} == set(labels.accessions)
    assert (
        f"tpc, high against low: ROC AUC {found.summary['auc_mean']:.3f} ± {found.summary['auc_sd']:.3f}" in page.text
    )
    assert "13 blank, 4 qc" in page.text
    assert "Without an image S99" in page.text
    assert "Use the model" not in page.text


def test_six_hundred_accessions_fit_in_three_megabytes() -> None:
    record = make_record(n=600)
    html = build_report(record)
    assert len(html.encode()) < 3e6
    assert len(Page(html).table("accession")) == 600


def test_equal_records_give_equal_pages_also_from_disk(record: CvRecord, tmp_path: Path) -> None:
    record.save(tmp_path / "record")
    out = Path(write_report(CvRecord.load(tmp_path / "record"), tmp_path / "new" / "report.html", model=MODEL))
    assert out.read_text(encoding="utf-8") == build_report(record, model=MODEL)
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_summary_without_an_entry_is_refused_by_name(record: CvRecord, tmp_path: Path) -> None:
    summary: dict[str, Any] = {key: value for key, value in record.summary.items() if key != "render"}
    broken = replace(record, summary=summary)
    with pytest.raises(UsageError, match="its summary has no render"):
        write_report(broken, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
