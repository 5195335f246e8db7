"""Labels from hand-computed sheets and from the real one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ms2img.errors import UsageError
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.labels import LabelConfig, Labels, make_labels

ROWS = [
    # sample_id, kind, accession, dpph
    ("a1", "sample", "A", 10),
    ("a2", "sample", "A", 14),  # mean 12: the minimum
    ("b1", "sample", "B", 20),  # (20 - 12) / 20 = 0.4: right on low, so between
    ("c1", "sample", "C", 24),  # 0.6: right on high, so between
    ("d1", "sample", "D", 32),  # the maximum
    ("e1", "sample", "E", 25),  # 0.65
    ("f1", "sample", "F", 19),  # 0.35
    ("g1", "sample", "G", None),
    ("x1", "blank", "A", 500),
    ("q1", "qc", "Q", 0),
]


def sheet_of(tmp_path: Path, rows: list[tuple]) -> Sheet:
    table = pd.DataFrame(rows, columns=["sample_id", "kind", "accession", "dpph"])
    table.insert(1, "path", table["sample_id"] + ".mgf")
    table.to_csv(tmp_path / "samples.csv", index=False)
    return Sheet.read(tmp_path / "samples.csv")


def targets(labels: Labels) -> dict[str, int]:
    return dict(zip(labels.sample_ids, labels.target.tolist(), strict=True))


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    return sheet_of(tmp_path, ROWS)


def test_classes_of_accession_means(sheet: Sheet) -> None:
    labels = make_labels(sheet, LabelConfig(assay="dpph"), [row[0] for row in ROWS])
    assert targets(labels) == {"a1": 0, "a2": 0, "b1": -1, "c1": -1, "d1": 1, "e1": 1, "f1": 0}
    assert (labels.value_min, labels.value_max) == (12, 32)
    np.testing.assert_allclose(labels.value, [12, 12, 20, 24, 32, 25, 19])
    np.testing.assert_allclose(labels.scaled, [0, 0, 0.4, 0.6, 1, 0.65, 0.35])
    assert labels.accessions == ("A", "A", "B", "C", "D", "E", "F")
    assert labels.without_image == ()


def test_low_can_be_the_active_class(sheet: Sheet) -> None:
    high = make_labels(sheet, LabelConfig(assay="dpph"), [row[0] for row in ROWS])
    low = make_labels(sheet, LabelConfig(assay="dpph", active="low"), [row[0] for row in ROWS])
    swapped = {0: 1, 1: 0, -1: -1}
    assert targets(low) == {sample: swapped[value] for sample, value in targets(high).items()}
    assert low.fingerprint() != high.fingerprint()


def test_a_missing_image_is_named_and_moves_no_label(sheet: Sheet) -> None:
    labels = make_labels(sheet, LabelConfig(assay="dpph"), {"a2", "b1", "e1", "x1"})
    assert labels.without_image == ("a1", "c1", "d1", "f1")
    assert targets(labels) == {"a2": 0, "b1": -1, "e1": 1}
    assert (labels.value_min, labels.value_max) == (12, 32)


@pytest.mark.parametrize(
    ("rows", "images", "told"),
    [
        ([("a", "sample", "A", None), ("b", "blank", "B", 3)], "ab", "no row of kind 'sample' has a value of 'dpph'"),
        ([("a", "sample", "A", 3), ("b", "sample", "B", 3)], "ab", "'dpph' is 3 for every accession"),
        (
            [("a", "sample", "A", 0), ("b", "sample", "B", 9), ("c", "sample", "C", 5)],
            "ac",
            "1 low, 0 high and 1 accessions between .*; 1 runs with a value have no image: b",
        ),
    ],
)
def test_no_two_classes(tmp_path: Path, rows: list[tuple], images: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_labels(sheet_of(tmp_path, rows), LabelConfig(assay="dpph"), images)


def test_unknown_assay_and_bad_thresholds(sheet: Sheet) -> None:
    with pytest.raises(UsageError, match="did you mean 'dpph'"):
        make_labels(sheet, LabelConfig(assay="dpp"), ["a1"])
    with pytest.raises(UsageError, match="low 0.7 exceeds high 0.6"):
        LabelConfig.checked({"assay": "dpph", "low": 0.7}, source="test")


def test_presence_on_the_real_sheet(shared: Path) -> None:
    sheet = Sheet.read(shared / "data/qemistree/samples.csv")
    config = LabelConfig(assay="tomato", low=0.01, high=0.01)
    labels = make_labels(sheet, config, [run.sample_id for run in sheet.runs])
    # The sheet's own count: 81 sample runs, 36 of them without tomato; 17 blanks and QCs carry numbers too.
    assert Counter(labels.target.tolist()) == {1: 45, 0: 36}
    assert len(set(labels.accessions)) == 27
    assert not {run.sample_id for run in sheet.runs if run.kind != "sample"} & set(labels.sample_ids)
