"""One run to one row of the image table; conversion and prediction both pass here, so both see the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ms2img.io.read import RunSpectra
from ms2img.io.schema import images_schema
from ms2img.io.sheet import Run
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.render_config import RenderConfig


def image_row(run: Run, spectra: RunSpectra, config: RenderConfig, *, source_fingerprint: str) -> dict[str, Any]:
    """Render one run: a row of `images_schema` as a dict, ``image`` an uint8 array [height, width].

    Raises `RunError` for a run that cannot be drawn (see `points_from_spectra`).
    """
    points = points_from_spectra(spectra.table, config, path=run.path)
    return {
        "sample_id": run.sample_id,
        "image": render(points, config),
        "n_spectra": points.n_spectra,
        "n_without_msms": points.n_without_msms,
        "n_below_cut": points.n_below_cut,
        "n_fragments": points.n_fragments,
        "n_impossible": points.n_impossible,
        "n_outside": points.n_outside,
        "ms1_source": points.ms1_source,
        "ms2_source": spectra.ms2_source,
        "source_fingerprint": source_fingerprint,
        "render_fingerprint": config.fingerprint(),
    }


def rows_to_table(rows: Sequence[dict[str, Any]], config: RenderConfig) -> pa.Table:
    """Rows made by `image_row` with this config as one Arrow table, in the order given."""
    schema = images_schema(config.height, config.width)
    image_type = schema.field("image").type
    images = np.stack([row["image"] for row in rows]) if rows else np.zeros((0, config.height, config.width), np.uint8)
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), config.height * config.width)
    columns = [
        pa.ExtensionArray.from_storage(image_type, pixels.cast(image_type.storage_type))
        if field.name == "image"
        else pa.array([row[field.name] for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
