"""The isotope pairs of a benchmark: by DeepION in both modes, by similarities of the images, and without images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ms2img.deepion.benchmark.labelled import Labelled
from ms2img.deepion.benchmark.methods import ENCODER, SIMILARITY, UMAP
from ms2img.deepion.benchmark.pairs import PairScores, PairSearch
from ms2img.deepion.isotopes import FURTHEST
from ms2img.deepion.measures import cosine, pearson
from ms2img.learn.intervals import Interval, bootstrap_ratio
from pipelines.deepion.benchmark_tables import number_of

if TYPE_CHECKING:
    from pipelines.deepion.benchmark_job import CellResult

#: How the limit of a search came about: the released code's, the best by the truth, or none.
PUBLISHED, BEST, NONE = "published", "best", "none"
#: What needs no network: Pearson's correlation is the paper's own comparison.
FLOORS = {"cosine": cosine, "Pearson": pearson}


def pair_table(data: Sequence[Labelled], results: Sequence[CellResult], *, ppm: float) -> pd.DataFrame:
    """A row a phantom, source of distances, space and way to a limit.

    precision_*, recall_*: mean and sd over seeds, and the 95 % interval over parent ions of all seeds' pairs together.
    found, right: pairs, means over seeds; present: pairs of the truth. average_precision: mean and sd over seeds. Empty
    without phantoms.
    """
    rows = []
    for each in data:
        if each.truth is None:
            continue
        search = PairSearch(each, ppm=ppm)
        own = [result for result in results if result.cell.data == each.name and not result.failure]
        for source, space, limit, runs in _searches(each, search, own):
            rows.append(
                {"data": each.name, "difficulty": each.difficulty, "source": source, "space": space, "limit": limit}
                | _numbers(runs)
            )
    return pd.DataFrame(rows)


def _searches(
    data: Labelled, search: PairSearch, results: Sequence[CellResult]
) -> Iterator[tuple[str, str, str, list[PairScores]]]:
    yield "mass, intensity", "", NONE, [search.without_images()]
    pixels = data.ions.images[:, data.ions.mask]
    for name, measure in FLOORS.items():
        apart = search.apart(SIMILARITY, measure(pixels))
        yield name, SIMILARITY, BEST, [search.score(apart, limit=search.best_limit(apart))]
    for mode in ("col", "iso"):
        runs = [each for each in results if each.cell.method == "deepion" and each.cell.mode == mode]
        if not runs:
            continue
        source = f"DeepION {mode.upper()}"
        placed, encoded = ([search.apart(space, each.spaces[space]) for each in runs] for space in (UMAP, ENCODER))
        yield source, UMAP, PUBLISHED, [search.score(each, limit=FURTHEST) for each in placed]
        for space, distances in ((UMAP, placed), (ENCODER, encoded)):
            yield source, space, BEST, [search.score(each, limit=search.best_limit(each)) for each in distances]


def _numbers(runs: Sequence[PairScores]) -> dict[str, Any]:
    found, right, present = (
        np.sum([getattr(run, name) for run in runs], axis=0) for name in ("found", "right", "present")
    )
    ordered = [run.average_precision for run in runs]
    return {
        **_told("precision", [run.precision for run in runs], bootstrap_ratio(right, found)),
        **_told("recall", [run.recall for run in runs], bootstrap_ratio(right, present)),
        "average_precision": float(np.mean(ordered)),
        "average_precision_sd": float(np.std(ordered, ddof=1)) if len(ordered) > 1 else math.nan,
        "found": float(found.sum() / len(runs)),
        "right": float(right.sum() / len(runs)),
        "present": float(present.sum() / len(runs)),
        "furthest": float(np.mean([run.limit for run in runs])),
        "seeds": len(runs),
    }


def _told(name: str, means: Sequence[float], interval: Interval) -> dict[str, float]:
    known = [mean for mean in means if not math.isnan(mean)]
    return {
        f"{name}_mean": float(np.mean(known)) if known else math.nan,
        f"{name}_sd": float(np.std(known, ddof=1)) if len(known) > 1 else math.nan,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def printed_pairs(pairs: pd.DataFrame) -> dict[str, list[dict[str, str]]]:
    """For a terminal: by heading, a row a search."""
    if not len(pairs):
        return {}
    tables: dict[str, list[dict[str, str]]] = {}
    for name, rows in pairs.groupby("data", sort=False):
        tables[f"{name}: {rows['present'].iloc[0]:.0f} isotope pairs"] = [
            {
                "distance": f"{row['source']} {row['space']}".removesuffix(SIMILARITY).strip(),
                "limit": f"{row['limit']} ({row['furthest']:.3g})" if row["limit"] != NONE else NONE,
                "precision": number_of(row, "precision_"),
                "recall": number_of(row, "recall_"),
                "average precision": "-" if math.isnan(row["average_precision"]) else f"{row['average_precision']:.3f}",
            }
            for row in rows.to_dict("records")
        ]
    return tables
