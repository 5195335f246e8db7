"""Tables 2 and 3 of the paper, and the differences between models, from the scores of molecules."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ms2img.learn.intervals import bootstrap_mean
from ms2img.massformer.evaluate.intervals import mean_over_seeds, paired_difference
from pipelines.massformer.evaluate_scores import MEASURES, PartScores

#: What every row of a table says of where its numbers come from, in the order of the columns.
CONTEXT = ("library", "split", "split_seed", "cell", "adducts", "held_out", "bin_width", "transform")
RANKS = ("norm_rank", "norm_rank_released", "top5")
#: The measures that people are shown, and what they call them.
TITLES = {
    "cosine": "cosine",
    "cosine_each": "cosine, not merged",
    "entropy": "entropy similarity",
    "norm_rank": "normalised rank",
    "top5": "in the first 5 %",
}


def summary_table(scores: Sequence[PartScores], context: Mapping[str, Any]) -> pd.DataFrame:
    """A row a source, part and measure.

    mean, sd: over seeds, of the means over molecules, as the paper's tables (sd needs two seeds). low, high: 95 %
    interval over molecules of the seeds' average. n: molecules. `context`: the entries of `CONTEXT`.
    """
    rows = []
    for (name, part), runs in _by_source(scores).items():
        for measure in (each for each in MEASURES if each in runs[0].measures):
            means = [float(np.mean(list(run.measures[measure].values()))) for run in runs]
            average = mean_over_seeds([run.measures[measure] for run in runs])
            interval = bootstrap_mean(list(average.values()))
            rows.append(
                {
                    "source": name,
                    "part": part,
                    "measure": measure,
                    "mean": float(np.mean(means)),
                    "sd": float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
                    "low": interval.low,
                    "high": interval.high,
                    "molecules": interval.n,
                    "spectra": runs[0].n_spectra,
                    "candidates": runs[0].n_candidates if measure in RANKS else None,
                    "seeds": " ".join(str(run.seed) for run in runs if run.seed is not None),
                    "seconds": round(sum(run.seconds for run in runs), 1),
                    **{key: context[key] for key in CONTEXT},
                }
            )
    return pd.DataFrame(rows)


def difference_table(scores: Sequence[PartScores]) -> pd.DataFrame:
    """A row a part, measure and pair of sources: first - second, averaged over seeds, over the same molecules.

    apart: whether the 95 % interval leaves out 0. better: the source that this favours, "" where it is not apart.
    """
    rows = []
    groups = _by_source(scores)
    parts = dict.fromkeys(part for _, part in groups)
    for part, measure in itertools.product(parts, MEASURES):
        sources = {
            name: mean_over_seeds([run.measures[measure] for run in runs])
            for (name, where), runs in groups.items()
            if where == part and measure in runs[0].measures
        }
        for first, second in itertools.combinations(sources, 2):
            interval = paired_difference(sources[first], sources[second])
            winner = first if (interval.mean > 0) == MEASURES[measure] else second
            rows.append(
                {
                    "part": part,
                    "measure": measure,
                    "first": first,
                    "second": second,
                    "difference": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                    "molecules": interval.n,
                    "apart": interval.is_apart_from_zero,
                    "better": winner if interval.is_apart_from_zero else "",
                }
            )
    return pd.DataFrame(rows)


def molecule_table(scores: Iterable[PartScores]) -> pd.DataFrame:
    """A row a source, seed, part and molecule, a column a measure."""
    rows = [
        {
            "source": each.name,
            "seed": each.seed,
            "part": each.part,
            "molecule_id": molecule,
            **{measure: values[molecule] for measure, values in each.measures.items()},
        }
        for each in scores
        for molecule in each.measures["cosine"]
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def _by_source(scores: Sequence[PartScores]) -> dict[tuple[str, str], list[PartScores]]:
    groups: dict[tuple[str, str], list[PartScores]] = {}
    for each in scores:
        groups.setdefault((each.name, each.part), []).append(each)
    return groups
