"""What ``ms2img train`` makes of a preset and of what the user changed, and how its report tells of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.recipe_tasks import TASKS
from ms2img.ms2toimg.cnn import PRESETS, TRAINING
from pipelines.report.page import build_report
from pipelines.train import TrainConfig
from tests.record_samples import make_record
from tests.report_pages import make_record as make_reported

REQUIRED = {"images": "images", "samples": "samples.csv", "assay": "dpph"}


def test_the_recipe_for_small_cohorts_is_the_default_and_the_paper_s_stands_beside_it() -> None:
    config = TrainConfig(**REQUIRED)
    assert (config.preset, config.epochs) == ("small", None)
    fit = config.fit_config()
    assert (fit.epochs, fit.keep, fit.weight_decay, fit.drop_precursors) == (40, "last", 10.0, 0.0)
    paper = TrainConfig(**REQUIRED, preset="paper").fit_config()
    assert (paper.epochs, paper.batch_size, paper.learning_rate, paper.keep) == (80, 32, 1e-4, "best")
    assert (paper.weight_decay, paper.drop_precursors) == (0, 0)
    assert TRAINING.keys() == PRESETS.keys()


def test_what_the_user_names_goes_before_the_preset() -> None:
    fit = TrainConfig(**REQUIRED, epochs=7, batch_size=4, learning_rate=0.5, seed=3).fit_config()
    assert (fit.epochs, fit.batch_size, fit.learning_rate, fit.seed, fit.keep) == (7, 4, 0.5, 3, "last")
    patient = TrainConfig(**REQUIRED, patience=5).fit_config()  # waits for a better epoch, so the best one is kept
    assert (patient.patience, patient.keep) == (5, "best")


def test_the_preset_is_the_recipe_that_was_frozen() -> None:
    command = [sys.executable, "-m", "bench.recipe", "--freeze-check"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert told.stdout.startswith("preset small is '")


def test_nothing_held_out_is_among_the_development_tasks() -> None:
    assert {task.assay for task in TASKS.values()} == {"fecal_1", "fecal_2", "dpph", "tpc", "tfc", "elastase"}
    assert all(task.study is not None or task.assay.startswith("fecal") for task in TASKS.values())


@pytest.mark.parametrize("validated", [True, False])
def test_the_report_says_how_the_epoch_was_chosen(validated: bool) -> None:
    record = make_reported()
    assert make_record().history.columns.tolist() == record.history.columns.tolist()
    if not validated:
        record.summary["fit"] = {**record.summary["fit"], "keep": "last"}
        record.history[["validation_loss", "validation_accuracy", "validation_auc"]] = np.nan
    page = build_report(record)
    assert ("The validation part is set aside" in page) == validated
    assert ("lowest loss on it were kept" in page) == validated
    assert ("Nothing was set aside for validation" in page) != validated
    assert ("the weights of the last epoch were kept" in page) != validated
    assert ("Validation scores" in page) == validated
