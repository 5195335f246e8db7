"""The isotopes as one HTML page without script or request: the network of pairs, the largest groups, their table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ms2img.deepion.embedding_folder import Embedding
from ms2img.deepion.image_rows import ImageRows
from ms2img.deepion.isotopes import Group
from pipelines.deepion.ion_page import gallery, render
from pipelines.deepion.isotope_network import LARGEST, legend, network, parts_of
from pipelines.deepion.isotope_search import Found, Scores

#: At most (ours): parts of the network, groups as images, images of a group, rows of the page's table.
DRAWN_PARTS, DRAWN_GROUPS, DRAWN_MEMBERS, LISTED = 240, 16, 12, 500
PIXELS = 3_000_000  # of all pictures (ours): a byte a pixel or less


@dataclass(frozen=True)
class Asked:
    """What was searched by."""

    polarity: str
    ppm: float
    furthest: float


def build_page(
    embedding: Embedding,
    images: ImageRows,
    found: Found,
    asked: Asked,
    *,
    scores: Scores | None = None,
    warnings: Sequence[str] = (),
    quiet: bool = True,
) -> str:
    """The page as HTML text, below 10 MB; equal input gives equal text.

    Raises `UsageError` for ion images that cannot be read.
    """
    numbered = dict(enumerate(found.groups, 1))
    largest = sorted(numbered, key=lambda number: (-len(numbered[number].members), number))[:DRAWN_GROUPS]
    groups = [_group(embedding, found, number, numbered[number]) for number in sorted(largest)]
    rows = sorted({row for group in groups for row in (group["parent"], *(each["row"] for each in group["members"]))})
    every = (row for number, group in numbered.items() for row in _members(embedding, found, number, group))
    return render(
        "deepion_isotopes_template.html",
        embedding,
        images,
        asked=asked,
        counts=found.counts(),
        scores=scores,
        tiles=list(_tiles(found, scores)),
        warnings=warnings,
        network=network(embedding, found, most=DRAWN_PARTS),
        parts=len(parts_of(found)),
        largest=LARGEST,
        legend=legend(asked.polarity),
        groups=groups,
        drawn={group["number"] for group in groups},
        pictures=gallery(images, rows, pixels=PIXELS, quiet=quiet) if rows else None,
        listed=list(islice(every, LISTED)),
    )


def _group(embedding: Embedding, found: Found, number: int, group: Group) -> dict[str, Any]:
    """A group that is shown as images."""
    members = _members(embedding, found, number, group)
    return {"number": number, "parent": group.parent, "members": members[:DRAWN_MEMBERS], "size": len(members)}


def _members(embedding: Embedding, found: Found, number: int, group: Group) -> list[dict[str, Any]]:
    """The isotopes of a group, as the table's rows."""
    candidates = found.candidates
    return [
        {
            "number": number,
            "parent": group.parent,
            "row": each.ion,
            "isotope": candidates.isotope(each.row),
            "exchanges": int(candidates.exchanges[each.row]),
            "charge": int(candidates.charge[each.row]),
            "error": float(candidates.error_ppm[each.row]),
            "distance": float(found.distance[each.row]),
            "share": float(embedding.intensity[each.ion] / embedding.intensity[group.parent]),
        }
        for each in group.members
    ]


def _tiles(found: Found, scores: Scores | None) -> Iterator[dict[str, str]]:
    """The key figures below the headline."""
    counts = found.counts()
    accepted, candidates = counts["accepted"], counts["candidates"]
    yield {"name": "Pairs by mass", "value": f"{candidates}", "note": "an isotope's distance apart"}
    share = f"{accepted / candidates:.0%} of them" if candidates else ""
    yield {"name": "Accepted pairs", "value": f"{accepted}", "note": f"{share}, by image and intensity"}
    yield {"name": "Isotope groups", "value": f"{counts['groups']}", "note": f"with {counts['isotopes']} isotope ions"}
    if scores is not None:
        for name, of in (("precision", "found"), ("recall", "present")):
            score, floor = (getattr(each, name) for each in (scores.found, scores.without_images))
            note = f"{scores.found.right} right of {getattr(scores.found, of)} {of}; without the images {_share(floor)}"
            yield {"name": name.capitalize(), "value": _share(score), "note": note}


def _share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "–"
