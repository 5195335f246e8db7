"""The features of samples before they are a feature table: an Arrow table, and its columns as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: One row a feature of one sample. Before merging within the sample, a feature is a spectrum.
SAMPLE_FEATURES = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("spectrum_id", pa.string(), nullable=False),  # of the strongest spectrum, as the file names it
        pa.field("precursor_mz", pa.float64(), nullable=False),  # Da / charge, of the strongest spectrum
        pa.field("rt_seconds", pa.float64()),  # s, of the strongest spectrum; null where absent
        pa.field("height", pa.float64(), nullable=False),  # > 0, the file's unit, summed over the merged spectra
        pa.field("mz", pa.list_(pa.float64()), nullable=False),  # fragments of the strongest spectrum
        pa.field("intensity", pa.list_(pa.float32()), nullable=False),
    ]
)

# Total: equal rows of one sample can differ in nothing but their fragments, and stand in the order of the file.
_ORDER = [
    ("height", "descending"),
    ("precursor_mz", "ascending"),
    ("rt_seconds", "ascending"),  # absent ones last
    ("sample_id", "ascending"),
    ("spectrum_id", "ascending"),
]


def in_order(features: pa.Table) -> pa.Table:
    """The rows of `SAMPLE_FEATURES` in the order in which they join entries (ours; the paper states none).

    By intensity (descending), precursor m/z, retention time, sample and spectrum: whatever order they come in, they
    join in this one.
    """
    return features.take(pc.sort_indices(features, sort_keys=_ORDER)).combine_chunks()


@dataclass(frozen=True, eq=False)
class Ions:
    """Precursor m/z (Da / charge) and retention time (s, NaN where absent) of features, float64 [n]; their MS/MS."""

    mz: Floats
    rt: Floats
    peaks: Peaks

    @classmethod
    def of(cls, table: pa.Table) -> Ions:
        """The columns of a table that has ``precursor_mz``, ``rt_seconds``, ``mz`` and ``intensity``."""
        rt = pc.fill_null(table["rt_seconds"], np.nan).to_numpy()
        return cls(table["precursor_mz"].to_numpy(), rt, Peaks.of(table))


@dataclass(frozen=True, eq=False)
class Peaks:
    """List columns laid flat: spectrum `i` is the range ``starts[i]:starts[i + 1]`` of `mz` and `intensity`."""

    starts: Integers
    mz: Floats
    intensity: Floats

    @classmethod
    def of(cls, table: pa.Table) -> Peaks:
        """The fragments of a table's spectra."""
        lengths = pc.fill_null(pc.list_value_length(table["mz"]), 0).to_numpy()
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        mz = pc.list_flatten(table["mz"]).to_numpy()
        return cls(starts, mz, pc.list_flatten(table["intensity"]).to_numpy())

    def __getitem__(self, row: int) -> Floats:
        """One spectrum, float64 [n_peaks, 2]: m/z and intensity, as they stand in the file."""
        part = slice(self.starts[row], self.starts[row + 1])
        spectrum = np.empty((part.stop - part.start, 2))
        spectrum[:, 0], spectrum[:, 1] = self.mz[part], self.intensity[part]
        return spectrum

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Floats]:
        return (self[row] for row in range(len(self)))
