"""The study's page and tables: their numbers against scikit-learn and NumPy, their words against the tests."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_pages import Page
from scipy import stats
from sklearn import metrics as sklearn_metrics
from study_records import make_study

from pipelines.report.study_compare import comparisons
from pipelines.report.study_figures import box
from pipelines.report.study_page import build_study_page
from pipelines.report.study_tables import study_tables
from pipelines.study.record import COMPARISONS, StudyRecord

SMALL = {
    "image 75x70 cnn-paper": 3.0,
    "image 150x140 cnn-paper": 2.0,
    "image 75x70 forest": 1.5,
    "cosine forest": 1.6,
    "cosine oplsda": 1.2,
    "entropy forest": 0.2,
}
DRIFTS = {"ppm-20": ("mz_ppm", 20.0, 1.0), "rt-1": ("retention", 1.0, 0.1)}


@pytest.fixture(scope="module")
def record() -> StudyRecord:
    """Two tasks, two seeds, drift and a transfer; one model failed in one seed, one resolution was not run."""
    return make_study(
        SMALL,
        tasks=("dpph", "tpc"),
        drifts=DRIFTS,
        transfer=True,
        simulated=("dpph",),
        n=50,
        not_run=lambda cell: cell.resolution == "150x140",
        failed=lambda cell: cell.model == "oplsda" and cell.seed == 1,
    )


@pytest.fixture(scope="module")
def html(record: StudyRecord) -> str:
    return build_study_page(record)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def by_fold(record: StudyRecord, task: str, label: str, condition: str = "") -> list[pd.DataFrame]:
    """Accession means of each (seed, fold), recomputed from the predictions."""
    parts = record.cells[["representation", "resolution", "model"]]
    names = parts.apply(lambda row: " ".join(filter(None, row)), axis=1)
    cells = record.cells[(record.cells["task"] == task) & (names == label)].sort_values("seed")["cell"]
    return [
        rows.groupby("accession").agg({"target": "first", "probability": "mean"})
        for cell in cells
        for _, rows in record.predictions[
            (record.predictions["cell"] == cell) & (record.predictions["condition"] == condition)
        ].groupby("fold")
    ]


def said(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def aucs(folds: list[pd.DataFrame]) -> list[float]:
    return [float(sklearn_metrics.roc_auc_score(rows["target"], rows["probability"])) for rows in folds]


def test_table_2_is_scikit_learns_over_all_folds_and_says_what_was_not_run(record: StudyRecord, page: Page) -> None:
    header, *rows = next(rows for rows in page.tables if rows[0][0] == "model" and "tpc" in rows[0][-1])
    assert header == ["model", "dpphsimulateddpph (%)", "tpctpc (%)"]
    assert {row[0] for row in rows} == set(SMALL)
    for label, *cells in rows:
        for task, cell in zip(("dpph", "tpc"), cells, strict=True):
            folds = by_fold(record, task, label)
            if "150x140" in label:
                assert folds == []
                assert cell == "not run"
                continue
            accuracy = [sklearn_metrics.accuracy_score(rows["target"], rows["probability"] >= 0.5) for rows in folds]
            seeds = "1 of 2 seeds" if "oplsda" in label else ""
            assert cell == f"{said(aucs(folds))}accuracy {said(accuracy)}{seeds}"


def test_best_of_each_task_is_marked_and_nothing_else(record: StudyRecord, html: str) -> None:
    assert html.count('class="best"') == 2


def test_confusion_matrix_is_the_mean_over_folds(record: StudyRecord, page: Page) -> None:
    folds = by_fold(record, "dpph", "image 75x70 cnn-paper")
    counts = np.array([sklearn_metrics.confusion_matrix(rows["target"], rows["probability"] >= 0.5) for rows in folds])
    mean, sd = counts.mean(axis=0), counts.std(axis=0, ddof=1)
    shares = mean / mean.sum(axis=1, keepdims=True)
    shown = next(rows for rows in page.tables if rows[0][1:] == ["predicted low", "predicted high"])
    for i, name in enumerate(("low", "high")):
        expected = [f"{mean[i, j]:.1f} ± {sd[i, j]:.1f}{100 * shares[i, j]:.0f} %" for j in (0, 1)]
        assert shown[i + 1] == [f"truly {name}", *expected]


def test_class_thresholds_are_told_in_the_assays_unit(page: Page) -> None:
    # study_records: value = 5 + 80 x scaled, thresholds at 0.4 and 0.6
    assert "its class thresholds (37 and 53 of dpph (%)) dashed" in page.text


def test_roc_curves_carry_each_folds_auc(record: StudyRecord, html: str) -> None:
    for label in ("image 75x70 cnn-paper", "cosine forest", "entropy forest"):
        for number, auc in enumerate(aucs(by_fold(record, "dpph", label)), 1):
            assert f"<title>fold {number}: AUC {auc:.3f}</title>" in html


@pytest.mark.parametrize("metric", ["accuracy", "recall", "precision", "f1"])
def test_boxes_are_numpys_percentiles(record: StudyRecord, html: str, metric: str) -> None:
    score = {
        "accuracy": sklearn_metrics.accuracy_score,
        "recall": sklearn_metrics.recall_score,
        "precision": lambda truth, called: sklearn_metrics.precision_score(truth, called, zero_division=0),
        "f1": sklearn_metrics.f1_score,
    }[metric]
    values = [
        score(rows["target"], rows["probability"] >= 0.5) for rows in by_fold(record, "dpph", "image 75x70 forest")
    ]
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    inside = [value for value in values if q1 - 1.5 * (q3 - q1) <= value <= q3 + 1.5 * (q3 - q1)]
    told = (
        f"image 75x70 forest: median {median:.3f}, quartiles {q1:.3f} and {q3:.3f}, "
        f"whiskers {min(inside):.3f} to {max(inside):.3f}, 10 folds"
    )
    assert told in html


def test_a_box_leaves_outliers_outside_its_whiskers() -> None:
    found = box(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert (found.low, found.q1, found.median, found.q3, found.high) == (1, 2, 3, 4, 4)


def test_learning_curves_and_kept_epochs(record: StudyRecord, page: Page, html: str) -> None:
    tables = [rows for rows in page.tables if rows[0][0] == "image"]
    assert len(tables) == 2  # one a task
    shown = {row[0]: row[1:] for row in tables[0][1:]}
    assert shown["150x140"] == ["not run"]
    assert shown["300x280"] == ["not in the grid"]
    cells = record.cells[(record.cells["task"] == "dpph") & (record.cells["resolution"] == "75x70")]
    kept = record.history[record.history["cell"].isin(cells["cell"]) & record.history["is_best"]]
    names = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    assert shown["75x70"] == [*(said(kept[name].tolist()) for name in names), "10"]
    letters = iter("ABCDEF")
    for size in ("75x70", "150x140", "300x280"):
        for name in ("loss", "accuracy"):
            assert f"<h4>{next(letters)}. {size}, {name}</h4>" in html


def test_paired_tests_are_nadeau_and_bengios(record: StudyRecord, page: Page) -> None:
    a = aucs(by_fold(record, "dpph", "image 75x70 cnn-paper"))
    tables = [rows for rows in page.tables if rows[0][0] == "second"]
    assert len(tables) == 4  # two tasks, two metrics
    rows = {row[0]: row[1:] for row in tables[0][2:]}
    assert tables[0][1] == ["first: image 75x70 cnn-paper"]
    assert set(rows) == set(SMALL) - {"image 75x70 cnn-paper", "image 150x140 cnn-paper"}
    sizes = [len(rows) for rows in by_fold(record, "dpph", "cosine forest")]
    ratio = np.mean([size / (sum(sizes) / 2 - size) for size in sizes])
    pvalues = {}
    for label, cells in rows.items():
        b = aucs(by_fold(record, "dpph", label))
        apart = np.array(a[: len(b)]) - b  # OPLS-DA ran in the first seed only
        n = len(apart)
        error = np.sqrt((1 / n + ratio) * apart.var(ddof=1))
        half = stats.t.ppf(0.975, n - 1) * error
        t = apart.mean() / error
        pvalues[label] = 2 * stats.t.sf(abs(t), n - 1)
        shown = [float(cell.replace("−", "-")) for cell in (*cells[:3], *cells[3].split(" to "))]
        expected = [np.mean(a[:n]), np.mean(b), apart.mean(), apart.mean() - half, apart.mean() + half]
        assert shown == pytest.approx(expected, abs=0.00051)
        assert cells[4] == (f"{pvalues[label]:.3f}" if pvalues[label] >= 0.001 else "< 0.001")
        assert cells[7] == f"{t:.2f} ({n - 1})".replace("-", "−")
        assert cells[8] == f"{n} ({n // 5})"
    highest, readings = 0.0, set()
    for place, label in enumerate(sorted(pvalues, key=lambda label: pvalues[label])):
        highest = min(1.0, max(highest, (len(pvalues) - place) * pvalues[label]))
        assert rows[label][5] == (f"{highest:.3f}" if highest >= 0.001 else "< 0.001")
        reading = "first higher" if highest < 0.05 else "noise, by Holm" if pvalues[label] < 0.05 else "noise"
        assert rows[label][6] == reading
        readings.add(reading)
    assert len(readings) > 1


def test_folds_of_another_split_are_not_paired(record: StudyRecord) -> None:
    moved = record.metrics.copy()
    cell = record.cells.loc[(record.cells["model"] == "forest") & (record.cells["representation"] == "entropy"), "cell"]
    hit = moved["cell"].isin(cell) & (moved["fold"] == 0)
    moved.loc[hit, "n"] += 1
    found = comparisons(record.cells, moved)
    assert list(found.columns) == list(COMPARISONS)
    by_label = found[(found["task"] == "dpph") & (found["metric"] == "roc_auc")].set_index("b")["folds"]
    assert by_label["entropy forest"] == 8
    assert by_label["cosine forest"] == 10


def test_few_models_are_compared_with_each_other() -> None:
    few = {"image 75x70 cnn-small": 2.0, "cosine forest": 1.0, "cosine pca": 0.5}
    found = make_study(few, seeds=(0,), n=40).comparisons
    pairs = found.loc[found["metric"] == "accuracy", ["a", "b"]].to_numpy().tolist()
    assert len(pairs) == 3
    assert ["image 75x70 cnn-small", "cosine forest"] in pairs
    without_cnn = make_study({"cosine forest": 1.5, "cosine pca": 0.5}, seeds=(0,), n=40).comparisons
    assert set(without_cnn["a"]) == {"cosine forest"}


@pytest.mark.parametrize(
    ("image", "table", "title", "words"),
    [
        (6.0, 0.0, "the image wins by", "The image wins by"),
        (0.0, 6.0, "the image loses by", "The image does not win: it loses by"),
        (1.5, 1.5, "is noise", "The image does not win and does not lose: the difference of"),
    ],
)
def test_the_summary_says_who_won_by_the_corrected_test(image: float, table: float, title: str, words: str) -> None:
    record = make_study({"image 75x70 cnn-small": image, "cosine forest": table}, seeds=(0, 1), n=60)
    page = Page(build_study_page(record))
    test = record.comparisons[record.comparisons["metric"] == "roc_auc"].iloc[0]
    assert (test["p_holm"] < 0.05) == ("noise" not in title)
    assert title in page.text[:200]
    number = rf"{abs(test['difference']):.3f}"
    (sentence,) = re.findall(rf"{re.escape(words)}[^()]*{number} \([^)]*\)[^.]*\.", page.text)
    low, high = (f"{test[end]:+.3f}".replace("-", "−") for end in ("low", "high"))
    assert f"95 % interval {low} to {high}" in sentence
    assert re.search(r"p (=|<) [\d.]+, corrected p (=|<) [\d.]+", sentence)
    others = {"The image wins by", "it loses by", "does not lose"} - {words}
    assert not [other for other in others if other in page.text and other not in words]
    assert "significant" not in page.text


def test_without_a_cnn_or_a_rival_nothing_is_claimed() -> None:
    for skill, missing in (
        ({"cosine forest": 1.0, "cosine logistic": 1.0}, "No CNN"),
        ({"image 75x70 cnn-small": 1.0, "image 75x70 forest": 1.0}, "No model without images"),
    ):
        page = Page(build_study_page(make_study(skill, seeds=(0,), n=40)))
        assert "dpph: not compared" in page.text
        assert f"{missing} was run on dpph (%), so nothing is said about whether the image wins." in page.text
        assert "The image wins" not in page.text


def test_equal_models_have_no_spread_and_no_winner() -> None:
    record = make_study(
        {"image 75x70 cnn-small": 1.0, "image 75x70 forest": 1.0, "cosine forest": 1.0}, seeds=(0,), n=40
    )
    others = record.cells.loc[record.cells["model"] == "forest", "cell"]
    cnn = record.cells.loc[record.cells["model"] == "cnn-small", "cell"].item()
    same = record.metrics[record.metrics["cell"] == cnn]
    metrics = pd.concat([same, *(same.assign(cell=other) for other in others)], ignore_index=True)
    found = replace(record, metrics=metrics, comparisons=comparisons(record.cells, metrics))
    page = Page(build_study_page(found))
    assert "no winner, the test has no answer" in page.text
    assert "has no spread over 5 folds to judge it by" in page.text
    assert "The CNN differs from it by +0.000 in every fold: nothing to judge it by." in page.text
    assert "undefined to undefined" not in page.text
    test = next(rows for rows in page.tables if rows[0][0] == "second")[2]
    assert test[3:8] == ["+0.000", "undefined", "undefined", "undefined", "no spread"]


def test_a_study_without_any_result_says_so_everywhere() -> None:
    record = make_study(SMALL, not_run=lambda cell: True, n=40)
    page = Page(build_study_page(record))
    assert "0 of 12 cells ran, 12 not run" in page.text
    assert "12 of 12 cells of the grid have no result" in page.text
    grid = next(rows for rows in page.tables if rows[0][0] == "model")
    assert {cell for row in grid[1:] for cell in row[1:]} == {"not run"}
    assert not re.search(r"\d\.\d{3}", page.text)  # no metric is made up
    table = study_tables(record)["table2"]
    assert set(table["status"]) == {"not run"}
    assert table[["roc_auc_mean", "accuracy_mean"]].isna().all(axis=None)


def test_every_cell_is_listed_with_its_status(record: StudyRecord, page: Page) -> None:
    rows = next(rows for rows in page.tables if rows[0][-1] == "cell")[1:]
    assert [row[-1] for row in rows] == record.cells["cell"].tolist()
    assert [row[4] for row in rows] == record.cells["status"].tolist()
    done = int((record.cells["status"] == "done").sum())
    assert f"{done} of 24 cells ran, 4 not run, 2 failed" in page.text
    assert all(row[6] == "memory: 12 GB" for row in rows if row[4] == "failed")


def test_drift_and_transfer_are_aucs_on_the_changed_runs(record: StudyRecord, page: Page, html: str) -> None:
    table = study_tables(record)["drift"].set_index(["task", "condition", "label"])
    for condition in (*DRIFTS, "other"):
        for label in ("image 75x70 cnn-paper", "cosine forest"):
            values = aucs(by_fold(record, "tpc", label, condition))
            row = table.loc[("tpc", condition, label)]
            assert row["roc_auc_mean"] == pytest.approx(np.mean(values))
            assert row["roc_auc_sd"] == pytest.approx(np.std(values, ddof=1))
            assert row["as_trained_mean"] == pytest.approx(np.mean(aucs(by_fold(record, "tpc", label))))
            level = DRIFTS[condition][1] if condition in DRIFTS else math.nan
            assert row["level"] == pytest.approx(level, nan_ok=True)
            if condition in DRIFTS:
                assert f"<title>{label} at {level:g}: AUC {said(values).replace(' ', chr(160))}</title>" in html
    unchanged = said(aucs(by_fold(record, "tpc", "cosine forest"))).replace(" ", "\N{NO-BREAK SPACE}")
    assert f"<title>cosine forest at 0: AUC {unchanged}</title>" in html
    transfer = next(rows for rows in page.tables if "other instrument" in rows[0])
    assert ["tpc: trained on beans, tested on orbitrap"] in transfer
    moved = said(aucs(by_fold(record, "tpc", "cosine forest", "other")))
    assert ["cosine forest", said(aucs(by_fold(record, "tpc", "cosine forest"))), moved, "10", "2"] in transfer


def test_multivariate_numbers_and_tables_of_the_grid(page: Page) -> None:
    assert "R2X 0.310, R2Y 0.976, Q2Y 0.287; p(R2Y) 0.050, p(Q2Y) 0.020 over 100 permutations" in page.text
    assert "Cosine feature table" in page.text
    assert "Entropy feature table" in page.text
    assert "Aligned feature table" not in page.text


def test_simulated_tasks_are_marked_and_only_those(page: Page, html: str) -> None:
    assert html.count("SIMULATED DATA") >= 2  # banner and printed pages
    assert "What is tagged “simulated” came out of" in page.text
    assert 'Predictions: dpph<span class="tag">simulated</span>' in html
    assert 'tpc<span class="tag">' not in html
    measured = build_study_page(make_study({"cosine forest": 1.0}, seeds=(0,), n=40))
    assert "simulated" not in Page(measured).text.lower()


def test_hostile_names_stay_text() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    record = make_study(
        {"image 75x70 cnn-small": 1.0, "cosine pca": 1.0},
        tasks=(f"dpph{hostile}", f"tpc{hostile}"),
        seeds=(0,),
        n=40,
        name=hostile,
        transfer=True,
        drifts={"ppm-5": (f"ppm{hostile}", 5.0, 0.1)},
        accession=lambda i: f"{hostile}{i}",
    )
    html = build_study_page(record)
    page = Page(html)  # every element is closed
    assert "<script" not in html
    assert page.all("script") == []
    assert hostile in page.text
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_equal_records_give_equal_pages(record: StudyRecord, html: str, tmp_path) -> None:
    record.save(tmp_path)
    loaded = StudyRecord.load(tmp_path)
    assert build_study_page(loaded) == html
    for name, table in study_tables(loaded).items():
        pd.testing.assert_frame_equal(table, study_tables(record)[name])


def test_asks_for_nothing_outside_the_file(page: Page, html: str) -> None:
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
