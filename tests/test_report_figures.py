"""The report's figures: what is drawn, read back through the axes, against scikit-learn and the record."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_pages import MODEL, Page, make_record
from sklearn import metrics as sklearn_metrics

from ms2img.ms2toimg.record import CvRecord
from pipelines.report.figures import Curve, learning_curves, roc
from pipelines.report.page import build_report
from pipelines.report.roc import GRID, mean_curve
from pipelines.report.svg import Frame, nice_ticks
from pipelines.report.table import mean_sd, per_accession


@pytest.fixture(scope="module")
def record() -> CvRecord:
    return make_record()


@pytest.fixture(scope="module")
def page(record: CvRecord) -> Page:
    return Page(build_report(record, model=MODEL))


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
    said = dict(re.findall(r"<title>(ACC-\d+): assay value [^<]*probability ([0-9.]+), ", drawn))
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
        assert f"fold {row['fold'] + 1}: epoch {row['epoch']} kept, validation {row['validation_loss']:.3f}" in html


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


def test_learning_curves_of_folds_that_stopped_early_have_a_mean_where_all_folds_ran() -> None:
    lengths = {0: 6, 1: 3}
    history = pd.concat(
        [
            pd.DataFrame({"fold": fold, "epoch": range(1, n + 1), "loss": np.arange(n) + fold, "is_best": False})
            for fold, n in lengths.items()
        ]
    )
    drawn = learning_curves(history, [Curve("loss", "active", "validation")], title="Loss").svg
    paths = {kind: re.findall(rf'class="line {kind} active" d="M([^"]+)"', drawn) for kind in ("thin", "thick")}
    assert [len(path.split("L")) for path in paths["thin"]] == [6, 3]
    assert [len(path.split("L")) for path in paths["thick"]] == [3]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (5.2, 83.7), (-1e-4, 3e-4), (999.0, 1001.0), (0.0, 3e7)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert low - 1e-9 * abs(low) <= ticks[0]
    assert ticks[-1] <= high * (1 + 1e-9)
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert f"{steps[0]:.0e}"[0] in "125"
