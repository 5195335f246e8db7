"""The feature table of ``ms2img features`` on disk and in memory: features as rows, one column of heights a sample.

Layout of the folder, local or in an object store::

    OUT/features.parquet   one row a feature: `FEATURE_COLUMNS`, then one float64 column a sample
    OUT/errors.parquet     one row a run that failed, schema `ms2img.io.schema.ERRORS`
    OUT/sources.parquet    one row a file the table was made of, schema `ms2img.io.schema.SOURCES`
    OUT/config.yaml        the resolved config
    OUT/.staging/          the features of single samples that the table was merged of, for the next job
    OUT/manifest.json      written last and at once: the commit
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import UsageError
from ms2img.io.dataset.manifest import MANIFEST_NAME
from ms2img.io.dataset.shards import checksum
from ms2img.io.storage import Folder, folder, join

FEATURES_NAME = "features.parquet"
FEATURES_VERSION = 1  # of manifest and layout; raised by hand

#: The representative MS/MS of a feature: fragment m/z (Da / charge) and intensity (the file's unit); may be empty.
PEAKS = pa.schema([pa.field("mz", pa.list_(pa.float64())), pa.field("intensity", pa.list_(pa.float32()))])
#: What a row says of its feature, before the samples' heights.
FEATURE = pa.schema(
    [
        pa.field("feature_id", pa.string(), nullable=False),
        pa.field("precursor_mz", pa.float64(), nullable=False),  # Da / charge, of the founder
        pa.field("rt_seconds", pa.float64()),  # s, of the founder; null where absent
        *PEAKS,
    ]
)
FEATURE_COLUMNS = tuple(FEATURE.names)


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Samples x features in memory.

    Parameters
    ----------
    sample_ids: [n], sorted.
    feature_ids: [f], in the order of the table: rising precursor m/z, then retention time.
    precursor_mz: float64 [f], Da / charge.
    rt_seconds: float64 [f], s, NaN where absent.
    spectra: schema `PEAKS`, one row a feature: its representative MS/MS, empty lists where it has none.
    heights: float64 [n, f], 0 where the sample lacks the feature; the file's unit, summed within a sample.
    about: how the table was made (``similarity`` is "cosine", "entropy" or "aligned") and what was dropped.
    fingerprint: identifies content and config together.
    """

    sample_ids: tuple[str, ...]
    feature_ids: tuple[str, ...]
    precursor_mz: np.ndarray
    rt_seconds: np.ndarray
    spectra: pa.Table
    heights: np.ndarray
    about: dict[str, Any]
    fingerprint: str

    def rows_of(self, sample_ids: Sequence[str]) -> np.ndarray:
        """Row numbers [len(sample_ids)] of these samples; `KeyError` for one that is not in the table."""
        row = {sample: index for index, sample in enumerate(self.sample_ids)}
        return np.array([row[sample] for sample in sample_ids], dtype=np.int64)


@dataclass(frozen=True)
class FeatureManifest:
    """What ``manifest.json`` holds. `inputs` identifies the runs' contents and the config: equal inputs, equal table.

    `checksum` is the blake2b-16 of the bytes of ``features.parquet``.
    """

    about: dict[str, Any]
    inputs: str
    fingerprint: str
    n_samples: int
    n_features: int
    n_errors: int
    checksum: str

    def write(self, out: Folder) -> None:
        """Commit: replace the folder's manifest by this one."""
        text = json.dumps({"features_version": FEATURES_VERSION, **asdict(self)}, indent=2, sort_keys=True)
        out.write(MANIFEST_NAME, (text + "\n").encode())

    @classmethod
    def read(cls, out: Folder) -> Self | None:
        """The folder's manifest; None where there is none yet. Raises `UsageError` if it is not a feature table's."""
        content = out.read(MANIFEST_NAME)
        if content is None:
            return None
        where = join(out.location, MANIFEST_NAME)
        try:
            values = json.loads(content)
            version = values.pop("features_version")
            if version != FEATURES_VERSION:
                raise UsageError(
                    f"{where}: feature table version {version}; this ms2img reads version {FEATURES_VERSION}: "
                    "make it again in a new folder"
                )
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{where}: not a manifest of 'ms2img features'") from None


def load_features(out: str | Path) -> FeatureTable:
    """Load the committed feature table below `out` into memory.

    Raises `UsageError` when `out` was not written by ``ms2img features``, holds no sample or no feature, or
    ``features.parquet`` is gone, unreadable or not the one that was committed.
    """
    store = folder(str(out))
    manifest = FeatureManifest.read(store)
    if manifest is None:
        raise UsageError(f"{out}: no {MANIFEST_NAME} here; expected the OUT folder of a finished 'ms2img features'")
    if not manifest.n_samples or not manifest.n_features:
        raise UsageError(f"{out}: the feature table is empty ({manifest.n_errors} runs failed: see errors.parquet)")
    where = join(store.location, FEATURES_NAME)
    content = store.read(FEATURES_NAME)
    if content is None or checksum(content) != manifest.checksum:
        state = "is gone" if content is None else "is not the committed one"
        raise UsageError(f"{where}: {state}; run 'ms2img features' again")
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{where}: cannot be read: {str(error).splitlines()[0]}") from None
    samples = table.schema.names[len(FEATURE_COLUMNS) :]
    heights = np.empty((len(samples), table.num_rows))
    for row, sample in enumerate(samples):
        heights[row] = table[sample].to_numpy()
    return FeatureTable(
        sample_ids=tuple(samples),
        feature_ids=tuple(table["feature_id"].to_pylist()),
        precursor_mz=table["precursor_mz"].to_numpy(),
        rt_seconds=table["rt_seconds"].to_numpy(),
        spectra=table.select(PEAKS.names).combine_chunks(),
        heights=heights,
        about=manifest.about,
        fingerprint=manifest.fingerprint,
    )


def features_schema(sample_ids: Iterable[str]) -> pa.Schema:
    """The schema of ``features.parquet``: `FEATURE`, then a float64 column a sample, in the order given.

    Raises `UsageError` for a sample that is called as a column of `FEATURE` is.
    """
    samples = list(sample_ids)
    for sample in samples:
        if sample in FEATURE_COLUMNS:
            raise UsageError(f"sample_id '{sample}' is the name of another column of a feature table; rename the run")
    return pa.schema([*FEATURE, *(pa.field(sample, pa.float64(), nullable=False) for sample in samples)])


def encode_features(rows: Iterable[pa.Table], sample_ids: Sequence[str]) -> pa.Buffer:
    """Tables of `features_schema` as one Parquet file in memory, a row group each; equal rows, equal bytes."""
    schema = features_schema(sample_ids)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in rows:
            writer.write_table(table.cast(schema).combine_chunks())
    return sink.getvalue()


def features_fingerprint(content: pa.Buffer, about: dict[str, Any]) -> str:
    """One short hash of the table's bytes and of how it was made."""
    text = f"{checksum(content)}\n{json.dumps(about, sort_keys=True)}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
