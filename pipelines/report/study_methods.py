"""How a study was done: its data, split and models, what each number means, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.report.facts import PAPER, bins, count
from pipelines.report.study_grid import MODELS, REPRESENTATIONS, pixels, variants
from pipelines.study.record import DONE, FAILED, NOT_RUN, StudyRecord


def cell_counts(cells: pd.DataFrame) -> str:
    """ "41 of 60 cells ran, 17 were not run, 2 failed."""
    done, absent, failed = (int((cells["status"] == status).sum()) for status in (DONE, NOT_RUN, FAILED))
    parts = [f"{done} of {count(len(cells), 'cell')} ran"]
    if absent:
        parts.append(f"{absent} not run")
    if failed:
        parts.append(f"{failed} failed")
    return ", ".join(parts)


def task_facts(about: Mapping[str, Any]) -> str:
    """The data of one task in a line."""
    counts = about["counts"]
    active, inactive = (int(counts[f"{name}_accessions"]) for name in ("active", "inactive"))
    runs = int(counts["active_runs"]) + int(counts["inactive_runs"])
    other = "low" if about["active"] == "high" else "high"
    return (
        f"{'SIMULATED; ' if about['simulated'] else ''}assay {about['assay']}; {active} {about['active']} and "
        f"{inactive} {other} accessions in {count(runs, 'run')}, {counts['between_accessions']} between the classes "
        f"and in no metric; low below {about['low']:g}, high above {about['high']:g} of the scaled assay value; "
        f"sheet {about['samples']}"
    )


def methods(record: StudyRecord) -> Iterator[tuple[str, list[str]]]:
    """Paragraphs as heading and sentences."""
    cells, summary = record.cells, record.summary
    seeds = sorted(int(seed) for seed in cells["seed"].unique())
    yield (
        "Data and split",
        [
            "Only rows of kind sample with a value of the assay are learned from. The assay is scaled from 0 to 1 over "
            "its accession means, and accessions between the thresholds are left out.",
            f"{count(int(summary['folds']), 'fold')}, stratified by class, replicates of an accession always together; "
            f"one split a seed ({count(len(seeds), 'seed')}: {', '.join(map(str, seeds))}). Every model of a task is "
            "trained and tested on the same folds at equal seed.",
        ],
    )
    sizes = sorted({name for name in cells["resolution"] if name}, key=pixels)
    if sizes:
        told = "; ".join(f"{name}: {bin_width(name)} a pixel" for name in sizes)
        yield "Images", [f"Height × width, and what a pixel spans (fragment × precursor m/z): {told}."]
    yield "Models", [*_models(cells), *_model_notes(cells)]
    yield "Numbers", list(_definitions())
    yield "Comparison", list(_comparison())
    yield "Method", [f"After the paper “{PAPER}”; Table 1, Table 2 and Figures 3 to 5 are numbered as there."]


def _models(cells: pd.DataFrame) -> Iterator[str]:
    """A sentence a representation."""
    every = variants(cells)
    for taken in dict.fromkeys(variant.representation for variant in every):
        models = dict.fromkeys(variant.model for variant in every if variant.representation == taken)
        yield f"On {REPRESENTATIONS.get(taken, taken)}: {', '.join(MODELS.get(model, model) for model in models)}."


def _model_notes(cells: pd.DataFrame) -> Iterator[str]:
    if cells["model"].str.startswith("cnn").any():
        yield (
            "A CNN’s preset is its name after “cnn-”. Where a preset sets accessions aside within the training part to "
            "choose the epoch, the other models train on those too."
        )
    if (cells["representation"] != "image").any():
        yield "Preprocessing of tables (scaling, imputation) is fitted on the training rows of each fold alone."


def _definitions() -> Iterator[str]:
    yield (
        "Per accession: the probabilities of its runs are averaged, and the accession counts once; from 0.5 it is "
        "called active. ROC AUC is the chance that an active accession outranks an inactive one (0.5 is chance, 1 "
        "perfect); precision, recall and F1 are those of the active class."
    )
    yield "± is the sample standard deviation over the folds of all seeds; it is no confidence interval."
    yield (
        "R2X and R2Y are the shares of the features’ and of the classes’ variance that the OPLS-DA fits on all "
        "labelled runs, Q2Y that of the classes it predicts in 7-fold cross-validation; p is the share of label "
        "permutations, the true labels counted among them, that do at least as well. Scores are of a model of all "
        "labelled runs: they describe, and say nothing about new samples."
    )
    yield "Boxes are quartiles, whiskers reach the furthest fold within 1.5 interquartile ranges (Tukey)."


def _comparison() -> Iterator[str]:
    yield (
        "Models are compared over the same folds by the corrected resampled t-test (Nadeau & Bengio 2003) in its form "
        "for repeated cross-validation (Bouckaert & Frank 2004): the variance of the mean difference is that of the "
        "differences times 1/n + n_test/n_train for n folds, with n − 1 degrees of freedom, because training sets "
        "overlap. The interval is the same test’s, at 95\N{NO-BREAK SPACE}%, for one pair alone."
    )
    yield (
        "The corrected p is Holm’s, over all pairs of one task and metric. A difference is called more than noise "
        "where it is below 0.05. Tasks are not corrected for each other."
    )


def caveats(record: StudyRecord) -> Iterator[str]:
    """What to be careful about."""
    yield (
        "The best CNN and the best other model are chosen by the same folds on which they are compared. The side with "
        "more candidates gains by that, and Holm’s correction does not undo it."
    )
    yield (
        "The folds come from one data set. Unless a drift or transfer is shown, they say nothing about another "
        "instrument, laboratory or season."
    )
    yield "A difference that is noise here may be real: more accessions, not more seeds, would tell."
    if record.summary["simulated"]:
        yield (
            "Simulated runs carry what the simulation puts into them: which model wins there says how the models work, "
            "not how they do on plants."
        )
    missing = int((record.cells["status"] != DONE).sum())
    if missing:
        yield (
            f"{count(missing, 'cell')} of the grid {'has' if missing == 1 else 'have'} no result. Nothing was filled "
            "in: “best” means best of what ran."
        )


def bin_width(resolution: str) -> str:
    """ "150x140" -> "10 × 10 Da", by the default m/z ranges of the image (the paper's)."""
    height, width = (int(side) for side in resolution.split("x"))
    return bins({**RenderConfig().model_dump(mode="json"), "height": height, "width": width})[1]


def provenance(summary: Mapping[str, Any]) -> str:
    """When, how long and with what."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(summary["versions"].items()))
    return f"Study of {summary['created']}, {summary['seconds'] / 60:.0f} min of computing, with {versions}."


def seeds_text(seeds: Sequence[int], planned: int) -> str:
    """ "3 seeds", "1 of 3 seeds"."""
    return count(planned, "seed") if len(seeds) == planned else f"{len(seeds)} of {count(planned, 'seed')}"
