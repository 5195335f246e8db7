"""``ms2img convert``, step by step: lease, plan, work, compact, commit.

Up to the commit nothing that a reader sees has changed, and everything that was done is on disk under names that
follow from its content: whatever happens in between, the same command goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.compaction import Held, held, make_shard, plan_shards, require_ours, sweep
from ms2img.io.dataset.failures import ERRORS_NAME, read_failures, write_failures
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.dataset.manifest import Manifest, Shard
from ms2img.io.dataset.shards import shard_count
from ms2img.io.dataset.sources import SOURCES_NAME, read_sources, write_sources
from ms2img.io.sheet import Run, Sheet
from ms2img.io.storage import FileStatus, Folder, folder, is_remote, require_access, statuses
from ms2img.ms2toimg.render import STAGE_VERSION
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.conversion.cluster_work import cluster_cpus, on_workers
from pipelines.conversion.config import ConvertConfig
from pipelines.conversion.plan import Plan, Planner, tasks
from pipelines.conversion.reader import Limits
from pipelines.conversion.task import Settings, TaskResult, run_task
from pipelines.progress import Steps

CONFIG_NAME = "config.yaml"
OURS = (ERRORS_NAME, SOURCES_NAME, CONFIG_NAME, LEASE_NAME)


@dataclass(frozen=True)
class ConvertSummary:
    """What a conversion did, in runs; `errors` holds the rows of ``errors.parquet``.

    `seconds`: time of the workers by stage (read, render, write), summed over them; no part of any file.
    """

    converted: int
    unchanged: int
    failed: int
    allowed: int
    output: str
    errors: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)


def convert(
    config: ConvertConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None
) -> ConvertSummary:
    """Bring the data set at ``config.out`` up to date with the sheet; only missing or changed runs are read.

    `notice` is told what a person should know though all is well, such as a dead job's lease taken over.

    Raises `UsageError` before any work for a wrong sheet, an output that was made with another config, or one that
    another job is writing; `JobError` when the job cannot go on: run it again later. A bad run is never an exception:
    it is counted in ``failed`` and named in ``errors.parquet``.
    """
    sheet = Sheet.read(config.samples, allow_outside=config.allow_outside)
    if not is_remote(config.out) and Path(config.out).exists() and not Path(config.out).is_dir():
        raise UsageError(f"{config.out}: is a file; OUT must be a folder")
    out = folder(config.out)
    require_access(path for run in sheet.runs for path in (run.path, run.quant_path) if path)
    if _committed(out, config.render_config()) is None:
        require_ours(out, out.names(), OURS)
    with Lease(out, notice) as lease:
        return _Conversion(config, sheet, out, lease, quiet=quiet).run()


def _committed(out: Folder, render: RenderConfig) -> Manifest | None:
    """The committed manifest, after refusing one of images that were made otherwise."""
    committed = Manifest.read(out)
    ours = render.model_dump(mode="json")
    for key in sorted({*ours, *committed.render}) if committed else ():
        if committed and ours.get(key) != committed.render.get(key):
            raise UsageError(
                f"{out.location}: made with {key}={committed.render.get(key)}, now asked for {key}={ours.get(key)}; "
                "give OUT another folder, or the old option"
            )
    return committed


class _Conversion:
    """One conversion under a lease."""

    def __init__(self, config: ConvertConfig, sheet: Sheet, out: Folder, lease: Lease, *, quiet: bool) -> None:
        self._config = config
        self._sheet = sheet
        self._out = out
        self._lease = lease
        self._quiet = quiet
        self._render = config.render_config()
        self._committed = _committed(out, self._render)
        self._present: dict[str, FileStatus] = out.names()
        n_shards = shard_count(len(sheet.runs), self._render.height, self._render.width)
        limits = Limits(config.time_limit, config.memory_limit * 2**20)
        self._settings = Settings(out.location, self._render, n_shards, limits)
        self._seconds: dict[str, float] = {}
        self._converted = 0

    def run(self) -> ConvertSummary:
        """Plan, work, compact, commit."""
        self._held: Held = held(self._out, self._committed, self._present)
        planner, plan = self._plan()
        try:
            with ExitStack() as connection:
                self._work(plan, planner, connection)
                files = self._compact(plan, connection)
        except JobError as error:
            raise JobError(f"{error}; the same command goes on from what is staged") from None
        self._commit(plan, files)
        return ConvertSummary(
            converted=self._converted,
            unchanged=len(plan.rows) - self._converted,
            failed=len(plan.failures),
            allowed=self._config.failures_allowed(len(self._sheet.runs)),
            output=self._out.location,
            errors=[plan.failures[sample] for sample in sorted(plan.failures)],
            seconds={stage: round(seconds, 3) for stage, seconds in self._seconds.items()},
        )

    def _plan(self) -> tuple[Planner, Plan]:
        runs = self._sheet.runs
        found = statuses(path for run in runs for path in (run.path, run.quant_path) if path)
        sources = {**read_sources(self._out), **self._held.sources}
        planner = Planner(self._config, found, sources, self._held, read_failures(self._out))
        return planner, planner.plan(runs)

    def _work(self, plan: Plan, planner: Planner, connection: ExitStack) -> None:
        """Do what the plan asks for; the plan then has every run among its rows or its failures."""
        known: dict[str, Run] = {run.sample_id: run for group in plan.groups for run in group.runs}
        with Steps(len(self._sheet.runs), "convert", quiet=self._quiet) as progress:
            progress.advance(len(plan.rows) + len(plan.failures), note=_note(plan))
            if not plan.groups:
                return
            self._connect(connection)
            cores = cluster_cpus()
            function = partial(run_task, settings=self._settings)
            for result in on_workers(tasks(plan.groups, self._settings, cores), function):
                self._take(result, plan, planner, known)
                progress.advance(result.n_runs, note=_note(plan))

    def _take(self, result: TaskResult, plan: Plan, planner: Planner, known: dict[str, Run]) -> None:
        for staged in result.staged:
            self._held.add_staged(staged)
            plan.rows |= staged.rows
            plan.sources |= staged.sources
            self._converted += len(staged.rows)
        plan.rows |= result.unchanged
        plan.sources |= result.sources
        for sample, stage, error in result.failed:
            plan.failures[sample] = planner.failed(known[sample], stage, error)
        for stage, seconds in result.seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def _compact(self, plan: Plan, connection: ExitStack) -> tuple[Shard, ...]:
        height, width = self._render.height, self._render.width
        stay, make = plan_shards(
            plan.rows,
            self._held,
            self._committed,
            self._present,
            n_shards=self._settings.n_shards,
            image_bytes=height * width,
        )
        made = []
        if make:
            self._connect(connection)
            function = partial(make_shard, self._out, height=height, width=width, stage_version=STAGE_VERSION)
            with Steps(len(make), "write", quiet=self._quiet) as progress:
                for file in on_workers(make, function):
                    made.append(file)
                    progress.advance()
        return tuple(sorted([*stay, *made], key=lambda file: file.name))

    def _connect(self, connection: ExitStack) -> None:
        """Connect to Ray until the stack ends, if it is not connected yet: a job without work starts none."""
        from cluster.connect import connected

        connection.enter_context(connected(writes=[self._out.location]))

    def _commit(self, plan: Plan, files: tuple[Shard, ...]) -> None:
        """Write what belongs to the images, then, if the lease is still ours, the manifest that makes them count."""
        used = {path for run in self._sheet.runs if run.sample_id in plan.rows for path in (run.path, run.quant_path)}
        write_failures(self._out, plan.failures.values())
        write_sources(self._out, {path: source for path, source in plan.sources.items() if path in used})
        values = yaml.safe_dump(self._config.model_dump(mode="json"), sort_keys=False)
        self._out.write(CONFIG_NAME, values.encode())
        self._lease.require()
        manifest = Manifest(
            stage_version=STAGE_VERSION,
            render=self._render.model_dump(mode="json"),
            render_fingerprint=self._render.fingerprint(),
            n_images=len(plan.rows),
            n_errors=len(plan.failures),
            n_shards=self._settings.n_shards,
            files=files,
        )
        manifest.write(self._out)
        sweep(self._out, keep=manifest.shards, present=self._out.names())


def _note(plan: Plan) -> str:
    return f"{len(plan.failures)} failed" if plan.failures else ""
