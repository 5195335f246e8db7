"""What the two searches in an embedding share: their options, the images they show, and how their answer is written."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.places import Reads, Writes

if TYPE_CHECKING:
    import pyarrow as pa

    from ms2img.deepion.embedding_folder import Embedding
    from ms2img.deepion.image_rows import ImageRows
    from pipelines.command import Output

OUT_SUFFIXES = (".csv", ".parquet")


class SearchOptions(Config):
    """Options of a search in an embedding."""

    embedding: Annotated[str, Reads()] = Field(description="OUT folder of 'ms2img deepion embed' (local or s3://)")
    ppm: float = Field(10.0, gt=0, le=1000, description="tolerance of an m/z, parts per million")
    out: Annotated[str | None, Writes()] = Field(None, description="table to write, .csv or .parquet (local or s3://)")
    report: Annotated[str | None, Writes()] = Field(None, description="page to write, .html (local or s3://)")
    images: Annotated[str | None, Reads()] = Field(
        None, description="folder of the ion images, for --report [default: where they were embedded from]"
    )

    @field_validator("out")
    @classmethod
    def _out_is_a_table(cls, value: str | None) -> str | None:
        if value is not None and not value.lower().endswith(OUT_SUFFIXES):
            raise ValueError(f"expected a name that ends in {' or '.join(OUT_SUFFIXES)}")
        return value

    @field_validator("report")
    @classmethod
    def _report_is_a_page(cls, value: str | None) -> str | None:
        if value is not None and not value.lower().endswith(".html"):
            raise ValueError("expected a name that ends in .html")
        return value

    def places(self) -> list[str]:
        """Every location given."""
        return [each for each in (self.embedding, self.images, self.out, self.report) if each is not None]


def opened_embedding(config: SearchOptions) -> Embedding:
    """The embedding; raises `UsageError` where a store refuses one of the places, or where there is none."""
    from ms2img.deepion.embedding_folder import read_embedding
    from ms2img.io.storage import require_access

    require_access(config.places())
    return read_embedding(config.embedding)


def images_of(config: SearchOptions, embedding: Embedding) -> ImageRows | None:
    """The ion images that a page is to show, or None without one.

    Raises `UsageError` for others than were embedded, and where a page cannot be made for want of a package.
    """
    if config.report is None:
        return None
    require_packages("--report", {"jinja2": "report", "PIL": "report", "scipy": "deepion"})
    from ms2img.deepion.image_rows import ImageRows

    place = config.images or embedding.images
    try:
        found = ImageRows(place)
    except UsageError as error:
        if config.images is not None:
            raise
        raise UsageError(f"{error}; --images names the folder where it was moved") from None
    if found.fingerprint != embedding.images_fingerprint:
        raise UsageError(
            f"{place}: ion images {found.fingerprint}, but {config.embedding} is of {embedding.images_fingerprint}; "
            "embed these, or name the others by --images"
        )
    return found


def require_packages(what: str, extras: Mapping[str, str]) -> None:
    """Raises `UsageError` for a package that is not installed; extras: package -> the extra that brings it."""
    for package, extra in extras.items():
        if find_spec(package) is None:
            raise UsageError(f"{what} needs {package}: pip install 'ms2img[{extra}]'")


def write_answer(config: SearchOptions, table: pa.Table, page: str | None) -> None:
    """Write the table and the page that were asked for, each at once."""
    from ms2img.io.location import file_name, parent
    from ms2img.io.storage import folder

    if config.out is not None:
        folder(parent(config.out)).write(file_name(config.out), _encoded(table, config.out))
    if config.report is not None and page is not None:
        folder(parent(config.report)).write(file_name(config.report), page.encode())


def told(config: SearchOptions, output: Output, *, simulated: bool) -> None:
    """Say where the answer lies, and what it may not be taken for."""
    for place in (config.out, config.report):
        if place is not None:
            output.say(f"-> {place}")
    if simulated:
        output.say("SIMULATED data: this says nothing of a real section")


def _encoded(table: pa.Table, out: str) -> bytes:
    import pyarrow.parquet as pq

    content = io.BytesIO()
    if out.lower().endswith(".parquet"):
        pq.write_table(table, content, compression="zstd")
    else:
        table.to_pandas().to_csv(content, index=False, lineterminator="\n")
    return content.getvalue()
