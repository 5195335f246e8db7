"""The work of ``ms2img massformer evaluate``: scores, tables, figures and a page, committed by ``evaluation.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

import ms2img
from ms2img.errors import UsageError
from ms2img.io.storage import Folder
from ms2img.learn.intervals import Interval
from ms2img.massformer.library.folder import Library
from ms2img.massformer.selection import Selection
from pipelines.json_rows import plain_rows
from pipelines.massformer.evaluate_figures import energy_figures, heteroatom_figure, mirror_figure
from pipelines.massformer.evaluate_models import LoadedModel
from pipelines.massformer.evaluate_page import build_page
from pipelines.massformer.evaluate_parts import TEST, EvaluationParts, evaluation_parts
from pipelines.massformer.evaluate_scores import PartScores, Scored, floors, score
from pipelines.massformer.evaluate_second import SecondPart
from pipelines.massformer.evaluate_tables import difference_table, molecule_table, summary_table
from pipelines.massformer.figures_scores import score_panels
from pipelines.progress import Steps

RECORD_NAME, PAGE_NAME = "evaluation.json", "evaluation.html"
FORMAT = "ms2img massformer evaluation 1"


@dataclass(frozen=True)
class Evaluation:
    """All that was found. figures: name -> PNG. ratios: Fig. 5, empty for a model without attention.

    unanswered: model -> reason -> questions that it could not be asked (their score is 0).
    left_out: molecules of the second library that the models have learnt from, or from whose like.
    """

    scores: list[PartScores]
    summary: pd.DataFrame
    differences: pd.DataFrame
    queries: pd.DataFrame
    context: Mapping[str, Any]
    figures: dict[str, bytes] = field(default_factory=dict)
    ratios: dict[str, Interval] = field(default_factory=dict)
    unanswered: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: int = 0
    seconds: float = 0.0


def evaluate_models(
    models: Sequence[LoadedModel],
    library: Library,
    selection: Selection,
    second: SecondPart | None,
    context: Mapping[str, Any],
    *,
    with_ranking: bool,
    quiet: bool,
) -> Evaluation:
    """Score every model and both floors on every held-out part; the figures are of the first model's test part."""
    started = time.monotonic()
    parts = evaluation_parts(
        library.molecules,
        selection,
        models[0].predictor.spectrum,
        second=(second.molecules, second.spectra) if second else None,
    )
    sources = [(each.source(), each.seed) for each in models] + [(each, None) for each in floors(parts)]
    scored: list[Scored] = []
    with Steps(len(sources) * len(parts.held_out), "evaluate", quiet=quiet) as progress:
        for name in parts.held_out:
            for source, seed in sources:
                scored.append(score(parts, name, source, seed=seed, with_ranking=with_ranking))
                progress.advance(note=f"({source.name}, {name})")
    scores = [each.scores for each in scored]
    summary = summary_table(scores, context)
    figures, ratios = _figures(parts, models[0], scored[0], library)
    return Evaluation(
        scores=scores,
        summary=summary,
        differences=difference_table(scores),
        queries=_query_table(parts, scored),
        context=context,
        figures={"scores.png": score_panels(summary), **figures},
        ratios=ratios,
        unanswered={f"{each.name}, seed {each.seed}": each.unanswered for each in models if each.unanswered},
        left_out=second.left_out if second else 0,
        seconds=round(time.monotonic() - started, 1),
    )


def write_evaluation(out: Folder, found: Evaluation, made_of: Mapping[str, Any]) -> None:
    """Write tables, figures and the page, and last the record, which is the commit."""
    tables = {
        "summary": found.summary,
        "differences": found.differences,
        "molecules": molecule_table(found.scores),
        "queries": found.queries,
    }
    for name, table in tables.items():
        if len(table):
            out.write(f"{name}.csv", table.to_csv(index=False).encode())
    for name, content in found.figures.items():
        out.write(name, content)
    out.write(PAGE_NAME, build_page(found, made_of).encode())
    record = {
        "format": FORMAT,
        "ms2img_version": ms2img.__version__,
        "made_of": dict(made_of),
        "context": dict(found.context),
        "seconds": found.seconds,
        "summary": plain_rows(found.summary),
        "differences": plain_rows(found.differences),
        "heteroatom_ratios": {symbol: vars(each) for symbol, each in found.ratios.items()},
        "unanswered": found.unanswered,
        "left_out": found.left_out,
    }
    out.write(RECORD_NAME, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def finished(out: Folder, made_of: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a finished evaluation of the same things; None where there is none.

    Raises `UsageError` for an evaluation of something else, naming what differs, and for a file that is none of ours.
    """
    content = out.read(RECORD_NAME)
    if content is None:
        return None
    try:
        record = json.loads(content)
        before = record["made_of"] if record["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError):
        before = None
    if not isinstance(before, dict):
        raise UsageError(f"{out.location}: {RECORD_NAME} is not of '{FORMAT}'; write to another folder")
    for key in {**before, **made_of}:
        if before.get(key) != made_of.get(key):
            raise UsageError(
                f"{out.location}: holds an evaluation with another {key} ({before.get(key)}, now {made_of.get(key)}); "
                "write to another folder"
            )
    return dict(record)


def _figures(
    parts: EvaluationParts, model: LoadedModel, scored: Scored, library: Library
) -> tuple[dict[str, bytes], dict[str, Interval]]:
    part = parts.held_out[TEST]
    scaffolds = dict(
        zip(library.molecules["molecule_id"].to_pylist(), library.molecules["scaffold"].to_pylist(), strict=True)
    )
    figures = {"fig2_mirrors.png": mirror_figure(part, scored.predicted, model.predictor, scaffolds)}
    figures |= energy_figures(part, scored.predicted, model.predictor)
    if model.description.card.kind != "massformer":
        return figures, {}
    ratios, picture = heteroatom_figure(part, model.predictor)
    return figures | {"fig5_heteroatoms.png": picture}, ratios


def _query_table(parts: EvaluationParts, scored: Sequence[Scored]) -> pd.DataFrame:
    """A row a source, seed and query: the true structure's rank and the number of candidates."""
    rows = []
    for each in scored:
        if each.ranks is None:
            continue
        part = parts.held_out[each.scores.part]
        rows.append(
            pd.DataFrame(
                {
                    "source": each.scores.name,
                    "seed": each.scores.seed,
                    "part": each.scores.part,
                    "spectrum_id": part.spectrum_id,
                    "molecule_id": part.molecule_id,
                    "rank": each.ranks.queries.rank,
                    "candidates": each.ranks.queries.n_candidates,
                }
            ).astype({"seed": "Int64"})
        )
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
