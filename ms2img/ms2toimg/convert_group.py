"""Runs that share their files, from those files to image rows: the work of a conversion, without its workers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ms2img.errors import Code, RunError
from ms2img.io import storage
from ms2img.io.dataset.shards import identity
from ms2img.io.dataset.sources import Source, hash_file, source_fingerprint
from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.sheet import Run
from ms2img.io.storage import FileStatus
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.render import STAGE_VERSION
from ms2img.ms2toimg.render_config import RenderConfig

LOOKS = 2  # at a file that changes while it is read (ours): once more, then its runs have failed


@dataclass(frozen=True)
class RunGroup:
    """Runs that share their files, read in one pass.

    `statuses`: each file as it was when the work was planned. `hashes`: content hashes that hold for those statuses.
    `held`: identities of rows that exist already, by sample_id: such a run needs no rendering.
    """

    runs: tuple[Run, ...]
    statuses: Mapping[str, FileStatus]
    hashes: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of the files, bytes."""
        return sum(status.size for status in self.statuses.values())


@dataclass(frozen=True)
class Outcome:
    """What became of one run: a row, or a failure, or neither when its row is held already.

    `sources` are the run's files as they were read. Reading a group is counted in the seconds of its first run.
    """

    run: Run
    identity: str = ""
    row: dict[str, Any] | None = None
    stage: str = ""
    error: RunError | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    read_seconds: float = 0.0
    render_seconds: float = 0.0


def convert_group(group: RunGroup, config: RenderConfig) -> Iterator[Outcome]:
    """Hash, read and render the runs of a group, in the order given; what is wrong with a run is its outcome.

    The files' content is in memory once, and one image at a time. A file that changes while it is read is read again,
    then refused as UNREADABLE.
    """
    left = {run.sample_id: run for run in group.runs}
    try:
        for outcome in _outcomes(group, config):
            del left[outcome.run.sample_id]
            yield outcome
    except RunError as error:
        yield from (Outcome(run, stage="read", error=error) for run in left.values())
    except Exception as error:
        yield from (Outcome(run, stage="read", error=_defect(error, run)) for run in left.values())


def _outcomes(group: RunGroup, config: RenderConfig) -> Iterator[Outcome]:
    started = time.perf_counter()
    statuses, hashes = group.statuses, group.hashes
    for _ in range(LOOKS):
        sources = {path: _source(path, status, hashes.get(path)) for path, status in statuses.items()}
        reading = _read(group, sources, config)
        now = {path: storage.status(path) for path in statuses}
        if now == statuses:
            break
        statuses, hashes = now, {}
    else:
        path = group.runs[0].path
        raise RunError(Code.UNREADABLE, "changes while it is read; convert again when it is complete", path=path)
    seconds = time.perf_counter() - started
    for run, row_identity, spectra in reading:
        yield _outcome(run, row_identity, spectra, sources, config, seconds)
        seconds = 0.0


def _defect(error: Exception, run: Run) -> RunError:
    """A defect of ours must cost one run, not a job of thousands; it is named as such."""
    reason = next(iter(f"{type(error).__name__}: {error}".splitlines()))
    return RunError(Code.INTERNAL, reason, path=run.path)


def _source(path: str, status: FileStatus, known_hash: str | None) -> Source:
    return Source(status, known_hash or hash_file(path))


def _read(
    group: RunGroup, sources: Mapping[str, Source], config: RenderConfig
) -> Iterator[tuple[Run, str, RunSpectra | RunError | None]]:
    """Each run, its row's identity, and its spectra: None where the row is held. The files are read on return."""
    identities: dict[str, str] = {}
    fresh: list[Run] = []
    kept: list[Run] = []
    for run in group.runs:
        fingerprint = fingerprint_of(run, sources)
        identities[run.sample_id] = identity(run.sample_id, fingerprint, config.fingerprint(), STAGE_VERSION)
        is_held = identities[run.sample_id] in group.held.get(run.sample_id, ())
        (kept if is_held else fresh).append(run)
    reading = iter(read_runs(fresh, config))
    first = list(next(([each] for each in reading), []))
    done: Iterator[tuple[Run, RunSpectra | RunError | None]] = chain(((run, None) for run in kept), first, reading)
    return ((run, identities[run.sample_id], spectra) for run, spectra in done)


def fingerprint_of(run: Run, sources: Mapping[str, Source]) -> str:
    """The source fingerprint of a run whose files are in `sources`."""
    quant = sources[run.quant_path].content_hash if run.quant_path else None
    return source_fingerprint(sources[run.path].content_hash, quant, run.column)


def _outcome(
    run: Run,
    row_identity: str,
    spectra: RunSpectra | RunError | None,
    sources: Mapping[str, Source],
    config: RenderConfig,
    read_seconds: float,
) -> Outcome:
    if spectra is None:
        return Outcome(run, row_identity, sources=sources, read_seconds=read_seconds)
    if isinstance(spectra, RunError):
        return Outcome(run, stage="read", error=spectra, read_seconds=read_seconds)
    started = time.perf_counter()
    try:
        row = image_row(run, spectra, config, source_fingerprint=fingerprint_of(run, sources))
    except RunError as error:
        return Outcome(run, stage="render", error=error, read_seconds=read_seconds)
    except Exception as error:
        return Outcome(run, stage="render", error=_defect(error, run), read_seconds=read_seconds)
    seconds = time.perf_counter() - started
    return Outcome(run, row_identity, row, sources=sources, read_seconds=read_seconds, render_seconds=seconds)
