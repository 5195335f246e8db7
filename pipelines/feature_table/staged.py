"""``OUT/.staging``: features of samples that were read and merged within, before they are merged across, a file a task.

As of `ms2img.io.dataset.staging`: a staged file is named by what it holds, and its footer tells which samples these
are, what was dropped of them and which files they came from. A job that was killed goes on from there. What the
committed table was made of stays, so that a sample more does not cost reading the others again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ms2img.errors import JobError
from ms2img.io.dataset.sources import Source
from ms2img.io.dataset.staging import FOOTER_READERS, STAGING
from ms2img.io.storage import FileStatus, Folder
from ms2img.ms2toimg.features.extract import RunCounts
from ms2img.ms2toimg.features.table import SAMPLE_FEATURES, Floats

KEY = "ms2img.staged-features"  # in the footer
ROW_GROUP = 4096  # features (ours): what is read too much at both ends of a range of m/z


@dataclass(frozen=True)
class StagedSample:
    """One sample in a staged file: the identity of its features, and what was dropped on the way to them."""

    identity: str
    counts: RunCounts


@dataclass(frozen=True)
class StagedFeatures:
    """A staged file: its name, its samples by sample_id, and the files they came from."""

    name: str
    samples: dict[str, StagedSample]
    sources: dict[str, Source]


def stage(
    out: Folder, features: Sequence[pa.Table], samples: Mapping[str, StagedSample], sources: Mapping[str, Source]
) -> StagedFeatures:
    """Write the features of some samples (schema `SAMPLE_FEATURES`) as one file, sorted by m/z. Raises `JobError`."""
    identities = "\n".join(sorted(sample.identity for sample in samples.values()))
    name = f"{STAGING}{hashlib.blake2b(identities.encode(), digest_size=16).hexdigest()}.parquet"
    staged = StagedFeatures(name, dict(samples), dict(sources))
    rows = pa.concat_tables(features)
    rows = rows.take(pc.sort_indices(rows["precursor_mz"])).replace_schema_metadata({KEY: _to_json(staged)})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=ROW_GROUP)
    out.write(name, sink.getvalue())
    return staged


def read_staged(out: Folder, names: Iterable[str]) -> list[StagedFeatures]:
    """What earlier jobs have left, in the order of names; a file that is no staged one is passed over."""
    with ThreadPoolExecutor(FOOTER_READERS) as readers:
        found = readers.map(lambda name: _read(out, name), sorted(names))
    return [staged for staged in found if staged is not None]


def staged_mz(out: Folder, name: str, samples: Collection[str]) -> Floats:
    """The precursor m/z of these samples' features in a staged file. Raises `JobError`."""
    mz: Floats = _rows(out, name, samples, ["sample_id", "precursor_mz"])["precursor_mz"].to_numpy()
    return mz


def staged_rows(
    out: Folder, name: str, samples: Collection[str], mz_range: tuple[float, float] | None = None
) -> pa.Table:
    """These samples' features in a staged file, or those in a range of m/z, both ends included. Raises `JobError`."""
    return _rows(out, name, samples, SAMPLE_FEATURES.names, mz_range)


def _rows(
    out: Folder,
    name: str,
    samples: Collection[str],
    columns: list[str],
    mz_range: tuple[float, float] | None = None,
) -> pa.Table:
    mz = pc.field("precursor_mz")
    within = None if mz_range is None else (mz >= mz_range[0]) & (mz <= mz_range[1])
    try:
        with out.open(name) as stream:
            rows = pq.read_table(stream, columns=columns, filters=within, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise JobError(
            f"{out.location}/{name}: cannot be read: {reason}; delete it if it is damaged, and run again"
        ) from None
    return rows.filter(pc.is_in(rows["sample_id"], pa.array(sorted(samples), pa.string())))


def _read(out: Folder, name: str) -> StagedFeatures | None:
    try:
        with out.open(name) as stream:
            metadata = pq.read_metadata(stream).metadata or {}
        content = json.loads(metadata[KEY.encode()])
        samples = {
            sample: StagedSample(row_identity, RunCounts(**counts))
            for sample, (row_identity, counts) in content["samples"].items()
        }
        said = content["sources"].items()
        sources = {path: Source(FileStatus(size, version), digest) for path, (size, version, digest) in said}
        return StagedFeatures(name, samples, sources)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None


def _to_json(staged: StagedFeatures) -> str:
    samples = {name: (sample.identity, asdict(sample.counts)) for name, sample in staged.samples.items()}
    sources = {
        path: (source.status.size, source.status.version, source.content_hash)
        for path, source in sorted(staged.sources.items())
    }
    return json.dumps({"samples": samples, "sources": sources}, sort_keys=True)
