"""Which trial wins, by which rule: selection on inner validation (ours), per fold (nested), and the paper's.

A fold's training accessions hold an inner validation part, which chose the epoch; the fold's outer test part is only
predicted. Ties everywhere: lower loss, fewer weights, lower trial number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ms2img.errors import JobError
from ms2img.learn.metrics import binary_metrics
from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask
from ms2img.ms2toimg.labels import Labels
from tune.forms import SplitResult
from tune.trial import TrialResult

ACCURACY = "validation_accuracy"  # what decides between CNNs
DECIMALS = 12  # scores that differ by less are equal: sums of fractions are not exact


class Score(NamedTuple):
    """What a choice looks at: the value of a measure (higher is better), then the loss (lower is better)."""

    value: float
    loss: float


def validation_score(fold: FoldResult | SplitResult, measure: str = ACCURACY) -> Score:
    """Measure (a column of the history) and loss of the fold's inner validation part at its best epoch."""
    [best] = [row for row in fold.history if row["epoch"] == fold.best_epoch]
    return Score(best[measure], best["validation_loss"])


def scored(result: TrialResult, measure: str = ACCURACY) -> Score:
    """Mean inner validation measure and loss over the trial's folds."""
    return _mean([validation_score(fold, measure) for fold in result.folds])


def winner(results: Sequence[TrialResult], measure: str = ACCURACY) -> TrialResult:
    """The finished trial with the highest mean inner validation measure. `JobError` when none finished."""
    return min(finished(results), key=lambda result: _rank(scored(result, measure), result))


def nested(results: Sequence[TrialResult]) -> list[int]:
    """For every fold the number of the finished trial that the fold's inner validation part alone chooses.

    The fold's test part had no say in it, so its score there is honest.
    """
    candidates = finished(results)
    return [
        min(candidates, key=lambda result: _rank(validation_score(result.folds[index]), result)).number
        for index in range(len(candidates[0].folds))
    ]


def papers_choice(results: Sequence[TrialResult], tasks: Sequence[FoldTask], labels: Labels) -> int:
    """The number of the finished trial with the best mean outer accuracy: the score it is then reported with.

    MS2toImg, "Model Architecture": the configuration with the highest validation accuracy. `tasks`: of any trial, in
    the order of the folds.
    """
    chosen = min(
        finished(results),
        key=lambda result: _rank(
            _mean([outer_score(fold, task, labels) for fold, task in zip(result.folds, tasks, strict=True)]), result
        ),
    )
    return chosen.number


def outer_score(fold: FoldResult, task: FoldTask, labels: Labels) -> Score:
    """Accuracy and cross-entropy on the fold's test part, per accession (mean probability of its runs)."""
    rows = task.fold.test
    _, group = np.unique(np.array(labels.accessions)[rows], return_inverse=True)
    size = np.bincount(group)
    probability = np.bincount(group, weights=fold.probability) / size
    target = np.rint(np.bincount(group, weights=labels.target[rows]) / size).astype(np.int64)  # one class an accession
    of_truth = np.clip(np.where(target == 1, probability, 1 - probability), np.finfo(np.float64).tiny, None)
    return Score(binary_metrics(target, probability).accuracy, float(-np.log(of_truth).mean()))


def finished(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The trials a choice is made from; `JobError` when there are none."""
    found = [result for result in results if result.status == "finished"]
    if not found:
        ended = ", ".join(f"{count} {status}" for status, count in Counter(each.status for each in results).items())
        reasons = [f"; trial {each.number}: {each.reason}" for each in results if each.reason]
        raise JobError(f"no trial finished ({ended or 'none began'}){reasons[0] if reasons else ''}")
    return found


def _mean(scores: Sequence[Score]) -> Score:
    return Score(*(math.fsum(column) / len(scores) for column in zip(*scores, strict=True)))


def _rank(score: Score, result: TrialResult) -> tuple[float, float, int, int]:
    """The lowest is the best."""
    return (-round(score.value, DECIMALS), round(score.loss, DECIMALS), result.n_weights, result.number)
