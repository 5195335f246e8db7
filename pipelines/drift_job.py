"""``ms2img drift``, step by step: lease, plan, work, and the sheet that names what is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ms2img.errors import RunError, UsageError
from ms2img.io.dataset.failures import failure, fingerprint, read_failures, write_failures
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.dataset.sources import read_sources, write_sources
from ms2img.io.read_config import ReadOptions
from ms2img.io.sheet import SIMULATED_COLUMN, Run, Sheet
from ms2img.io.storage import FileStatus, Folder, folder, is_remote, join, require_access, statuses
from ms2img.ms2toimg.convert_group import RunGroup
from ms2img.ms2toimg.drift import DRIFT_VERSION
from ms2img.ms2toimg.drift_config import Drift
from pipelines.drift import DriftConfig
from pipelines.drift_task import RUNS, Settings, TaskResult, file_of, is_made, run_task
from pipelines.progress import Steps

SHEET, CONFIG = "samples.csv", "config.yaml"
DRIFT_COLUMN = "simulated_drift"  # of the new sheet: what was changed, in words
REPLACED = ("quant_path", "column", "format")  # columns of the sheet: a copy is one MGF a run
TASKS_PER_CORE = 8  # (ours) so that all cores end together
SPLIT_RUNS = 64  # runs of one file a task (ours, as `ms2img features`): each task reads the whole file


@dataclass(frozen=True)
class DriftSummary:
    """What was done, in runs; `errors` holds the rows of ``errors.parquet``, `sheet` is the new sample sheet."""

    written: int
    unchanged: int
    failed: int
    allowed: int
    sheet: str
    errors: tuple[dict[str, Any], ...]


def drift(config: DriftConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None) -> DriftSummary:
    """Bring the drifted copy at ``config.out`` up to date with the sheet; only missing or changed runs are read.

    The sheet is written last: it names complete files only. `notice` is told what a person should know.

    Raises `UsageError` before any work: a wrong sheet, none of the kinds asked for, an output that is something else,
    was made with other options, or is being written; `JobError` when the job cannot go on. A bad run is counted.
    """
    sheet = Sheet.read(config.samples, allow_outside=config.allow_outside)
    runs = [run for run in sheet.runs if run.kind in config.kinds]
    if not runs:
        raise UsageError(f"{config.samples}: has no run of kind {' or '.join(config.kinds)}; see --kinds")
    if not is_remote(config.out) and Path(config.out).exists() and not Path(config.out).is_dir():
        raise UsageError(f"{config.out}: is a file; OUT must be a folder")
    out = folder(config.out)
    _require_not_its_own(out, runs)
    require_access(path for run in runs for path in (run.path, run.quant_path) if path)
    _require_same(out, config)
    with Lease(out, notice) as lease:
        _require_same(out, config)  # a job that ended in between may have written other options
        return _DriftJob(config, sheet, runs, out, lease).run(quiet=quiet)


def _require_not_its_own(out: Folder, runs: Sequence[Run]) -> None:
    """Refuse to drift a copy into itself: the second time it would drift twice."""
    copies = join(out.location, RUNS).rstrip("/") + "/"
    inside = next((run.path for run in runs if _resolved(run.path).startswith(copies)), None)
    if inside is not None:
        raise UsageError(f"{out.location}: holds {inside}, which is to be copied; give OUT another folder")


def _require_same(out: Folder, config: DriftConfig) -> None:
    """Refuse a folder that holds something else, and a copy that was made with other options."""
    try:
        before = yaml.safe_load(out.read(CONFIG) or b"")
    except yaml.YAMLError:
        before = None
    if not isinstance(before, dict) or "mz_ppm" not in before:
        foreign = next((name for name in out.names() if name != LEASE_NAME), None)
        if foreign is not None:
            raise UsageError(
                f"{out.location}: not empty and not of 'ms2img drift' (it has {foreign}); give OUT a new folder"
            )
        return
    for key in (*Drift.model_fields, *ReadOptions.model_fields):
        if before.get(key) != getattr(config, key):
            raise UsageError(
                f"{out.location}: made with {key}={before.get(key)}, now asked for {key}={getattr(config, key)}; "
                "give OUT another folder, or the old option"
            )


class _DriftJob:
    """One job under a lease."""

    def __init__(self, config: DriftConfig, sheet: Sheet, runs: Sequence[Run], out: Folder, lease: Lease) -> None:
        self._config = config
        self._sheet = sheet
        self._runs = {run.sample_id: run for run in runs}
        self._out = out
        self._lease = lease
        self._settings = Settings(out.location, config.drift(), config.read_options())
        self._statuses = statuses(path for run in runs for path in _paths(run))
        self._done = TaskResult()

    def run(self, *, quiet: bool) -> DriftSummary:
        """Plan, work, commit."""
        self._out.write(CONFIG, yaml.safe_dump(self._config.model_dump(mode="json"), sort_keys=False).encode())
        groups = self._plan()
        with Steps(len(self._runs), "drift", quiet=quiet) as progress:
            progress.advance(self._done.n_runs)
            if groups:
                self._work(groups, progress)
        return self._commit()

    def _plan(self) -> list[RunGroup]:
        """The runs without a copy, those that share files together; the others are counted as done."""
        known = {path: source for path, source in read_sources(self._out).items() if source.status == self._found(path)}
        self._done.sources |= known
        present = self._out.names(RUNS)
        groups: dict[tuple[str, str | None, str | None], list[Run]] = {}
        for run in self._runs.values():
            absent = next((found for path in _paths(run) if isinstance(found := self._found(path), RunError)), None)
            hashes = {path: known[path].content_hash for path in _paths(run) if path in known}
            is_known = len(hashes) == len(_paths(run)) and file_of(run.sample_id) in present
            if absent is not None:
                self._done.failed.append((run.sample_id, "read", absent))
            elif is_known and is_made(self._out, run, hashes, self._settings):
                self._done.unchanged.append(run.sample_id)
            else:
                groups.setdefault((run.path, run.quant_path, run.format), []).append(run)
        return [self._group(runs) for runs in groups.values()]

    def _found(self, path: str) -> FileStatus | RunError | None:
        return self._statuses.get(path)

    def _group(self, runs: Sequence[Run]) -> RunGroup:
        found = {path: status for path in _paths(runs[0]) if isinstance(status := self._found(path), FileStatus)}
        known = self._done.sources
        return RunGroup(tuple(runs), found, {path: known[path].content_hash for path in found if path in known})

    def _work(self, groups: Sequence[RunGroup], progress: Steps) -> None:
        from cluster.connect import connected
        from pipelines.conversion.cluster_work import cluster_cpus, on_workers

        with connected(writes=[self._out.location]):
            tasks = parted(groups, cluster_cpus())
            for result in on_workers(tasks, partial(run_task, settings=self._settings)):
                self._done.add(result)
                progress.advance(result.n_runs, note=f"{len(self._done.failed)} failed" if self._done.failed else "")

    def _commit(self) -> DriftSummary:
        """Write errors and sources, then, if the lease is still ours, the sheet; remove what it does not name."""
        done = self._done
        errors = self._errors()
        write_failures(self._out, errors)
        write_sources(self._out, {path: source for path, source in done.sources.items() if path in self._statuses})
        self._lease.require()
        complete = {*done.written, *done.unchanged}
        self._out.write(SHEET, drifted_sheet(self._sheet, complete, self._settings.drift).encode())
        named = {file_of(sample_id) for sample_id in complete}
        self._out.delete(name for name in self._out.names(RUNS) if name not in named)
        return DriftSummary(
            written=len(done.written),
            unchanged=len(done.unchanged),
            failed=len(errors),
            allowed=self._config.failures_allowed(len(self._runs)),
            sheet=join(self._out.location, SHEET),
            errors=tuple(errors),
        )

    def _errors(self) -> list[dict[str, Any]]:
        """The rows of ``errors.parquet``. A failed run is tried at every job; the attempts are counted."""
        before = read_failures(self._out)
        rows = []
        for sample_id, stage, error in sorted(self._done.failed, key=lambda each: each[0]):
            run = self._runs[sample_id]
            found = [status if isinstance(status := self._found(path), FileStatus) else None for path in _paths(run)]
            row = failure(run, stage, error, fingerprint(run, found, self._settings.fingerprint, DRIFT_VERSION, None))
            rows.append({**row, "attempts": 1 + before.get(sample_id, {"attempts": 0})["attempts"]})
        return rows


def parted(groups: Sequence[RunGroup], cores: int) -> list[list[RunGroup]]:
    """Part groups into tasks, in their order; of a file of many runs each part reads it again."""
    parts = [
        RunGroup(group.runs[start : start + SPLIT_RUNS], group.statuses, group.hashes)
        for group in groups
        for start in range(0, len(group.runs), SPLIT_RUNS)
    ]
    size = max(1, len(parts) // (TASKS_PER_CORE * cores))
    return [parts[start : start + size] for start in range(0, len(parts), size)]


def drifted_sheet(sheet: Sheet, complete: set[str], drift: Drift) -> str:
    """The sheet of the copies as CSV: every column but those of the files, its rows in order, marked as simulated."""
    rows = [index for index, run in enumerate(sheet.runs) if run.sample_id in complete]
    table = sheet.table.iloc[rows].drop(columns=[name for name in REPLACED if name in sheet.table]).astype(object)
    table["path"] = [file_of(sheet.runs[index].sample_id) for index in rows]
    table[SIMULATED_COLUMN] = "true"
    before = table[DRIFT_COLUMN] if DRIFT_COLUMN in table else [None] * len(rows)
    table[DRIFT_COLUMN] = [drift.describe() if pd.isna(old) else f"{old}; {drift.describe()}" for old in before]
    return table.to_csv(index=False, lineterminator="\n")


def _resolved(path: str) -> str:
    """A local path with its links followed, as a `Folder` has its location; an S3 one as it is."""
    return path if is_remote(path) else str(Path(path).resolve())


def _paths(run: Run) -> list[str]:
    return [run.path, run.quant_path] if run.quant_path else [run.path]
