"""What a study found, in plain sentences. Every claim is decided by the corrected test, and told with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.report.facts import count, listed
from pipelines.report.study_grid import Variant, of, ranking
from pipelines.report.table import MeanSd, mean_sd, rows_of

METRIC = "roc_auc"  # the one the summary speaks of, per accession
P_FLOOR = 0.001  # smaller p are told as below it
MINUS, NBSP = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Side:
    """A model in a contest, its AUC, and the comparison of the best CNN (`a`) with it; None for the CNN itself."""

    variant: Variant
    auc: MeanSd
    test: Mapping[str, Any] | None

    @property
    def verdict(self) -> str:
        """On the CNN, as in `study_compare.with_verdicts`; "nothing" where they were not compared."""
        return str(self.test["verdict"]) if self.test is not None else "nothing"


@dataclass(frozen=True)
class Contest:
    """The best CNN of a task against the best model without images, and against the best other one on images.

    A side is None where nothing of its kind was run. `against`: verdict -> labels of all models it was reached against.
    """

    task: str
    image: Side | None
    rival: Side | None
    pixels: Side | None
    seeds: int  # of the best CNN
    against: Mapping[str, tuple[str, ...]]


def contest(scores: pd.DataFrame, judged: pd.DataFrame, task: str, among: Sequence[Variant]) -> Contest:
    """How the image does in this task; `judged` as by `study_compare.with_verdicts`."""
    ran = ranking(scores, task, among)
    best = next((variant for variant in ran if variant.is_cnn), None)
    tests = judged[(judged["task"] == task) & (judged["metric"] == METRIC)]
    tests = tests[tests["a"] == (best.label if best else None)]
    by_other = {str(row["b"]): row for row in rows_of(tests)}

    def side(variant: Variant | None) -> Side | None:
        if variant is None:
            return None
        return Side(variant, mean_sd(of(scores, task, variant.label)["roc_auc"]), by_other.get(variant.label))

    return Contest(
        task=task,
        image=side(best),
        rival=side(next((variant for variant in ran if variant.representation != "image"), None)),
        pixels=side(next((each for each in ran if each.representation == "image" and not each.is_cnn), None)),
        seeds=int(of(scores, task, best.label)["seed"].nunique()) if best else 0,
        against={
            str(verdict): tuple(str(label) for label in rows["b"])
            for verdict, rows in tests.groupby("verdict", sort=True)
        },
    )


def headline(found: Contest) -> str:
    """The verdict of one task in a few words."""
    if found.image is None or found.rival is None or found.rival.test is None:
        return f"{found.task}: not compared"
    by = size(found.rival.test["difference"])
    return (
        found.task
        + {
            "ahead": f": the image wins by {by} AUC",
            "behind": f": the image loses by {by} AUC",
            "leaning": f": no winner, a difference of {by} AUC does not outlast the correction",
            "noise": f": no winner, a difference of {by} AUC is noise",
            "undefined": ": no winner, the test has no answer",
        }[found.rival.verdict]
    )


def sentences(found: Contest, assay: str) -> list[str]:
    """Who won in this task, by how much, and whether that is more than noise."""
    if found.image is None or found.rival is None:
        missing = "No CNN" if found.image is None else "No model without images"
        return [f"{missing} was run on {assay}, so nothing is said about whether the image wins."]
    folds = f"{count(found.image.auc.n, 'fold')}, {count(found.seeds, 'seed')}"
    said = [
        f"On {assay} the best CNN, {found.image.variant.spoken}, has a ROC AUC of {found.image.auc} per accession "
        f"(mean ± sd over {folds}); the best model without images, {found.rival.variant.spoken}, {found.rival.auc}. "
        + _decided(found.rival)
    ]
    if found.pixels is not None:
        said.append(
            f"On images without a CNN the best model, {found.pixels.variant.spoken}, has {found.pixels.auc}. "
            + _needed(found.pixels)
        )
    return [*said, *_all_others(found)]


def _decided(rival: Side) -> str:
    """Whether the image wins."""
    if rival.test is None:
        return "The two were not compared: they share no folds."
    by, numbers = size(rival.test["difference"]), _numbers(rival.test)
    place = "ahead" if rival.test["difference"] > 0 else "behind"
    return {
        "ahead": f"The image wins by {by} ({numbers}): more than the noise of the folds.",
        "behind": f"The image does not win: it loses by {by} ({numbers}), more than the noise of the folds.",
        "leaning": f"The image does not win: it is {place} by {by} ({numbers}), which would be more than noise for "
        "this pair alone but is not among so many comparisons.",
        "noise": f"The image does not win and does not lose: the difference of {signed(rival.test['difference'])} "
        f"({numbers}) is noise.",
        "undefined": f"The image does not win: the difference of {signed(rival.test['difference'])} has no spread over "
        f"{count(int(rival.test['folds']), 'fold')} to judge it by.",
    }[rival.verdict]


def _needed(pixels: Side) -> str:
    """Whether the network is what makes the image win."""
    if pixels.test is None:
        return "It was not compared with the CNN."
    if pixels.verdict == "undefined":
        return f"The CNN differs from it by {signed(pixels.test['difference'])} in every fold: nothing to judge it by."
    numbers = f"{signed(pixels.test['difference'])}; {_numbers(pixels.test)}"
    return {
        "ahead": f"The CNN is ahead of it ({numbers}).",
        "behind": f"The CNN is behind it ({numbers}).",
    }.get(pixels.verdict, f"The CNN is not to be told from it ({numbers}).")


def _numbers(test: Mapping[str, Any]) -> str:
    return (
        f"95{NBSP}% interval {signed(test['low'])} to {signed(test['high'])}; {p_text(test['p'])}, "
        f"{p_text(test['p_holm'], 'corrected p')}"
    )


def _all_others(found: Contest) -> Iterator[str]:
    n = sum(len(labels) for labels in found.against.values())
    if n < 2:
        return
    parts = [
        f"{phrase} {len(found.against[verdict])} ({listed(found.against[verdict], 3)})"
        for verdict, phrase in (("ahead", "ahead of"), ("behind", "behind"))
        if verdict in found.against
    ]
    undecided = n - sum(len(found.against.get(verdict, ())) for verdict in ("ahead", "behind"))
    if undecided:
        parts.append(f"not to be told from {undecided}")
    yield f"Of all {n} models it was compared with, the best CNN is {', '.join(parts)}."


def size(difference: float) -> str:
    """A difference without its sign, to three decimals."""
    return f"{abs(difference):.3f}"


def signed(value: float) -> str:
    """A difference with its sign: "+0.012"; "undefined" where there is none."""
    return f"{value:+.3f}".replace("-", MINUS) if math.isfinite(value) else "undefined"


def p_text(p: float, name: str = "p") -> str:
    """ "p = 0.012", "p < 0.001", "p undefined"."""
    told = p_value(p)
    return NBSP.join([name, told] if told[0] in "<u" else [name, "=", told])


def p_value(p: float) -> str:
    """ "0.012", "< 0.001"; "undefined" for NaN."""
    if not math.isfinite(p):
        return "undefined"
    return f"<{NBSP}{P_FLOOR:g}" if p < P_FLOOR else f"{p:.3f}"
