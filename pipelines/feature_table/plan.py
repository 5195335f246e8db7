"""What is to be done: which samples are staged, which stay failed, and how the others are parted into tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ms2img.errors import RunError
from ms2img.io.dataset.failures import PASSING, failure, fingerprint
from ms2img.io.dataset.sources import Source
from ms2img.io.sheet import Run
from ms2img.io.storage import FileStatus
from ms2img.ms2toimg.convert_group import RunGroup, fingerprint_of
from ms2img.ms2toimg.features.config import FeatureOptions
from pipelines.feature_table.reading import FEATURES_STAGE, identity_of
from pipelines.feature_table.staged import StagedFeatures

TASK_RUNS, TASK_BYTES = 16, 32 * 2**20  # most of a task (ours): seconds of work, which is what a kill costs
TASKS_PER_CORE = 4  # at least so many where there are few runs (ours): cores end together
SPLIT_RUNS = 64  # runs of one file a task (ours): each task reads the whole file


@dataclass
class Held:
    """Staged samples: sample_id -> identity -> the file that has it."""

    files: dict[str, dict[str, StagedFeatures]] = field(default_factory=dict)

    def add(self, staged: StagedFeatures) -> None:
        """Take up a staged file; a sample that is held already stays where it is."""
        for sample, found in staged.samples.items():
            self.files.setdefault(sample, {}).setdefault(found.identity, staged)

    def has(self, sample_id: str, identity: str) -> bool:
        """Whether these features are staged."""
        return identity in self.files.get(sample_id, {})

    def names(self, identities: Mapping[str, str]) -> set[str]:
        """The staged files that have these (sample_id -> identity), as far as they are staged."""
        return {self.files[sample][one].name for sample, one in identities.items() if self.has(sample, one)}


@dataclass
class Plan:
    """The runs, parted. `identities`: of samples whose files are known, staged or not; `failures`: rows of `ERRORS`.

    `groups`: runs to read. `sources`: files whose hash is known to hold.
    """

    identities: dict[str, str] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: list[RunGroup] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)


class Planner:
    """Decides on every run by what is known without opening its file."""

    def __init__(
        self,
        options: FeatureOptions,
        statuses: Mapping[str, FileStatus | RunError],
        sources: Iterable[Mapping[str, Source]],
        failures: Mapping[str, dict[str, Any]],
        *,
        retry_errors: bool,
    ) -> None:
        """`sources`: hashes from earlier; one counts while size and version are the same, the last of several."""
        self._options = options
        self._statuses = statuses
        self._failures = failures
        self._retry_errors = retry_errors
        self._sources = {
            path: source for said in sources for path, source in said.items() if statuses.get(path) == source.status
        }

    def plan(self, runs: Iterable[Run], held: Held) -> Plan:
        """Part the runs."""
        plan = Plan(sources=dict(self._sources))
        groups: dict[tuple[str, str | None, str | None], list[Run]] = {}
        for run in runs:
            error = next((found for found in self._of(run) if isinstance(found, RunError)), None)
            if self._stays_failed(run):
                plan.failures[run.sample_id] = self._failures[run.sample_id]
            elif error is not None:
                plan.failures[run.sample_id] = self.failed(run, error)
            else:
                if all(path in self._sources for path in _paths(run)):
                    known = identity_of(run, fingerprint_of(run, self._sources), self._options)
                    plan.identities[run.sample_id] = known
                if not held.has(run.sample_id, plan.identities.get(run.sample_id, "")):
                    groups.setdefault((run.path, run.quant_path, run.format), []).append(run)
        plan.groups = [self._group(members) for members in groups.values()]
        return plan

    def failed(self, run: Run, error: RunError) -> dict[str, Any]:
        """The row of `ERRORS` of a run that has failed just now, counted on from its last one."""
        row = failure(run, "read", error, self._fingerprint(run))
        before = self._failures.get(run.sample_id)
        return row if before is None else {**row, "attempts": before["attempts"] + 1}

    def _of(self, run: Run) -> list[FileStatus | RunError]:
        return [self._statuses[path] for path in _paths(run)]

    def _stays_failed(self, run: Run) -> bool:
        before = self._failures.get(run.sample_id)
        if before is None or self._retry_errors or before["code"] in PASSING:
            return False
        return bool(before["fingerprint"] == self._fingerprint(run))

    def _fingerprint(self, run: Run) -> str:
        statuses = [found if isinstance(found, FileStatus) else None for found in self._of(run)]
        return fingerprint(run, statuses, self._options.fingerprint(), FEATURES_STAGE, None)

    def _group(self, runs: Sequence[Run]) -> RunGroup:
        paths = _paths(runs[0])
        statuses = {path: found for path in paths if isinstance(found := self._statuses[path], FileStatus)}
        hashes = {path: self._sources[path].content_hash for path in paths if path in self._sources}
        return RunGroup(tuple(runs), statuses, hashes)


def inputs_of(how: Mapping[str, Any], plan: Plan) -> str:
    """What a table is made of: how, of which contents, and without which runs. Equal inputs, equal table."""
    failures = {sample: row["fingerprint"] for sample, row in plan.failures.items()}
    text = json.dumps([how, plan.identities, failures], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def tasks(groups: Sequence[RunGroup], cores: int) -> list[list[RunGroup]]:
    """Part groups into tasks, in the order of their paths; of a file of many runs each part reads it again."""
    parts = [
        RunGroup(group.runs[start : start + SPLIT_RUNS], group.statuses, group.hashes)
        for group in sorted(groups, key=lambda group: group.runs[0].path)
        for start in range(0, len(group.runs), SPLIT_RUNS)
    ]
    most_runs = min(TASK_RUNS, max(1, len(parts) // (TASKS_PER_CORE * cores)))
    made: list[list[RunGroup]] = []
    size = 0
    for part in parts:
        if not made or len(made[-1]) == most_runs or size + part.bytes > TASK_BYTES:
            made.append([])
            size = 0
        made[-1].append(part)
        size += part.bytes
    return made


def _paths(run: Run) -> list[str]:
    return [run.path, run.quant_path] if run.quant_path else [run.path]
