"""``ms2img deepion colocalize``: which ions lie where this one lies?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator
from rich.table import Table

from ms2img.errors import UsageError
from pipelines.command import Output, Result
from pipelines.deepion.search_options import SearchOptions
from pipelines.lists import joined, numbers

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 5  # queries whose hits are printed (ours); the table has all


class ColocalizeConfig(SearchOptions):
    """Options of ``ms2img deepion colocalize``."""

    query: str | None = Field(
        None, description="m/z values to look for, such as 782.567,798.541 [default: every ion is a query]"
    )
    top: int = Field(5, ge=1, description="hits of a query, nearest first")
    space: Literal["umap", "encoder"] = Field(
        "umap", description="'umap' compares what UMAP made of the representations, as the paper; 'encoder' themselves"
    )
    approximate: bool = Field(
        False, description="look at a part of the ions for each query; for every ion of very many. Says what it missed"
    )

    @field_validator("query", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return joined(value)

    @field_validator("query")
    @classmethod
    def _queries_are_numbers(cls, value: str | None) -> str | None:
        if value is not None:
            numbers(value)
        return value


def colocalize_command(config: ColocalizeConfig, output: Output) -> Result:
    """Find the ions whose images are most like that of each query: a table, and a page that shows them."""
    from pipelines.deepion.colocalize_search import rows_of, search, table_of
    from pipelines.deepion.search_options import images_of, opened_embedding, require_packages, told, write_answer

    if config.approximate and config.query is not None:
        raise UsageError("--approximate is for every ion; some are searched exactly at once: leave it or --query out")
    if config.approximate:
        require_packages("--approximate", {"sklearn": "deepion"})
    embedding = opened_embedding(config)
    queries = None
    if config.query is not None:
        queries = rows_of(config.embedding, embedding, numbers(config.query), ppm=config.ppm)
    images = images_of(config, embedding)
    found = search(
        embedding, queries, top=config.top, space=config.space, approximate=config.approximate, quiet=output.quiet
    )
    if embedding.mode != "col":
        output.warn(
            f"the embedding is of mode '{embedding.mode}', which tells isotopes from ions that are only co-localised: "
            "the paper's mode for this search is 'col'"
        )
    table = table_of(embedding, found)
    page = None
    if images is not None:
        from pipelines.deepion.colocalize_page import build_page

        page = build_page(embedding, images, found, named=queries is not None, quiet=output.quiet)
    write_answer(config, table, page)
    _show(table, config.top, output)
    output.say(f"{len(found.queries)} of {len(embedding)} ions asked for, {config.top} hits each, by {found.said}")
    if found.recall is not None:
        output.say(f"approximate: {found.recall:.1%} of the true hits of evenly spaced ions were found")
    if len(found.queries) > SHOWN and config.out is None:
        output.say(f"The first {SHOWN} are shown; --out TABLE.csv writes all")
    told(config, output, simulated=embedding.is_simulated)
    return Result(
        {
            "output": config.out,
            "report": config.report,
            "embedding": embedding.fingerprint,
            "ions": len(embedding),
            "queries": len(found.queries),
            "recall": found.recall,
            "simulated": embedding.is_simulated,
            "hits": table.slice(0, SHOWN * config.top).to_pylist(),
            **config.model_dump(include={"top", "space", "approximate"}),
        }
    )


def _show(table: pa.Table, top: int, output: Output) -> None:
    shown = Table(box=None, header_style="bold")
    for heading in ("query m/z", "rank", "m/z", "distance", "presence"):
        shown.add_column(heading, justify="right")
    for row in table.slice(0, SHOWN * top).to_pylist():
        query = f"{row['query_mz']:.4f}" if row["rank"] == 1 else ""
        shown.add_row(query, str(row["rank"]), f"{row['mz']:.4f}", f"{row['distance']:.4f}", f"{row['presence']:.0%}")
    output.show(shown)
