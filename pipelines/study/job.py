"""``ms2img study``: the whole comparison from one file, cell by cell, to one report.

grid -> data sets, images, tables -> cells on Ray -> record -> report. Whatever ends it early, the folds that were
finished are in the folder, and ``--resume`` goes on from there; cells that no option asked for are kept and shown.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.storage import folder, is_remote
from ms2img.ms2toimg.record_folder import SUMMARY_NAME
from pipelines.progress import Steps
from pipelines.study import assemble
from pipelines.study.config import TABLES, StudyConfig, StudyFile
from pipelines.study.descriptive import Descriptive, run_descriptive
from pipelines.study.descriptive import tables as descriptive_tables
from pipelines.study.grid import Cell, cells_of, chosen
from pipelines.study.ledger import TRACKING_NAME, StudyLedger
from pipelines.study.plan import CellWork, PlannedCell, Planner
from pipelines.study.record import StudyRecord
from pipelines.study.rows import WORDS_FOLDER, Preparation
from pipelines.study.sources import Sources
from pipelines.study.summary import is_simulated, summary_of
from pipelines.study.tracking import log
from pipelines.study.work import Ended, Lost, on_ray, run_cell

if TYPE_CHECKING:
    from pipelines.study.forecast import Forecast

Notice = Callable[[str], None]
REPORT_NAME = "report.html"
RECORD_FOLDER = "record"


@dataclass(frozen=True)
class StudySummary:
    """What a study gave: its record, where the report lies, the cells that this run of it did, and why others failed.

    `failed_runs`: what was prepared -> runs that failed, runs in all.
    """

    record: StudyRecord
    location: str
    run_id: str
    ran: int
    failed: dict[str, str]
    failed_runs: dict[str, tuple[int, int]]
    seconds: float


def study(config: StudyConfig, *, quiet: bool = False, notice: Notice = lambda _: None) -> StudySummary:
    """Run the cells that the options ask for and that are not done, and write record, tables and report.

    Raises `UsageError` before any training for a wrong file, sheet or option, an ``--out`` that holds something else or
    that another job is writing; `JobError` when the job cannot go on.
    """
    from ms2img.tracking.store import open_store

    described = StudyFile.read(config.study)
    grid = cells_of(described)
    asked = chosen(grid, config)
    location = config.location()
    if not is_remote(location) and Path(location).exists() and not Path(location).is_dir():
        raise UsageError(f"{location}: is a file; --out must be a folder")
    out = folder(location)
    with Lease(out, notice) as lease:
        ledger = StudyLedger(out, notice)
        _require_ours(ledger, config)
        _require_sound(described)
        store = open_store()
        ledger.begin({"name": described.name, "study": described.model_dump(mode="json")})
        return _Study(config, described, grid, asked, ledger, lease, quiet, notice).run(store)


def plan_only(config: StudyConfig) -> Forecast:
    """The cells that the options ask for and how long they take; trains a little, writes nothing but data sets."""
    from pipelines.study.forecast import forecast

    described = StudyFile.read(config.study)
    grid = cells_of(described)
    asked = chosen(grid, config)
    ledger = StudyLedger(folder(config.location()))
    if ledger.about() is None:
        _require_no_other(ledger)
    sources = Sources(described, config.location(), quiet=True, notice=lambda _: None)
    preparation = Preparation(described, config.location(), sources, quiet=True, notice=lambda _: None)
    planner = Planner(described, config, config.location(), sources, preparation)
    done = {cell.name: _seconds(ledger, cell, described.folds) for cell in grid}
    ran = {name: seconds for name, seconds in done.items() if seconds is not None}
    slots = max(1, _cpus() // config.cpus_per_cell)
    return forecast(described, asked, planner, ran=ran, slots=slots, threads=config.cpus_per_cell)


@dataclass
class _Study:
    """One run of a study, under the lease of its folder."""

    config: StudyConfig
    described: StudyFile
    grid: list[Cell]
    asked: list[Cell]
    ledger: StudyLedger
    lease: Lease
    quiet: bool
    notice: Notice
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        location = self.ledger.out.location
        self.sources = Sources(self.described, location, quiet=self.quiet, notice=self.notice)
        self.preparation = Preparation(self.described, location, self.sources, quiet=self.quiet, notice=self.notice)
        self.planner = Planner(self.described, self.config, location, self.sources, self.preparation)

    def run(self, store: Any) -> StudySummary:
        """Prepare, compute, assemble, report."""
        from ms2img.tracking.studies import track_study

        names = set(self.ledger.out.names("cells/"))
        done = [cell for cell in self.grid if _has_folds(names, cell, self.described.folds)]
        known = [*done, *(cell for cell in self.grid if f"cells/{cell.name}/failed.json" in names)]
        with ExitStack() as stack:
            if set(self.asked) - set(done):
                from cluster.connect import connected

                stack.enter_context(connected(writes=[self.ledger.out.location], is_tracked=True))
            planned = {cell.name: self.planner.plan(cell) for cell in dict.fromkeys([*self.asked, *known])}
            descriptive = self._descriptive(planned)
            tracked = stack.enter_context(
                track_study(
                    store,
                    name=self.described.name,
                    config=self.config.model_dump(mode="json"),
                    tags={"study": self.described.name, "simulated": is_simulated(self.described, self.planner)},
                    run_id=self.ledger.read_json(TRACKING_NAME).get("run_id"),
                )
            )
            self.ledger.write(TRACKING_NAME, {"run_id": tracked.run_id})
            try:
                ran, failed = self._work(planned, descriptive, stack)
            except JobError as error:
                place = self.ledger.out.location
                raise JobError(
                    f"{error}; add --resume to the same command to go on with what is kept in {place}"
                ) from None
            record = self._record(planned, descriptive)
            self.lease.require()
            self._write(record)
            log(tracked, record, {name: plan.work.key for name, plan in planned.items()}, self.notice)
        return StudySummary(
            record=record,
            location=self.ledger.out.location,
            run_id=tracked.run_id,
            ran=ran,
            failed=failed,
            failed_runs=self.preparation.failed,
            seconds=time.monotonic() - self.started,
        )

    def _descriptive(self, planned: Mapping[str, PlannedCell]) -> list[Descriptive]:
        """PCA and OPLS-DA for each task and table that a planned cell uses."""
        found = {}
        for plan in planned.values():
            cell, base = plan.work.cell, plan.work.base
            if cell.representation in TABLES:
                found[cell.task, cell.representation] = Descriptive(
                    cell.task, cell.representation, plan.work.out, base, plan.labels
                )
        return list(found.values())

    def _work(
        self,
        planned: Mapping[str, PlannedCell],
        descriptive: Sequence[Descriptive],
        stack: ExitStack,
    ) -> tuple[int, dict[str, str]]:
        """Do what is missing of what was asked for; number of cells done, and why others failed."""
        asked = [planned[cell.name] for cell in self.asked]
        cells = [plan.work for plan in asked if assemble.finished(self.ledger, plan.work) is None]
        figures = [work for work in descriptive if self.ledger.read(work.name, work.key) is None]
        works: list[CellWork | Descriptive] = [*sorted(cells, key=_weight), *figures]
        failed: dict[str, str] = {}
        with Steps(len(asked) + len(figures), "study", quiet=self.quiet) as progress:
            progress.advance(len(asked) - len(cells), note=_note(failed))
            if not works:
                return 0, failed
            from cluster.connect import connected

            stack.enter_context(connected(writes=[self.ledger.out.location], is_tracked=True))
            self._require_room(works)
            gpus = self.config.gpus_per_cell
            for answer in on_ray(
                _do,
                works,
                cpus=self.config.cpus_per_cell,
                gpus=lambda work: gpus if isinstance(work, CellWork) and work.cell.is_network else 0.0,
            ):
                if isinstance(answer, Ended) and answer.failed is not None:
                    failed[answer.cell] = answer.failed
                elif isinstance(answer, Lost) and isinstance(answer.work, CellWork):
                    self.ledger.write_failure(answer.work.cell.name, answer.reason, answer.work.key)
                    failed[answer.work.cell.name] = answer.reason
                elif isinstance(answer, str | Lost):
                    self.notice(answer if isinstance(answer, str) else answer.reason)
                progress.advance(note=_note(failed))
                self.lease.require()
        return len(cells) - len(failed), failed

    def _require_room(self, works: Sequence[CellWork | Descriptive]) -> None:
        """Ray waits for ever for a machine that is not there: refuse what no machine has room for."""
        import ray

        cpus = self.config.cpus_per_cell
        network = any(isinstance(work, CellWork) and work.cell.is_network for work in works)
        gpus = self.config.gpus_per_cell if network else 0.0
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            raise UsageError(f"no machine has {cpus} CPUs and {gpus:g} GPUs for a cell; see --cpus-per-cell")

    def _record(self, planned: Mapping[str, PlannedCell], descriptive: Sequence[Descriptive]) -> StudyRecord:
        from pipelines.report.study_compare import comparisons

        tables = assemble.cell_tables(self.described, self.ledger, self.grid, planned)
        figures = [descriptive_tables(self.ledger, work) for work in descriptive]
        return StudyRecord(
            **tables,
            **assemble.figure_tables([each for each in figures if each is not None]),
            comparisons=comparisons(tables["cells"], tables["metrics"]),
            summary=summary_of(self.described, self.planner, self.sources, tables["cells"]),
        )

    def _write(self, record: StudyRecord) -> None:
        """The record, its tables as CSV, and the report; each file appears at once, the report last."""
        from pipelines.report.study_page import build_study_page
        from pipelines.report.study_tables import study_tables

        out = self.ledger.out
        out.delete([f"{RECORD_FOLDER}/{SUMMARY_NAME}"])  # without it the record is not complete: no mixture is read
        with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
            record.save(scratch)
            for path in sorted(Path(scratch).iterdir()):
                out.write(f"{RECORD_FOLDER}/{path.name}", path.read_bytes())
        for name, table in study_tables(record).items():
            out.write(f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())
        out.write(REPORT_NAME, build_study_page(record).encode())


def _do(work: CellWork | Descriptive) -> Ended | str | None:
    """What a worker does with a piece of work."""
    return run_cell(work) if isinstance(work, CellWork) else run_descriptive(work)


def _require_sound(study: StudyFile) -> None:
    """What can be known before anything is made: options of the tables, and assays of the sheets that there are."""
    from ms2img.io.sheet import Sheet
    from pipelines.features import FeaturesConfig

    FeaturesConfig.checked({**study.features, "samples": "", "out": ""}, source="features")
    for task in study.tasks.values():
        source = study.data[task.data]
        if source.samples is not None:
            Sheet.read(source.samples, allow_outside=source.allow_outside).assay(task.assay)


def _require_ours(ledger: StudyLedger, config: StudyConfig) -> None:
    """Refuse a folder with something else in it, and a study that nobody asked to go on with."""
    about = ledger.about()
    where = ledger.out.location
    if about is None:
        _require_no_other(ledger)
    elif not config.resume:
        raise UsageError(
            f"{where}: holds the study '{about.get('name')}'; add --resume to go on with it, or give --out"
        )


def _require_no_other(ledger: StudyLedger) -> None:
    """Refuse a folder with anything in it but what a dry run makes, or a study stopped before its first cell."""
    ours = (LEASE_NAME, *(f"{name}/" for name in ("data", "images", "features", WORDS_FOLDER)))
    foreign = next((name for name in ledger.out.names() if not name.startswith(ours)), None)
    if foreign is not None:
        where = ledger.out.location
        raise UsageError(f"{where}: is not empty and holds no study (it has {foreign}); give --out a new folder")


def _has_folds(names: set[str], cell: Cell, folds: int) -> bool:
    """Whether there is an outcome of every fold, whatever it was computed from."""
    return all(f"cells/{cell.name}/fold{fold}.json" in names for fold in range(folds))


def _seconds(ledger: StudyLedger, cell: Cell, folds: int) -> float | None:
    """How long the cell took, whatever it was computed from; None where a fold is missing."""
    times = []
    for fold in range(folds):
        told = ledger.read_json(f"cells/{cell.name}/fold{fold}.json")
        try:
            times.append(float(told["outcome"]["seconds"]))
        except (KeyError, TypeError, ValueError):
            return None
    return sum(times)


def _weight(work: CellWork) -> tuple[bool, int, str]:
    """Networks first, larger images first: what takes long should not begin last."""
    height, _, width = work.cell.resolution.partition("x")
    pixels = int(height) * int(width) if width else 0
    return not work.cell.is_network, -pixels, work.cell.name


def _note(failed: Mapping[str, str]) -> str:
    return f"{len(failed)} failed" if failed else ""


def _cpus() -> int:
    """CPUs that cells can use: of the cluster that is named, else of this machine."""
    from pipelines.conversion.cluster_work import cluster_cpus

    if os.environ.get("RAY_ADDRESS"):
        from cluster.connect import connected

        with connected():
            return cluster_cpus()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
