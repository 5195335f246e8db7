"""The closing section: how it was done and what to be careful about, generated from the facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.report.classes import Classes
from pipelines.report.facts import PAPER, Cohort, bins, count, split_rule
from pipelines.report.table import Confusion


def methods(
    summary: Mapping[str, Any],
    cohort: Cohort,
    classes: Classes,
    counts: Confusion,
    leaking: Sequence[str],
    searched: int | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Paragraphs as heading and sentences; `searched`: trials of a search, where the networks came of one."""
    render, fit = summary["render"], summary["fit"]
    size, pixel = bins(render)
    yield (
        "Images",
        [
            f"Each run is one grey image of {size}; a pixel spans {pixel}.",
            "A fragment is a disc at its precursor's m/z (across) and its own m/z (up): the disc's area follows the "
            "precursor's intensity, its grey the fragment's intensity within the spectrum.",
            f"Precursors with {render['intensity_cut']:g} or less of the run's total intensity are left out"
            + ("." if render["keep_above_precursor"] else ", and so are fragments heavier than their precursor."),
            "Retention time is not in the image, and no compound is identified.",
        ],
    )
    yield (
        "Network and training",
        [
            f"Preset {summary['preset']}; {fit['epochs']} epochs{'' if _last(fit) else ' at most'}, "
            f"batches of {fit['batch_size']}, learning rate {fit['learning_rate']:g}, seed {fit['seed']}."
            if searched is None
            else f"A search of {count(searched, 'trial')}, see there; {fit['epochs']} epochs at most, seed "
            f"{fit['seed']}. Folds may differ in network and training: each has what its own validation part chose.",
            _kept(fit, searched),
            *_refit(summary, cohort, "the winner’s folds" if searched is not None else "the folds"),
        ],
    )
    yield (
        "Evaluation",
        [
            f"{cohort.folds} folds, stratified by class; {split_rule(leaking)}.",
            "Per accession, the probabilities of its runs are averaged; that level comes first, because runs of one "
            "accession are no independent samples.",
            f"An accession counts as {classes.active} from a probability of {classes.cut:g}; always naming the larger "
            f"class would be right for {100 * counts.larger_class_share:.0f}\N{NO-BREAK SPACE}%.",
            "± is the sample standard deviation over folds. The folds share training data, so it is no confidence "
            "interval.",
        ],
    )
    yield (
        "Method",
        [f"After the paper “{PAPER}”; what it leaves open was chosen by ms2img and is in the configuration below."],
    )


def _last(fit: Mapping[str, Any]) -> bool:
    """Whether the last epoch's weights were kept; a record of an older version has no such entry."""
    return bool(fit.get("keep") == "last")


def _kept(fit: Mapping[str, Any], searched: int | None) -> str:
    if not _last(fit):
        return (
            "In every fold a part of the training accessions was set aside, and the weights of the epoch with the "
            "lowest loss on it were kept; the test fold took no part in that choice."
        )
    if searched is None:
        return "All training accessions of a fold were learned from, and the weights of the last epoch were kept."
    return (
        "In every fold a part of the training accessions was set aside to choose among the trials; the weights of "
        "their last epoch were kept."
    )


def _refit(summary: Mapping[str, Any], cohort: Cohort, folds: str) -> Iterator[str]:
    epochs = summary["refit_epochs"]
    if epochs is not None:
        median = "" if _last(summary["fit"]) else f", the median of the best ones of {folds}"
        yield (
            f"The model that was kept was trained anew on all {cohort.accessions} labelled accessions for {epochs} "
            f"epochs{median}. Cross-validation measures this procedure, not that one network."
        )


def caveats(cohort: Cohort, classes: Classes, searched: int | None = None) -> Iterator[str]:
    """What the numbers do not say, a sentence or two each; `searched` as in `methods`."""
    yield (
        "The thresholds lie on a 0-1 scale between the lowest and the highest accession mean of this data set, so the "
        "classes are relative to it: another data set with another range has other classes."
    )
    if cohort.unused_accessions:
        yield (
            f"{cohort.unused_accessions} accessions between the thresholds are neither trained on nor counted in any "
            "metric. In use the model meets such samples too; how it does on them is not measured here."
        )
    yield (
        "The folds come from one data set: they say nothing about another instrument, another laboratory, other "
        "acquisition settings or other species."
    )
    tried = "Presets" if searched is None else "The search space, the searcher"
    yield (
        f"{tried} and thresholds should have been chosen before looking at this page. If several were tried and the "
        "best is shown, the metrics are optimistic."
    )
    yield f"A probability near 1 is a ranking score, not a calibrated chance of being {classes.active}."
