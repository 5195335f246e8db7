"""The section of a page that tells of a search: what was tried, what each rule of choosing says, which trials led."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pandas as pd

from pipelines.report import sweep_figures as figures
from pipelines.report.facts import count, listed
from pipelines.report.sweep_axes import axes_of, said_value
from pipelines.report.sweep_trials import Trials
from pipelines.report.table import MeanSd

LISTED_TRIALS = 10


class Search(Protocol):
    """What the section needs; `tune.record.SweepRecord` is one."""

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial."""

    @property
    def summary(self) -> dict[str, Any]:
        """The space, the options, what each rule chose and found."""


def search_context(search: Search) -> dict[str, Any]:
    """Everything the template of the section names."""
    summary, trials = search.summary, Trials.of(search.trials)
    axes = axes_of(summary["space"], trials.names)
    return {
        "lede": " ".join(_lede(summary)),
        "facts": list(_facts(summary, float(search.trials["ended"].max()))),
        "rules": _rules(summary),
        "optimism": [" ".join(_optimism(summary)), " ".join(_provisos(summary))],
        "progress": [figures.best_so_far(trials, by_time=by_time) for by_time in (False, True)],
        "rules_figure": figures.rules(summary),
        "all_trials": figures.all_trials(trials, axes),
        "against": [figures.against(trials, axis) for axis in axes],
        "against_legend": figures.against_legend(trials),
        "names": trials.names,
        "top": [_listed(row, trials) for row in trials.finished[:LISTED_TRIALS]],
        "finished": len(trials.finished),
        "unfinished": len(trials.others),
        "others": list(_others(trials, summary["scheduler"])),
    }


def _lede(summary: Mapping[str, Any]) -> Iterator[str]:
    counts = summary["counts"]
    tried = f"{count(summary['trials'], 'choice')} of hyper-parameters {'was' if summary['trials'] == 1 else 'were'}"
    yield f"{tried} tried on the same {count(summary['folds'], 'fold')}: {counts['finished']} finished"
    stopped, failed = counts["stopped"], counts["failed"]
    yield f"({stopped} stopped early, {failed} failed)." if stopped or failed else "(none stopped, none failed)."
    yield (
        "Within each fold a validation part, taken out of the training accessions, scores every trial; the fold’s test "
        "accessions take no part in training."
    )


def _facts(summary: Mapping[str, Any], seconds: float) -> Iterator[tuple[str, str]]:
    """Rows of name and value; `seconds`: of training, over all runs of the sweep."""
    space = summary["space"]
    yield "Space", f"{space['name']}: {', '.join(sorted(space['parameters']))}; the rest is preset {space['base']}"
    yield "Searcher and scheduler", f"{summary['searcher']}, {summary['scheduler']}; seed {summary['seed']}"
    trained, full = summary["epochs_trained"], summary["epochs_full"]
    share = f" ({100 * trained / full:.0f}\N{NO-BREAK SPACE}%)" if full else ""
    yield "Epochs", f"{summary['epochs']} a fold at most; trained {trained:,} of {full:,}{share}"
    yield "Time", f"{seconds / 60:.1f} minutes of trials, without the gaps of a sweep that was resumed"


def _rules(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table: who chose, by what, which trial, and what it scored on the test folds."""
    chosen = {
        "nested": ("Nested", "for each fold, its own validation part", _nested_trials(summary)),
        "winner": ("Winner", "the validation parts of all folds together", str(summary["winner"]["trial"])),
        "paper_rule": ("Paper’s rule", "the test folds themselves", str(summary["paper_rule"]["trial"])),
    }
    return [
        {
            "name": name,
            "by": by,
            "trial": trial,
            "accuracy": str(_found(summary[key], "accuracy", summary["folds"])),
            "roc_auc": str(_found(summary[key], "roc_auc", summary["folds"])),
        }
        for key, (name, by, trial) in chosen.items()
    ]


def _optimism(summary: Mapping[str, Any]) -> Iterator[str]:
    """What the rules' difference means, in this run's numbers."""
    honest, hopeful = (_found(summary[rule], "accuracy", summary["folds"]) for rule in ("nested", "paper_rule"))
    gap = hopeful.mean - honest.mean
    yield (
        f"The nested accuracy, {honest.mean_text}, is the one to quote: whatever was chosen for a fold was chosen "
        "without its test accessions."
    )
    number = summary["paper_rule"]["trial"]
    if gap > 0.0005:
        yield (
            f"The paper’s rule takes the trial that does best on the test folds (trial {number}) and reports the very "
            f"score that made it the best, {hopeful.mean_text}: here {gap:.3f} more. That difference is the optimism "
            "of choosing and reporting on the same accessions; new samples will not show it."
        )
        if honest.n > 1 and gap < honest.sd:
            yield f"It is less than the spread between folds (standard deviation {honest.sd_text})."
    else:
        yield (
            f"The paper’s rule, which takes the trial that does best on the test folds (trial {number}) and reports "
            f"that very score, says {hopeful.mean_text}: no more than the nested one, so this search shows no optimism."
        )


def _provisos(summary: Mapping[str, Any]) -> Iterator[str]:
    """What the honest figure, and the model that was kept, are not."""
    if not summary["nested"]["strict"]:
        yield (
            f"The scheduler ({summary['scheduler']}) stopped trials by the validation parts of all folds together, "
            "so the nested figure is nearly, not strictly, nested."
        )
    yield (
        f"The model that was kept is trial {summary['winner']['trial']}, the winner, trained anew on all labelled "
        "accessions. Its own scores may be slightly optimistic too, since an accession tested in one fold is in the "
        "validation part of others."
    )


def _listed(row: Mapping[str, Any], trials: Trials) -> dict[str, Any]:
    return {**row, "said": [said_value(row["values"].get(name, "-")) for name in trials.names]}


def _others(trials: Trials, scheduler: str) -> Iterator[str]:
    """Why trials did not finish: a line for each status and reason, with the trials' numbers."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row in trials.others:
        groups.setdefault((row["status"], row["reason"]), []).append(row["trial"])
    for (status, reason), numbers in sorted(groups.items()):
        named = listed([str(number) for number in numbers], LISTED_TRIALS)
        what = f"stopped early by {scheduler}" if status == "stopped" else status
        yield f"{count(len(numbers), 'trial')} {what}{f': {reason}' if reason else ''} (number {named})"


def _nested_trials(summary: Mapping[str, Any]) -> str:
    """ "12 (folds 1, 3), 40 (fold 2)"."""
    folds: dict[int, list[str]] = {}
    for index, trial in enumerate(summary["nested"]["trials"]):
        folds.setdefault(int(trial), []).append(str(index + 1))
    return ", ".join(
        f"{trial} ({'fold' if len(each) == 1 else 'folds'} {', '.join(each)})" for trial, each in folds.items()
    )


def _found(section: Mapping[str, Any], measure: str, folds: int) -> MeanSd:
    """A section's mean and sd; null, as JSON has it, where they are undefined."""
    mean, sd = (section[f"{measure}_{what}"] for what in ("mean", "sd"))
    if mean is None or not math.isfinite(mean):
        return MeanSd(math.nan, math.nan, 0)
    defined = sd is not None and math.isfinite(sd)
    return MeanSd(float(mean), float(sd) if defined else math.nan, folds if defined else 1)
