"""What is to be done: which runs have their row, which stay failed, and how the others are parted into tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ms2img.errors import Code, RunError
from ms2img.io.dataset.compaction import Held
from ms2img.io.dataset.failures import PASSING, failure, fingerprint
from ms2img.io.dataset.shards import identity, shard_of
from ms2img.io.dataset.sources import Source
from ms2img.io.dataset.staging import STAGED_RUNS
from ms2img.io.sheet import Run
from ms2img.io.storage import FileStatus
from ms2img.ms2toimg.convert_group import RunGroup, fingerprint_of
from ms2img.ms2toimg.render import STAGE_VERSION
from pipelines.conversion.config import ConvertConfig
from pipelines.conversion.task import Settings

TASK_BYTES = 128 * 2**20  # of small files a task (ours): some ten seconds of work, beside which Ray's part is nothing
TASK_RUNS = 256  # runs a task (ours): they are staged, and so kept, in units of 64
LAST_RUNS = 16  # runs a task at the end (ours), where Ray's part begins to show
TASKS_PER_CORE = 4  # a task takes this part of a core's share of what is left (ours): cores end together


@dataclass
class Plan:
    """The sheet's runs, parted: rows that exist, failures that stay, and groups of runs to work on.

    `rows`: sample_id -> identity. `failures`: sample_id -> row of `ERRORS`. `sources`: files whose hash is known to
    hold. `statuses`: every file of the sheet as it is now.
    """

    rows: dict[str, str] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: list[RunGroup] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)


class Planner:
    """Decides on every run of a sheet by what is known without opening its file."""

    def __init__(
        self,
        config: ConvertConfig,
        statuses: Mapping[str, FileStatus | RunError],
        sources: Mapping[str, Source],
        held: Held,
        failures: Mapping[str, dict[str, Any]],
    ) -> None:
        """`sources`: hashes from earlier; they count while size and version are the same, unless ``--rehash``."""
        self._config = config
        self._render_fingerprint = config.render_config().fingerprint()
        self._statuses = statuses
        self._held = held
        self._failures = failures
        self.sources = (
            {}
            if config.rehash
            else {path: source for path, source in sources.items() if statuses.get(path) == source.status}
        )

    def plan(self, runs: Iterable[Run]) -> Plan:
        """Part the runs."""
        plan = Plan(sources=dict(self.sources))
        groups: dict[tuple[str, str | None, str | None], list[Run]] = {}
        for run in runs:
            error = next((found for found in self._of(run) if isinstance(found, RunError)), None)
            known = self._identity(run)
            if error is None and known in self._held.of(run.sample_id):
                plan.rows[run.sample_id] = str(known)
            elif self._stays_failed(run):
                plan.failures[run.sample_id] = self._failures[run.sample_id]
            elif error is not None:
                plan.failures[run.sample_id] = self.failed(run, "read", error)
            else:
                groups.setdefault((run.path, run.quant_path, run.format), []).append(run)
        plan.groups = [self._group(members) for members in groups.values()]
        return plan

    def failed(self, run: Run, stage: str, error: RunError) -> dict[str, Any]:
        """The row of `ERRORS` of a run that has failed just now, counted on from its last one."""
        row = failure(run, stage, error, self._fingerprint(run, error.code))
        before = self._failures.get(run.sample_id)
        return row if before is None else {**row, "attempts": before["attempts"] + 1}

    def _of(self, run: Run) -> list[FileStatus | RunError]:
        return [self._statuses[path] for path in _paths(run)]

    def _identity(self, run: Run) -> str | None:
        if any(path not in self.sources for path in _paths(run)):
            return None
        return identity(run.sample_id, fingerprint_of(run, self.sources), self._render_fingerprint, STAGE_VERSION)

    def _stays_failed(self, run: Run) -> bool:
        before = self._failures.get(run.sample_id)
        if before is None or self._config.retry_errors or before["code"] in PASSING:
            return False
        return bool(before["fingerprint"] == self._fingerprint(run, Code(before["code"])))

    def _fingerprint(self, run: Run, code: Code) -> str:
        limits: dict[Code, float] = {
            Code.TIME_LIMIT: self._config.time_limit,
            Code.MEMORY_LIMIT: self._config.memory_limit,
        }
        statuses = [found if isinstance(found, FileStatus) else None for found in self._of(run)]
        return fingerprint(run, statuses, self._render_fingerprint, STAGE_VERSION, limits.get(code))

    def _group(self, runs: Sequence[Run]) -> RunGroup:
        paths = _paths(runs[0])
        statuses = {path: found for path in paths if isinstance(found := self._statuses[path], FileStatus)}
        hashes = {path: self.sources[path].content_hash for path in paths if path in self.sources}
        held = {run.sample_id: tuple(self._held.of(run.sample_id)) for run in runs if self._held.of(run.sample_id)}
        return RunGroup(tuple(runs), statuses, hashes, held)


def _paths(run: Run) -> list[str]:
    return [run.path, run.quant_path] if run.quant_path else [run.path]


def tasks(groups: Sequence[RunGroup], settings: Settings, cores: int) -> list[list[RunGroup]]:
    """Part groups into tasks, the largest first.

    Small files go together, those of one shard as far as possible, so that what a task stages is few files of one
    shard; fewer of them the less is left, so that all cores end together. A big file is a task of its own. Runs that
    share a file are parted only when they are many: each part reads the file again.
    """
    left_runs, left_bytes = sum(len(group.runs) for group in groups), sum(group.bytes for group in groups)
    n_parts = TASKS_PER_CORE * cores
    least_runs, least_bytes = min(LAST_RUNS, -(-left_runs // n_parts)), -(-left_bytes // (n_parts * n_parts))
    parts = [part for group in groups for part in _split(group, max(STAGED_RUNS, len(group.runs) // (2 * cores) + 1))]

    def shard(run: Run) -> int:
        return shard_of(run.sample_id, settings.n_shards)

    def in_order(part: RunGroup) -> RunGroup:
        return replace(part, runs=tuple(sorted(part.runs, key=lambda run: (shard(run), run.sample_id))))

    ordered = [in_order(part) for part in parts]
    ordered.sort(key=lambda part: (shard(part.runs[0]), part.runs[0].path, part.runs[0].sample_id))
    made: list[list[RunGroup]] = []
    sizes: list[tuple[int, int]] = []
    most_runs = most_bytes = 0
    for part in ordered:
        runs, size = len(part.runs), part.bytes
        if made and sizes[-1][0] + runs <= most_runs and sizes[-1][1] + size <= most_bytes:
            made[-1].append(part)
            sizes[-1] = (sizes[-1][0] + runs, sizes[-1][1] + size)
        else:
            most_runs = min(TASK_RUNS, max(least_runs, -(-left_runs // n_parts)))
            most_bytes = min(TASK_BYTES, max(least_bytes, -(-left_bytes // n_parts)))
            made.append([part])
            sizes.append((runs, size))
        left_runs, left_bytes = left_runs - runs, left_bytes - size
    by_size = sorted(range(len(made)), key=lambda index: sizes[index][1], reverse=True)
    return [made[index] for index in by_size]


def _split(group: RunGroup, most: int) -> list[RunGroup]:
    starts = range(0, len(group.runs), most)
    return [replace(group, runs=group.runs[start : start + most]) for start in starts]
