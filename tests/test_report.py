"""The report page: its numbers against the record and scikit-learn, its text against hostile names."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics as sklearn_metrics

from ms2img.errors import UsageError
from ms2img.ms2toimg.record import CvRecord
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.summarise import fold_metrics, mean_and_sd
from pipelines.report.figures import roc
from pipelines.report.page import build_report, write_report
from pipelines.report.roc import GRID, mean_curve
from pipelines.report.svg import Frame, nice_ticks
from pipelines.report.table import mean_sd, per_accession

MODEL = {"name": "ms2img-dpph", "version": "3", "aliases": ["champion"]}


def make_record(
    n: int = 40,
    *,
    replicates: int = 3,
    folds: int = 5,
    assay: str = "dpph",
    active: str = "high",
    low: float = 0.4,
    high: float = 0.6,
    simulated: bool = False,
    name: Callable[[int], str] = "ACC-{:03d}".format,
    seed: int = 0,
    size: tuple[int, int] = (150, 140),
) -> CvRecord:
    """A record of a made-up study, put together by the functions that put together a real one."""
    rng = np.random.default_rng(seed)
    value = np.concatenate([[5.0, 85.0], rng.uniform(5, 85, n - 2)])
    scaled = (value - 5.0) / 80.0
    is_active = scaled > high if active == "high" else scaled < low
    target = np.where((scaled >= low) & (scaled <= high), -1, is_active.astype(int))
    fold = np.full(n, -1)
    for label in (0, 1):
        members = np.flatnonzero(target == label)
        fold[members] = np.arange(len(members)) % folds
    sign = 1 if active == "high" else -1
    logit = sign * 7 * (scaled - 0.5) + rng.normal(0, 2.0, n)
    rows = [
        {
            "sample_id": f"{name(i)}_{k}",
            "accession": name(i),
            "fold": fold[i],
            "value": value[i],
            "scaled": scaled[i],
            "target": target[i],
            "probability": 1 / (1 + np.exp(-logit[i] - rng.normal(0, 0.7))),
        }
        for i in range(n)
        for k in range(replicates)
    ]
    table = pd.DataFrame(rows)
    used = table["target"] >= 0
    predictions, unused = table[used].reset_index(drop=True), table[~used].drop(columns=["fold", "target"])
    metrics = fold_metrics(predictions)
    shown = {label: table[table["target"] == label].iloc[0] for label in (1, 0)}
    return CvRecord(
        predictions=predictions,
        history=make_history(sorted(predictions["fold"].unique()), rng),
        metrics=metrics,
        unused=unused.reset_index(drop=True),
        examples={row["sample_id"]: example_image(rng, *size) for row in shown.values()},
        summary={
            "label": {"assay": assay, "low": low, "high": high, "active": active, "value_min": 5.0, "value_max": 85.0},
            "threshold": 0.5,
            "refit_epochs": 17,
            "without_image": [],
            "examples": {
                row["sample_id"]: {"accession": row["accession"], "value": row["value"], "target": label}
                for label, row in shown.items()
            },
            **mean_and_sd(metrics),
            "simulated": simulated,
            "preset": "small",
            "samples": "/data/beans/samples.csv",
            "images": "/data/beans/images",
            "render": RenderConfig(height=size[0], width=size[1]).model_dump(mode="json"),
            "fit": {"epochs": 20, "batch_size": 16, "learning_rate": 1e-3, "seed": 7},
            "config": {"assay": assay, "folds": folds, "fit": {"epochs": 20}},
            "fingerprints": {"samples": "00ff00ff", "labels": "11ee11ee", "folds": "22dd22dd"},
            "versions": {"ms2img": "0.1.0", "torch": "2.13.0"},
            "created": "2026-02-03T10:11:12+00:00",
            "seconds": 321.0,
        },
    )


def make_history(folds: list[int], rng: np.random.Generator, epochs: int = 20) -> pd.DataFrame:
    """Curves that fall and rise again; the best epoch is that of the lowest validation loss."""
    tables = []
    for fold in folds:
        epoch = np.arange(1, epochs + 1)
        loss = 0.7 * np.exp(-epoch / 6) + 0.3 + 0.01 * np.maximum(0, epoch - 12) + rng.normal(0, 0.02, epochs)
        table = {"fold": fold, "epoch": epoch, "train_loss": 0.7 * np.exp(-epoch / 6), "validation_loss": loss}
        scores = {"validation_accuracy": 1 - loss / 2, "validation_auc": 1 - loss / 3}
        tables.append(pd.DataFrame({**table, **scores, "is_best": np.arange(epochs) == loss.argmin()}))
    return pd.concat(tables, ignore_index=True)


def example_image(rng: np.random.Generator, height: int = 150, width: int = 140) -> np.ndarray:
    """A picture with its bright pixels below the diagonal."""
    image = np.zeros((height, width), dtype=np.uint8)
    column = rng.integers(5, width, 600)
    image[(column * rng.uniform(0, 1, 600)).astype(int), column] = rng.integers(1, 256, 600)
    return image


class Page(HTMLParser):
    """A parsed page: its elements, the cells of its tables, its visible text."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self.stack: list[str] = []
        self.feed(html)
        assert self.stack == [], "every element is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.stack.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.words.append(data)
        if {"td", "th"} & set(self.stack):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def table(self, header: str) -> list[list[str]]:
        """The one table whose first row starts with this cell; without that row."""
        (found,) = [rows for rows in self.tables if rows[0][0] == header]
        return found[1:]

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = attributes.items()
        return [found for name, found in self.elements if name == tag and all(found.get(k) == v for k, v in wanted)]


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
    matrices = [rows for rows in page.tables if rows[0][1:] == ["predicted low dpph", "predicted high dpph"]]
    rows = matrices[0 if level == "accession" else 1][1:]
    shares = counts / counts.sum(axis=1, keepdims=True)
    for row, name, numbers, share in zip(rows, ("low", "high"), counts, shares, strict=True):
        assert row[0] == f"truly {name} dpph"
        for cell, number, part in zip(row[1:], numbers, share, strict=True):
            assert cell == f"{number}{100 * part:.0f}\N{NO-BREAK SPACE}% of {numbers.sum()} {level}s"


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
        assert (row[2], row[3], row[4]) == (f"{'high' if target else 'low'} dpph", str(group["fold"].iloc[0] + 1), "3")
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


def test_mean_roc_curve_is_scikit_learns_vertical_average(record: CvRecord) -> None:
    scored = per_accession(record.predictions, 0.5)
    rates, curves = [], []
    for _, rows in scored.groupby("fold"):
        fpr, tpr, _ = sklearn_metrics.roc_curve(rows["target"], rows["probability"], drop_intermediate=True)
        rates.append(np.interp(GRID, fpr, tpr))
        rates[-1][0] = 0.0
        full_fpr, full_tpr, _ = sklearn_metrics.roc_curve(rows["target"], rows["probability"], drop_intermediate=False)
        curves.append((full_fpr, full_tpr))
    average = mean_curve(curves)
    np.testing.assert_allclose(average.mean, np.mean(rates, axis=0), atol=1e-12)
    np.testing.assert_allclose(average.sd, np.std(rates, axis=0, ddof=1), atol=1e-12)
    # What is drawn is that curve: read the thick line's points back through the axes.
    auc = record.metrics[record.metrics["level"] == "accession"].set_index("fold")["roc_auc"]
    drawn = roc(scored, auc, mean_sd(auc), title="ROC").svg
    path = re.search(r'class="line thick active" d="M([^"]+)"', drawn)
    assert path is not None
    points = np.array([[float(number) for number in point.split()] for point in path[1].split("L")])
    left, top, right, bottom = Frame((0, 1), (0, 1), "", "", "", square=True).area
    np.testing.assert_allclose((points[:, 0] - left) / (right - left), GRID, atol=3e-4)
    np.testing.assert_allclose((bottom - points[:, 1]) / (bottom - top), np.mean(rates, axis=0), atol=3e-4)
    assert drawn.count('class="line thin active"') == 5


def test_scatter_has_every_accession_at_its_place_and_rings_on_the_wrong_ones(record: CvRecord) -> None:
    html = build_report(record)
    drawn = html[html.index("A. Prediction against assay value") : html.index("B. ROC curves per accession")]
    scored = per_accession(record.predictions, 0.5)
    said = dict(re.findall(r"<title>(ACC-\d+): assay [^<]*probability ([0-9.]+), ", drawn))
    assert len(said) == record.predictions["accession"].nunique() + record.unused["accession"].nunique()
    for row in scored.to_dict("records"):
        assert said[row["accession"]] == f"{row['probability']:.3f}"
    marks = re.findall(r'<circle class="mark active" cx="([0-9.]+)" cy="([0-9.]+)" r="4"><title>(ACC-\d+)', drawn)
    placed = scored[scored["target"] == 1].set_index("accession")
    assert len(marks) == len(placed)
    x, y, names = zip(*marks, strict=True)
    for places, column in ((x, "value"), (y, "probability")):
        expected = placed.loc[list(names), column]
        assert abs(np.corrcoef(np.array(places, dtype=float), expected)[0, 1]) > 0.99999
    wrong = (scored["predicted"] != scored["target"]).sum()
    assert drawn.count('class="mark wrong"') == wrong + 1  # and one in the legend
    for limit in ("37", "53"):  # 5 + 0.4 * 80 and 5 + 0.6 * 80
        assert f"class threshold at {limit}<" in drawn


def test_best_epochs_are_marked_on_the_curves(record: CvRecord) -> None:
    html = build_report(record)
    best = record.history[record.history["is_best"]]
    for row in best.to_dict("records"):
        assert f"fold {row['fold'] + 1}: best epoch {row['epoch']}, validation {row['validation_loss']:.3f}" in html


def test_example_is_the_image_turned_upright_as_a_negative_of_its_square_root(record: CvRecord, page: Page) -> None:
    pictures = page.all("image")
    assert len(pictures) == len(record.examples) == 2
    for element, image in zip(pictures, record.examples.values(), strict=True):
        href = str(element["href"])
        assert href.startswith("data:image/png;base64,")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2]))))
        np.testing.assert_array_equal(shown[::-1], 255 - np.rint(np.sqrt(image / 255.0) * 255).astype(int))
    assert "150 × 140 pixels" in page.text
    assert "10 × 10 Da" in page.text


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
    assert {row[0] for row in page.table("accession")} == accessions
    if case == "a fold with one class":
        defined = record.metrics.query("level == 'accession' and fold != 2")["roc_auc"]
        assert f"ROC AUC {defined.mean():.3f} ± {defined.std():.3f}" in page.text
        assert "1 of 5 folds held one class only" in page.text
        assert "undefined" in {cell for row in page.table("level") for cell in row}
    if case == "two accessions":
        assert "A small study: a test fold holds 2 accessions" in page.text
    if case == "low is active":
        assert "the probability is that of low dpph" in page.text
        assert ["", "predicted high dpph", "predicted low dpph"] in [rows[0] for rows in page.tables]
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


def test_six_hundred_accessions_fit_in_three_megabytes() -> None:
    record = make_record(n=600)
    html = build_report(record)
    assert len(html.encode()) < 3e6
    assert len(Page(html).table("accession")) == 600


def test_equal_records_give_equal_pages_also_from_disk(record: CvRecord, tmp_path: Path) -> None:
    record.save(tmp_path / "record")
    out = write_report(CvRecord.load(tmp_path / "record"), tmp_path / "new" / "report.html", model=MODEL)
    assert out.read_text(encoding="utf-8") == build_report(record, model=MODEL)
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_summary_without_an_entry_is_refused_by_name(record: CvRecord, tmp_path: Path) -> None:
    summary: dict[str, Any] = {key: value for key, value in record.summary.items() if key != "render"}
    broken = replace(record, summary=summary)
    with pytest.raises(UsageError, match="its summary has no render"):
        write_report(broken, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (5.2, 83.7), (-1e-4, 3e-4), (999.0, 1001.0), (0.0, 3e7)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert low - 1e-9 * abs(low) <= ticks[0]
    assert ticks[-1] <= high * (1 + 1e-9)
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert f"{steps[0]:.0e}"[0] in "125"
