"""One task of a conversion: a few runs, or one big one, from their files to staged rows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ms2img.errors import RunError
from ms2img.io.dataset.shards import shard_of
from ms2img.io.dataset.sources import Source
from ms2img.io.dataset.staging import STAGED_BYTES, STAGED_RUNS, Staged, stage
from ms2img.io.storage import Folder, folder
from ms2img.ms2toimg.convert import rows_to_table
from ms2img.ms2toimg.convert_group import Outcome, RunGroup
from ms2img.ms2toimg.render import STAGE_VERSION
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.conversion.reader import Limits, Reader

HELD_UNITS = 4  # staged files' worth of rows a task holds at most before it writes its fullest (ours)

_reader: Reader | None = None  # of this worker process, kept over its tasks


@dataclass(frozen=True)
class Settings:
    """What all tasks of a conversion share."""

    out: str
    render: RenderConfig
    n_shards: int
    limits: Limits

    @property
    def unit(self) -> int:
        """Rows a staged file: `STAGED_RUNS`, or fewer where images are large."""
        return max(1, min(STAGED_RUNS, STAGED_BYTES // (self.render.height * self.render.width)))


@dataclass
class TaskResult:
    """What a task leaves behind: staged files, held rows (sample_id -> identity), failures; and seconds a stage."""

    staged: list[Staged] = field(default_factory=list)
    unchanged: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    failed: list[tuple[str, str, RunError]] = field(default_factory=list)  # sample_id, stage, error
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "render": 0.0, "write": 0.0})

    @property
    def n_runs(self) -> int:
        """How many runs this accounts for."""
        return sum(len(file.rows) for file in self.staged) + len(self.unchanged) + len(self.failed)


def run_task(groups: Sequence[RunGroup], settings: Settings) -> TaskResult:
    """Read and draw the runs under the limits, in this process's reader, and stage the rows.

    Top-level and free of Ray: a process pool can call it as well. Raises `JobError` when rows cannot be staged.
    """
    global _reader
    _reader = _reader or Reader()
    return stage_outcomes(_reader.outcomes(groups, settings.render, settings.limits), settings)


def stage_outcomes(outcomes: Iterator[Outcome], settings: Settings) -> TaskResult:
    """Stage the rows of these outcomes, each shard's in files of its own, and account for every run."""
    out = folder(settings.out)
    result = TaskResult()
    waiting: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        result.seconds["read"] += outcome.read_seconds
        result.seconds["render"] += outcome.render_seconds
        if outcome.error is not None:
            result.failed.append((outcome.run.sample_id, outcome.stage, outcome.error))
        elif outcome.row is None:
            result.unchanged[outcome.run.sample_id] = outcome.identity
            result.sources |= outcome.sources
        else:
            shard = shard_of(outcome.run.sample_id, settings.n_shards)
            waiting[shard].append(outcome)
            if len(waiting[shard]) == settings.unit:
                _stage(out, shard, waiting.pop(shard), result, settings)
            elif sum(map(len, waiting.values())) >= HELD_UNITS * settings.unit:
                fullest = max(waiting, key=lambda each: len(waiting[each]))
                _stage(out, fullest, waiting.pop(fullest), result, settings)
    for shard, rows in sorted(waiting.items()):
        _stage(out, shard, rows, result, settings)
    return result


def _stage(out: Folder, shard: int, outcomes: list[Outcome], result: TaskResult, settings: Settings) -> None:
    started = time.perf_counter()
    rows: list[dict[str, Any]] = [outcome.row for outcome in outcomes if outcome.row is not None]
    sources = {path: source for outcome in outcomes for path, source in outcome.sources.items()}
    result.staged.append(stage(out, shard, rows_to_table(rows, settings.render), sources, STAGE_VERSION))
    result.seconds["write"] += time.perf_counter() - started
