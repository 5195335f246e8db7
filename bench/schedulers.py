"""What asha and the median rule save, and what they lose, against fifo: on finished searches, replayed.

``python -m bench.schedulers --record FOLDER ...`` takes records of sweeps under fifo (`tune.record.SweepRecord`: the
artefact folder ``sweep`` of the parent run). Every curve is then known to its end, so any scheduler can be replayed
without training: Ray Tune's own schedulers (`tune.schedule`) are told the rungs in the order in which so many workers
would reach them, the trials in an order of their own for every seed. Without ``--record`` a small sweep is run first,
under fifo and then really under both others.
"""

from __future__ import annotations

import argparse
import heapq
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.sweeps import converted, run_sweep
from ms2img.ms2toimg.summarise import fold_metrics, mean_and_sd
from tune.record import SweepRecord
from tune.schedule import Scheduler, make_scheduler, rungs
from tune.trainable import EPOCHS, SCORE

SCHEDULERS: tuple[Scheduler, ...] = ("fifo", "asha", "median")


@dataclass(frozen=True)
class Curves:
    """A finished sweep: `score` [trials, epochs], the mean over the folds of the inner validation accuracy at each
    fold's best epoch so far, which is what a rung reports; and `seconds` [trials] of an epoch of all folds.
    """

    record: SweepRecord
    numbers: list[int]
    score: np.ndarray
    seconds: np.ndarray

    @classmethod
    def of(cls, record: SweepRecord) -> Curves:
        """Of a sweep whose trials were all trained to the end, failed ones left out."""
        trials = record.trials[record.trials["status"] == "finished"].set_index("trial")
        history = record.history[record.history["trial"].isin(trials.index)].sort_values(["trial", "fold", "epoch"])
        shape = (len(trials), record.summary["folds"], record.summary["epochs"])
        loss = history["validation_loss"].to_numpy().reshape(shape)
        accuracy = history["validation_accuracy"].to_numpy().reshape(shape)
        # The first epoch with the lowest loss so far, as the training loop keeps it.
        epoch = np.arange(shape[2])
        is_best = loss <= np.minimum.accumulate(loss, axis=2)
        is_best[..., 1:] &= loss[..., 1:] < np.minimum.accumulate(loss, axis=2)[..., :-1]
        best = np.maximum.accumulate(np.where(is_best, epoch, 0), axis=2)
        score = np.take_along_axis(accuracy, best, axis=2).mean(axis=1)
        return cls(record, trials.index.tolist(), score, trials["seconds"].to_numpy() / shape[2])


@dataclass(frozen=True)
class Outcome:
    """What a scheduler did: epochs of all folds it trained, and what could then be chosen."""

    epochs: int
    best: float  # inner validation accuracy of the winner
    nested_accuracy: float
    nested_auc: float


class _Trial:
    """What Ray Tune's schedulers and `tune.schedule` ask of a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)
        self.config = {"trial": {"number": number}}


def replay(curves: Curves, scheduler: Scheduler, *, seed: int, workers: int) -> Outcome:
    """One search with the trials in the order of `seed` (0: their own), `workers` of them at a time."""
    epochs = curves.score.shape[1]
    stops = rungs(scheduler, epochs)
    order = np.arange(len(curves.numbers)) if seed == 0 else np.random.default_rng(seed).permutation(len(curves.score))
    waiting, ray_scheduler = order.tolist()[::-1], make_scheduler(scheduler, epochs, [])
    trials = [_Trial(i) for i in range(len(order))]
    trained = np.zeros(len(order), dtype=int)
    running: list[tuple[float, int, int]] = []  # when the next rung is reached, which trial, the rung's number

    def begin(now: float) -> None:
        if waiting:
            trial = waiting.pop()
            ray_scheduler.on_trial_add(None, trials[trial])
            heapq.heappush(running, (now + stops[0] * curves.seconds[trial], trial, 0))

    for _ in range(workers):
        begin(0.0)
    while running:
        now, trial, rung = heapq.heappop(running)
        trained[trial] = stops[rung]
        result = {EPOCHS: stops[rung], SCORE: float(curves.score[trial, stops[rung] - 1])}
        if rung + 1 == len(stops):
            ray_scheduler.on_trial_complete(None, trials[trial], result)
            begin(now)
        elif ray_scheduler.on_trial_result(None, trials[trial], result) == "CONTINUE":
            further = (stops[rung + 1] - stops[rung]) * curves.seconds[trial]
            heapq.heappush(running, (now + further, trial, rung + 1))
        else:
            begin(now)
    finished = [curves.numbers[trial] for trial in np.flatnonzero(trained == epochs)]
    accuracy, auc = nested_scores(curves.record, finished)
    best = float(curves.score[trained == epochs, -1].max())
    return Outcome(int(trained.sum()) * curves.record.summary["folds"], best, accuracy, auc)


def nested_scores(record: SweepRecord, finished: Sequence[int]) -> tuple[float, float]:
    """Outer accuracy and AUC per accession, means over the folds, each fold by the trial its inner part chooses."""
    best = record.history[record.history["is_best"] & record.history["trial"].isin(finished)]
    best = best.merge(record.trials[["trial", "n_weights"]], on="trial")
    best["validation_accuracy"] = best["validation_accuracy"].round(12)
    best = best.sort_values(
        ["validation_accuracy", "validation_loss", "n_weights", "trial"], ascending=[False, True, True, True]
    )
    chosen = best.groupby("fold").first().reset_index()[["fold", "trial"]]
    scores = mean_and_sd(fold_metrics(record.predictions.merge(chosen, on=["fold", "trial"]).drop(columns="trial")))
    return scores["accession_accuracy_mean"], scores["accession_roc_auc_mean"]


def main() -> None:
    """Replay, or run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", type=Path, nargs="+", help="folders of records of sweeps under fifo")
    parser.add_argument("--seeds", type=int, default=50, help="orders of the trials that are replayed")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time, replayed")
    parser.add_argument("--images", type=Path, help="qemistree images of ms2img convert [default: made at 75x70]")
    parser.add_argument("--assay", default="tomato", help="of the sweep that is run without --record")
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=18)
    options = parser.parse_args()
    records = [SweepRecord.load(folder) for folder in options.record or ()]
    really: dict[str, dict[str, Any]] = {}
    if not records:
        really, record = _run(options)
        records = [record]
    for record in records:
        _print_replayed(record, options)
    if really:
        print(f"\nReally run, load {os.getloadavg()[0]:.1f}:\n")
        print("| | epochs | best inner accuracy | nested accuracy | AUC | trials stopped |\n|---|---|---|---|---|---|")
        for name, summary in really.items():
            nested, best = summary["nested"], summary["winner"]["validation_accuracy"]
            print(f"| {name} | {summary['epochs_trained']} | {best:.3f} | {nested['accuracy_mean']:.3f} | ", end="")
            print(f"{nested['roc_auc_mean']:.3f} | {summary['counts']['stopped']} |")


def _run(options: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], SweepRecord]:
    found = {}
    with tempfile.TemporaryDirectory(prefix="ms2img-bench-") as scratch:
        images = options.images or converted(Path(scratch) / "images", "75x70")
        for scheduler in SCHEDULERS:
            found[scheduler] = run_sweep(
                images, options.assay, Path(scratch) / scheduler, scheduler=scheduler, trials=options.trials,
                folds=options.folds, epochs=options.epochs,
            ).sweep  # fmt: skip
    return {name: record.summary for name, record in found.items()}, found["fifo"]


def _print_replayed(record: SweepRecord, options: argparse.Namespace) -> None:
    summary, curves = record.summary, Curves.of(record)
    kind = "simulated study" if summary.get("simulated") else "real runs"
    print(f"\nAssay `{summary['assay']}` ({kind}), space `{summary['space']['name']}`: ", end="")
    print(f"{len(curves.numbers)} trials of ", end="")
    print(f"{summary['folds']} folds, {summary['epochs']} epochs, replayed in {options.seeds} orders with ", end="")
    print(f"{options.workers} trials at a time; means (least to most)\n")
    print("| | epochs trained | saved | best inner accuracy | equal to fifo's | nested accuracy | nested AUC |")
    print("|---|---|---|---|---|---|---|")
    reference: list[Outcome] = []
    for scheduler in SCHEDULERS:
        found = [replay(curves, scheduler, seed=seed, workers=options.workers) for seed in range(options.seeds)]
        if not reference:
            _require_same(found[0], summary)
            reference = found
        saved = 1 - statistics.fmean(one.epochs for one in found) / reference[0].epochs
        equal = sum(one.best >= best.best - 1e-9 for one, best in zip(found, reference, strict=True))
        print(f"| {scheduler} | {_spread([one.epochs for one in found], 0)} | {100 * saved:.0f} % | ", end="")
        print(f"{_spread([one.best for one in found], 3)} | {equal} of {len(found)} | ", end="")
        print(
            f"{_spread([one.nested_accuracy for one in found], 3)} | {_spread([one.nested_auc for one in found], 3)} |"
        )


def _require_same(replayed: Outcome, summary: dict[str, Any]) -> None:
    """Refuse to compare when the replay of fifo is not what the sweep itself reported."""
    found = (replayed.epochs, replayed.best, replayed.nested_accuracy, replayed.nested_auc)
    nested = summary["nested"]
    chosen = (summary["epochs_trained"], summary["winner"]["validation_accuracy"])
    reported = (*chosen, nested["accuracy_mean"], nested["roc_auc_mean"])
    if summary["counts"]["failed"] == 0 and not np.allclose(found, reported, equal_nan=True):
        raise RuntimeError(f"replayed under fifo the sweep gives {found}, but it reported {reported}")


def _spread(values: Sequence[float], digits: int) -> str:
    if min(values) == max(values):
        return f"{statistics.fmean(values):.{digits}f}"
    return f"{statistics.fmean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
