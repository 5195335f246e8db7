"""The tables of ion images, field by field with units."""

from __future__ import annotations

import pyarrow as pa


def ion_images_schema(height: int, width: int) -> pa.Schema:
    """One row an ion, sorted by `mz`; all images of a set have one shape. The shape stands in the schema's metadata."""
    return pa.schema(
        [
            pa.field("mz", pa.float64(), nullable=False),  # Da / charge, of the ion's peaks by weight
            pa.field("presence", pa.float64(), nullable=False),  # share of the measured pixels with signal, 0-1
            # Mean over the measured pixels after their normalisation, before the ion's own scaling: which of two ions
            # is brighter. A share of the total ion count, or the file's own unit where pixels were not normalised.
            pa.field("intensity", pa.float64(), nullable=False),
            pa.field("image", pa.fixed_shape_tensor(pa.float32(), (height, width)), nullable=False),  # 0-1; missing: 0
            pa.field("source", pa.string(), nullable=False),  # name of the file the images were made of
        ],
        metadata={"height": str(height), "width": str(width)},
    )


#: One row a measured pixel, in the order of rows, then columns. Every other pixel of the images is missing.
PIXELS = pa.schema(
    [
        pa.field("x", pa.int32(), nullable=False),  # column, from 0
        pa.field("y", pa.int32(), nullable=False),  # row, from 0, downwards
        pa.field("tic", pa.float64()),  # total ion count, in the file's own unit; null when not known
    ]
)

#: One row a peak of some spectra, sorted by `mz`: what lies between reading and pooling.
PEAKS = pa.schema(
    [
        pa.field("mz", pa.float64(), nullable=False),  # Da / charge, ascending
        pa.field("intensity", pa.float32(), nullable=False),  # above 0, in the file's own unit
        pa.field("pixel", pa.int32(), nullable=False),  # number of the spectrum in its file, from 0
    ]
)
