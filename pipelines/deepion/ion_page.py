"""What the pages about an embedding share: how they are rendered, what they say of it, and the pictures of its ions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import ms2img
from ms2img.deepion.embedding_folder import Embedding
from ms2img.deepion.image_rows import ImageRows
from pipelines.deepion.ion_pictures import data_uri, factor_for, ramp, scale_bar, smaller
from pipelines.progress import Steps
from pipelines.report.page import HERE

LARGEST = 256  # pixels a side of a picture at most (ours)
AT_A_TIME = 64  # images in memory (ours)
STYLES = ("style.css", "deepion_style.css")


@dataclass(frozen=True)
class Gallery:
    """Pictures of some ions.

    uris: row -> PNG for a page. width, height: of a picture, its pixels square. bar, length: of its scale bar the share
    of the width, and its length in words. factor: pixels of the image a pixel of the picture, in each direction.
    """

    uris: Mapping[int, str]
    width: float
    height: float
    bar: float
    length: str
    factor: int


def gallery(images: ImageRows, rows: Sequence[int], *, pixels: int, quiet: bool) -> Gallery:
    """The pictures of some rows, of `pixels` in all at most. Raises `UsageError` as `ImageRows.read`."""
    shape = images.mask.shape
    factor = factor_for((shape[0], shape[1]), len(rows), pixels=pixels, side=LARGEST)
    uris: dict[int, str] = {}
    with Steps(len(rows), "pictures", quiet=quiet) as steps:
        for start in range(0, len(rows), AT_A_TIME):
            some = rows[start : start + AT_A_TIME]
            pictures, mask = smaller(images.read(some), images.mask, factor)
            uris |= {row: data_uri(picture, mask) for row, picture in zip(some, pictures, strict=True)}
            steps.advance(len(some))
    size = images.facts.pixel_size_um
    x, y = size or (1.0, 1.0)
    bar, length = scale_bar(shape[1], None if size is None else x)
    across, down = (-(-each // factor) for each in (shape[1], shape[0]))
    # Blocks at the right edge may reach beyond the image: the bar is of what is drawn.
    return Gallery(uris, across, round(down * y / x, 3), bar * shape[1] / (across * factor), length, factor)


def render(template: str, embedding: Embedding, images: ImageRows, **told: Any) -> str:
    """A template of `pipelines/report` with what every page has; equal input gives equal text."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = "\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    return environment.get_template(template).render(
        style=Markup(style),  # noqa: S704 - our own files
        version=ms2img.__version__,
        embedding=embedding,
        facts=images.facts,
        about=_about(embedding, images),
        ramp=ramp(),
        **told,
    )


def _about(embedding: Embedding, images: ImageRows) -> list[tuple[str, str]]:
    """What was embedded by what, as names and values."""
    height, width = images.mask.shape
    size = images.facts.pixel_size_um
    mode = "polarity not stated" if embedding.polarity is None else f"{embedding.polarity} mode"
    pixel = "pixels of unknown size" if size is None else f"pixels of {size[0]:g} × {size[1]:g} µm"
    return [
        ("Ion images", f"{len(embedding)} of {images.facts.source}, fingerprint {images.fingerprint}"),
        (
            "Section",
            f"{height} × {width} {pixel}, {int(images.mask.sum())} measured; {mode}",
        ),
        (
            "Model",
            f"{embedding.model}, version {embedding.model_version}; mode {embedding.mode}, preset {embedding.preset}",
        ),
        (
            "Embedding",
            f"{embedding.vectors.shape[1]} numbers an image, UMAP to {embedding.reduced.shape[1]} "
            f"({embedding.metric}, seed {embedding.seed}), each scaled to 0-1; fingerprint {embedding.fingerprint}",
        ),
    ]
