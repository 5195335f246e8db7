"""``ms2img deepion isotopes``: which ions are isotopes of which?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from rich.table import Table

from ms2img.errors import UsageError
from ms2img.places import Reads
from pipelines.command import Output, Result
from pipelines.deepion.search_options import SearchOptions

if TYPE_CHECKING:
    import pyarrow as pa

    from ms2img.deepion.embedding_folder import Embedding
    from ms2img.deepion.phantom.truth import PairScore
    from pipelines.deepion.isotope_search import Scores

SHOWN = 15  # isotope ions that are printed (ours); the table has all


class IsotopesConfig(SearchOptions):
    """Options of ``ms2img deepion isotopes``."""

    polarity: Literal["positive", "negative"] | None = Field(
        None, description="which mass differences are looked for [default: what the ion images say]"
    )
    furthest: float = Field(0.25, gt=0, description="distance of two embeddings at most; the released code's")
    truth: Annotated[str | None, Reads()] = Field(
        None, description="truth.parquet of a phantom, to score the pairs against"
    )

    def places(self) -> list[str]:
        """See `SearchOptions.places`."""
        return [*super().places(), *([] if self.truth is None else [self.truth])]


def isotopes_command(config: IsotopesConfig, output: Output) -> Result:
    """Find isotope ions by mass, intensity and image: a table of groups, and a page that shows them."""
    from pipelines.deepion.isotope_search import scores_of, search, table_of
    from pipelines.deepion.search_options import images_of, opened_embedding, told, write_answer

    embedding = opened_embedding(config)
    polarity = _polarity(config, embedding)
    images = images_of(config, embedding)
    found = search(embedding, polarity, ppm=config.ppm, furthest=config.furthest)
    scores = scores_of(embedding, found, config.truth, ppm=config.ppm) if config.truth is not None else None
    for warning in (warnings := _warnings(embedding, polarity)):
        output.warn(warning)
    table = table_of(embedding, found)
    page = None
    if images is not None:
        from pipelines.deepion.isotopes_page import Asked, build_page

        asked = Asked(polarity, config.ppm, config.furthest)
        page = build_page(embedding, images, found, asked, scores=scores, warnings=warnings, quiet=output.quiet)
    write_answer(config, table, page)
    _show(table, output)
    if len(table) > SHOWN and config.out is None:
        output.say(f"The first {SHOWN} are shown; --out TABLE.csv writes all")
    values = _values(found.counts(), scores)
    _tell(values, polarity, config.ppm, output)
    if scores is not None:
        output.say(f"Against the truth: {_score(scores.found)}; without the images: {_score(scores.without_images)}")
    told(config, output, simulated=embedding.is_simulated)
    return Result(
        {
            "output": config.out,
            "report": config.report,
            "embedding": embedding.fingerprint,
            "mode": embedding.mode,
            "polarity": polarity,
            "ions": len(embedding),
            "simulated": embedding.is_simulated,
            **values,
        }
    )


def _tell(values: Mapping[str, Any], polarity: str, ppm: float, output: Output) -> None:
    share = "" if values["share"] is None else f" ({values['share']:.0%})"
    output.say(
        f"{values['candidates']} pairs by mass at {ppm:g} ppm ({polarity}), {values['accepted']}{share} accepted by "
        f"image and intensity: {_count(values['groups'], 'group')} with {_count(values['isotopes'], 'isotope ion')}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _polarity(config: IsotopesConfig, embedding: Embedding) -> str:
    found = config.polarity or embedding.polarity
    if found is None:
        raise UsageError(f"{config.embedding}: its ion images state no polarity; give --polarity positive or negative")
    return found


def _warnings(embedding: Embedding, polarity: str) -> list[str]:
    told = []
    if embedding.mode != "iso":
        told.append(
            f"the embedding is of mode '{embedding.mode}', which tells co-localised ions: isotopes are what the "
            "paper's mode 'iso' is for ('ms2img deepion train --mode iso')"
        )
    if embedding.polarity not in (None, polarity):
        told.append(f"the ion images are of {embedding.polarity} mode, the rules asked for of {polarity} mode")
    return told


def _show(table: pa.Table, output: Output) -> None:
    shown = Table(box=None, header_style="bold")
    for heading in (
        "group",
        "parent m/z",
        "isotope m/z",
        "heavy atoms",
        "charge",
        "error ppm",
        "distance",
        "brightness",
    ):
        shown.add_column(heading, justify="right")
    for row in table.slice(0, SHOWN).to_pylist():
        shown.add_row(
            str(row["group"]),
            f"{row['parent_mz']:.4f}",
            f"{row['child_mz']:.4f}",
            f"{row['exchanges']} x {row['isotope']}",
            str(row["charge"]),
            f"{row['error_ppm']:+.1f}",
            f"{row['distance']:.3f}",
            f"{row['child_intensity'] / row['parent_intensity']:.0%} of parent",
        )
    output.show(shown)


def _score(score: PairScore) -> str:
    return (
        f"precision {_share(score.precision)} ({score.right} of {score.found}), "
        f"recall {_share(score.recall)} ({score.right} of {score.present})"
    )


def _share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "-"


def _values(counts: Mapping[str, int], scores: Scores | None) -> dict[str, Any]:
    """Counts, the share of pairs accepted, and scores, for a machine: null where there is nothing to divide by."""
    share = counts["accepted"] / counts["candidates"] if counts["candidates"] else None
    values: dict[str, Any] = {**counts, "share": share}
    if scores is None:
        return values
    values["matched"] = scores.matched
    for name, score in (("", scores.found), ("by_mass_", scores.without_images)):
        for key in ("precision", "recall"):
            value = getattr(score, key)
            values[name + key] = value if math.isfinite(value) else None
    return values
