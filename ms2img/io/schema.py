"""The Arrow schemas of every table that crosses a room's threshold, field by field with units.

Names follow matchms's harmonised metadata keys (``precursor_mz``, ``collision_energy``, ...).
"""

from __future__ import annotations

import pyarrow as pa

#: One row an MS/MS spectrum (for an aligned table: one row a feature that belongs to the sample).
SPECTRA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("spectrum_id", pa.string(), nullable=False),  # scan, feature or peak id as the file names it
        pa.field("precursor_mz", pa.float64(), nullable=False),  # Da / charge
        pa.field("precursor_intensity", pa.float64()),  # the file's unit (height or area); null where absent
        pa.field("rt_seconds", pa.float64()),  # retention time, s
        pa.field("charge", pa.int8()),  # signed; null where absent
        pa.field("adduct", pa.string()),  # "[M+H]+"
        pa.field("polarity", pa.string()),  # "positive" | "negative"
        pa.field("collision_energy", pa.string()),  # as the file states it, its unit differs by vendor
        pa.field("mz", pa.list_(pa.float64()), nullable=False),  # fragments, Da / charge; may be empty
        pa.field("intensity", pa.list_(pa.float32()), nullable=False),  # same length as mz, >= 0
    ]
)

#: One row a run that could not be converted or scored.
ERRORS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # "read" | "render" | "write"
        pa.field("code", pa.string(), nullable=False),  # ms2img.errors.Code
        pa.field("message", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),  # place in the file, may be empty
        pa.field("attempts", pa.int32(), nullable=False),  # how often this run was tried
        pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),  # of the last attempt
        pa.field("fingerprint", pa.string(), nullable=False),  # what failed: file versions and config, hashed
    ]
)

#: One row a file that the images of a data set were made of.
SOURCES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("version", pa.string(), nullable=False),  # time of change in ns, or the store's ETag
        pa.field("content_hash", pa.string(), nullable=False),  # of the stored bytes
    ]
)

IMAGE_SHAPE = "ms2img.image_shape"  # schema metadata: "[height, width]", for tools without Arrow's tensor type


def images_schema(height: int, width: int) -> pa.Schema:
    """One row a sample: its image and what went into it.

    ``image`` is Arrow's canonical fixed-shape tensor, uint8 [height, width]; row 0 is fragment m/z 0, column 0 is
    precursor m/z 100. A tool that does not know the type sees a list of height x width values, row by row, and finds
    the shape in the metadata under `IMAGE_SHAPE`. Labels are not here: they stay in the sample sheet, so that one image
    set serves every assay.
    """
    return pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("image", pa.fixed_shape_tensor(pa.uint8(), (height, width)), nullable=False),
            pa.field("n_spectra", pa.int32(), nullable=False),  # rows of the spectra table
            pa.field("n_without_msms", pa.int32(), nullable=False),  # features or scans without peaks: dropped
            pa.field("n_below_cut", pa.int32(), nullable=False),  # spectra under the intensity cut: dropped
            pa.field("n_fragments", pa.int32(), nullable=False),  # points drawn
            pa.field("n_impossible", pa.int32(), nullable=False),  # fragment above its precursor: dropped
            pa.field("n_outside", pa.int32(), nullable=False),  # outside the m/z axes: dropped
            pa.field("ms1_source", pa.string(), nullable=False),  # "file" | "summed-msms"
            pa.field("ms2_source", pa.string(), nullable=False),  # "own" | "representative" (aligned table)
            pa.field("source_fingerprint", pa.string(), nullable=False),  # content hash of file + column
            pa.field("render_fingerprint", pa.string(), nullable=False),  # hash of the render config
        ],
        metadata={IMAGE_SHAPE: f"[{height}, {width}]"},
    )


def require(table: pa.Table, schema: pa.Schema, *, what: str) -> pa.Table:
    """Check that `table` has exactly `schema` (field names, order and types); return it.

    Raises `TypeError` naming the first field that differs: a defect of the caller, never of a user's file.
    """
    if table.schema.equals(schema, check_metadata=False):
        return table
    for index, field in enumerate(schema):
        found = table.schema.field(index) if index < len(table.schema) else None
        if found is None or found.name != field.name or found.type != field.type:
            raise TypeError(f"{what}: field {index} should be '{field}', found '{found}'")
    raise TypeError(f"{what}: unexpected fields {table.schema.names[len(schema) :]}")
