"""The first tasks of ``ms2img features``: some runs, from their files to features merged within each sample, staged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import Code, RunError
from ms2img.io import storage
from ms2img.io.dataset.shards import identity
from ms2img.io.dataset.sources import Source, hash_file
from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.sheet import Run
from ms2img.io.storage import folder
from ms2img.ms2toimg.convert_group import RunGroup, fingerprint_of
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.extract import RunCounts, extract
from ms2img.ms2toimg.features.similarity import comparison
from ms2img.ms2toimg.features.within import merge_within
from pipelines.feature_table.staged import StagedFeatures, StagedSample, stage, staged_rows

FEATURES_STAGE = 1  # raised by hand when the same run and options give other features
STAGED_FEATURES = 100_000  # most features a task holds before it stages them (ours): some 50 MB


@dataclass
class ReadResult:
    """What a task leaves behind: staged files, and the runs that failed."""

    staged: list[StagedFeatures] = field(default_factory=list)
    failed: list[tuple[str, RunError]] = field(default_factory=list)  # sample_id, error

    @property
    def n_runs(self) -> int:
        """How many runs this accounts for."""
        return sum(len(file.samples) for file in self.staged) + len(self.failed)


def identity_of(run: Run, fingerprint: str, options: FeatureOptions) -> str:
    """What makes a sample's features these: sample, content of its file and column, options, stage version."""
    return identity(run.sample_id, fingerprint, options.fingerprint(), FEATURES_STAGE)


def read_task(groups: Sequence[RunGroup], out: str, options: FeatureOptions) -> ReadResult:
    """Read the runs, merge within each, stage what is left. Top-level and free of Ray. Raises `JobError`.

    Where the sigma of m/z is the paper's, it is not known yet: the features are staged unmerged, for `merge_task`.
    """
    result = ReadResult()
    waiting: dict[str, tuple[StagedSample, pa.Table, dict[str, Source]]] = {}
    for group in groups:
        for run, sources, outcome in _features_of(group, options):
            if isinstance(outcome, RunError):
                result.failed.append((run.sample_id, outcome))
                continue
            features, counts = outcome
            sample = StagedSample(identity_of(run, fingerprint_of(run, sources), options), counts)
            waiting[run.sample_id] = (sample, features, sources)
            if sum(len(each[1]) for each in waiting.values()) >= STAGED_FEATURES:
                result.staged.append(_stage(out, waiting))
    if waiting:
        result.staged.append(_stage(out, waiting))
    return result


def merge_task(work: tuple[StagedFeatures, dict[str, str]], out: str, options: FeatureOptions) -> StagedFeatures:
    """Merge within each sample of a file that was staged unmerged, now that `options` has a sigma; stage the outcome.

    `work`: the file, and the new identity of each sample to take from it.
    """
    staged, identities = work
    rows = staged_rows(folder(out), staged.name, identities)
    merged = [_merged(rows.filter(pc.equal(rows["sample_id"], sample)), options) for sample in identities]
    samples = {sample: StagedSample(new, staged.samples[sample].counts) for sample, new in identities.items()}
    return stage(folder(out), merged, samples, staged.sources)


def _stage(out: str, waiting: dict[str, tuple[StagedSample, pa.Table, dict[str, Source]]]) -> StagedFeatures:
    """Stage the samples that wait, and let them go."""
    samples = {name: sample for name, (sample, _, _) in waiting.items()}
    sources = {path: source for _, _, of in waiting.values() for path, source in of.items()}
    staged = stage(folder(out), [features for _, features, _ in waiting.values()], samples, sources)
    waiting.clear()
    return staged


def _features_of(
    group: RunGroup, options: FeatureOptions
) -> Iterator[tuple[Run, dict[str, Source], tuple[pa.Table, RunCounts] | RunError]]:
    """Each run of a group with its features or the error that says why not; the files are read in one pass."""
    left = {run.sample_id: run for run in group.runs}
    try:
        sources = {
            path: Source(status, group.hashes.get(path) or hash_file(path)) for path, status in group.statuses.items()
        }
        found = [(run, _outcome(run, spectra, options)) for run, spectra in read_runs(group.runs, options)]
        for path, status in group.statuses.items():
            if storage.status(path) != status:
                message = "changes while it is read; run the command again when it is complete"
                raise RunError(Code.UNREADABLE, message, path=path)
        for run, outcome in found:
            del left[run.sample_id]
            yield run, sources, outcome
    except RunError as error:
        yield from ((run, {}, error) for run in left.values())


def _outcome(
    run: Run, spectra: RunSpectra | RunError, options: FeatureOptions
) -> tuple[pa.Table, RunCounts] | RunError:
    if isinstance(spectra, RunError):
        return spectra
    try:
        features, counts = extract(spectra.table, options, path=run.path)
        return _merged(features, options), counts
    except RunError as error:
        return error
    except Exception as error:  # a defect of ours must cost one run, not a job of thousands
        reason = next(iter(f"{type(error).__name__}: {error}".splitlines()))
        return RunError(Code.INTERNAL, reason, path=run.path)


def _merged(features: pa.Table, options: FeatureOptions) -> pa.Table:
    return features if options.sigma_mz_da is None else merge_within(features, *comparison(options))
