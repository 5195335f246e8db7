"""The co-localised ions as one HTML page without script or request: queries with their hits, and a map to click."""

from __future__ import annotations

from typing import Any

from ms2img.deepion.embedding_folder import Embedding
from ms2img.deepion.image_rows import ImageRows
from pipelines.deepion.colocalize_search import SPACES, Found
from pipelines.deepion.ion_map import ion_map, spread
from pipelines.deepion.ion_page import gallery, render

DRAWN_QUERIES, DRAWN_HITS = 12, 10  # at most (ours); the table has all
EXAMPLES = 4  # queries that are drawn where every ion is one (ours)
QUERY_PIXELS, MAP_PIXELS = 2_000_000, 4_100_000  # of all pictures (ours): a byte a pixel or less


def build_page(embedding: Embedding, images: ImageRows, found: Found, *, named: bool, quiet: bool = True) -> str:
    """The page as HTML text, below 10 MB; equal input gives equal text.

    named: the queries were asked for; else every ion is one, and some that are spread over the map are drawn.

    Raises `UsageError` for ion images that cannot be read.
    """
    chosen = found.queries[:DRAWN_QUERIES] if named else spread(embedding.plane, min(EXAMPLES, len(embedding)))
    rows = [int(row) for row in chosen]
    place = {int(row): number for number, row in enumerate(found.queries.tolist())}
    name, metric, _ = SPACES[found.space]
    drawn = ion_map(embedding, getattr(embedding, name), metric, first=rows)
    queries = [_query(found, place[row], row) for row in rows]
    shown = sorted({row for query in queries for row in (query["row"], *(hit["row"] for hit in query["hits"]))})
    return render(
        "deepion_colocalize_template.html",
        embedding,
        images,
        found=found,
        named=named,
        top=found.neighbours.rows.shape[1],
        queries=queries,
        large=gallery(images, shown, pixels=QUERY_PIXELS, quiet=True),
        small=gallery(images, drawn.pictures, pixels=MAP_PIXELS, quiet=quiet),
        map=drawn,
        clicked={panel.row for panel in drawn.panels},
        asked=set(rows),
    )


def _query(found: Found, place: int, row: int) -> dict[str, Any]:
    hits = zip(found.neighbours.rows[place].tolist(), found.neighbours.distances[place].tolist(), strict=True)
    return {"row": row, "hits": [{"row": hit, "distance": far} for hit, far in list(hits)[:DRAWN_HITS]]}
