"""One task of ``ms2img drift``: the runs of a few files, read, changed and written as MGF."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from ms2img.errors import Code, RunError
from ms2img.io.dataset.sources import Source, hash_file, source_fingerprint
from ms2img.io.formats.mgf_write import mgf_bytes
from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.read_config import ReadOptions
from ms2img.io.sheet import Run
from ms2img.io.storage import Folder, folder
from ms2img.ms2toimg.convert_group import RunGroup
from ms2img.ms2toimg.drift import DRIFT_VERSION, drifted
from ms2img.ms2toimg.drift_config import Drift

RUNS = "runs/"
NAME_CHARS = 120  # of a file name before its ending (ours): file systems take 255 bytes
HEADER_BYTES = 4096  # of a written file: its first line is within (ours)
IDENTITY = "identity "


@dataclass(frozen=True)
class Settings:
    """What all tasks of a job share."""

    out: str
    drift: Drift
    read: ReadOptions

    @cached_property
    def fingerprint(self) -> str:
        """What, besides its files, decides a run's drifted copy."""
        return f"{self.drift.fingerprint()}-{self.read.fingerprint()}-{DRIFT_VERSION}"


@dataclass
class TaskResult:
    """What a task leaves behind, by sample_id; `sources` are the files as they were read."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[tuple[str, str, RunError]] = field(default_factory=list)  # sample_id, stage, error
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def n_runs(self) -> int:
        """How many runs this accounts for."""
        return len(self.written) + len(self.unchanged) + len(self.failed)

    def add(self, other: TaskResult) -> None:
        """Take over what another task did."""
        self.written += other.written
        self.unchanged += other.unchanged
        self.failed += other.failed
        self.sources |= other.sources


def run_task(groups: Sequence[RunGroup], settings: Settings) -> TaskResult:
    """Write the drifted copy of every run that has none yet. Raises `JobError` when a copy cannot be written."""
    result = TaskResult()
    for group in groups:
        try:
            _run_group(group, settings, result)
        except RunError as error:  # of a file that cannot be hashed: none of its runs is accounted for yet
            result.failed += [(run.sample_id, "read", error) for run in group.runs]
    return result


def _run_group(group: RunGroup, settings: Settings, result: TaskResult) -> None:
    out = folder(settings.out)
    hashes = {path: group.hashes.get(path) or hash_file(path) for path in group.statuses}
    result.sources |= {path: Source(status, hashes[path]) for path, status in group.statuses.items()}
    made = {run.sample_id for run in group.runs if is_made(out, run, hashes, settings)}
    result.unchanged += sorted(made)
    for run, spectra in read_runs([run for run in group.runs if run.sample_id not in made], settings.read):
        try:
            content = _copy(run, spectra, identity(run, hashes, settings), settings.drift)
        except RunError as error:
            result.failed.append((run.sample_id, "read" if error is spectra else "render", error))
            continue
        out.write(file_of(run.sample_id), content)
        result.written.append(run.sample_id)


def _copy(run: Run, spectra: RunSpectra | RunError, copy_identity: str, drift: Drift) -> bytes:
    """The MGF of a run after the drift; raises the run's `RunError`."""
    if isinstance(spectra, RunError):
        raise spectra
    try:
        table = drifted(spectra.table, drift, sample_id=run.sample_id, path=run.path)
        title = f"SIMULATED drift ({drift.describe()}) of {run.sample_id}"
        return mgf_bytes(table, title=title, comment=f"{title}, by ms2img drift; {IDENTITY}{copy_identity}")
    except RunError:
        raise
    except Exception as error:  # a defect of ours costs one run, and is named as such
        reason = next(iter(f"{type(error).__name__}: {error}".splitlines()))
        raise RunError(Code.INTERNAL, reason, path=run.path) from error


def identity(run: Run, hashes: Mapping[str, str], settings: Settings) -> str:
    """The hash of all that decides a run's copy: name, content of its files, options; it stands in the copy."""
    content = source_fingerprint(hashes[run.path], hashes[run.quant_path] if run.quant_path else None, run.column)
    parts = [run.sample_id, run.format, content, settings.fingerprint]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def is_made(out: Folder, run: Run, hashes: Mapping[str, str], settings: Settings) -> bool:
    """Whether `out` has this very copy: a file appears whole or not at all, so its first line tells."""
    try:
        with out.open(file_of(run.sample_id)) as file:
            head: bytes = file.read(HEADER_BYTES)
    except FileNotFoundError:
        return False
    return head.partition(b"\n")[0].endswith(f"{IDENTITY}{identity(run, hashes, settings)}".encode())


def file_of(sample_id: str) -> str:
    """The copy's name below OUT; different sample_ids have different ones, whatever they are made of."""
    name = quote(sample_id, safe="")
    if len(name) > NAME_CHARS:
        name = f"{name[:NAME_CHARS]}-{hashlib.blake2b(sample_id.encode(), digest_size=16).hexdigest()}"
    return f"{RUNS}{name}.mgf"
