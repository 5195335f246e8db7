"""Cells on Ray: each is one task, wherever there is room; what a fold gave is on disk before the next begins."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.placement import for_tasks
from ms2img.errors import JobError, UsageError
from ms2img.ms2toimg.baselines.models import make_baseline
from pipelines.study.cell import ConditionRows, preprocessing_of, run_baseline_fold, run_network_fold
from pipelines.study.ledger import StudyLedger
from pipelines.study.plan import CellWork

RETRIES = 3  # of a cell whose worker died (ours); its finished folds are kept


@dataclass(frozen=True)
class Ended:
    """A cell that ended in its worker; `failed`: why it has no result."""

    cell: str
    seconds: float
    failed: str | None = None


def run_cell(work: CellWork) -> Ended:
    """Do the folds of a cell that are not in the ledger yet. Raises `JobError` when the ledger cannot be used."""
    from ms2img.io.storage import folder
    from pipelines.study.rows import load

    started = time.perf_counter()
    ledger, cell = StudyLedger(folder(work.out)), work.cell
    missing = [task for task in work.tasks if ledger.fold(cell.name, task.fold.index, work.key) is None]
    if missing:
        rows = load(work.base.place, work.base.sample_ids)
        conditions = {
            name: ConditionRows(load(each.place, each.sample_ids, words_of=work.base.place), each.accessions)
            for name, each in work.conditions.items()
        }
        for task in missing:
            try:
                if cell.is_network:
                    outcome = run_network_fold(rows, work.target, task, work.base.accessions, conditions)
                else:
                    model = make_baseline(
                        cell.model, seed=task.fit.seed, preprocessing=preprocessing_of(cell.representation, cell.model)
                    )
                    outcome = run_baseline_fold(rows, work.target, task, model, work.base.accessions, conditions)
            except (UsageError, FloatingPointError, ValueError) as error:
                said = next(iter(str(error).splitlines()), type(error).__name__)
                reason = f"fold {task.fold.index + 1}: {said}"
                ledger.write_failure(cell.name, reason, work.key)
                return Ended(cell.name, time.perf_counter() - started, reason)
            ledger.write_fold(cell.name, outcome, work.key)
        ledger.clear_failure(cell.name)
    return Ended(cell.name, time.perf_counter() - started)


@dataclass(frozen=True)
class Lost:
    """A piece of work whose worker died every time it was tried: most often of too little memory."""

    work: Any
    reason: str


def on_ray(
    function: Callable[[Any], Any], works: Sequence[Any], *, cpus: int, gpus: Callable[[Any], float] = lambda _: 0.0
) -> Iterator[Any]:
    """`function` of each piece of work as they end, the first ones started first; a `JobError` of one is raised.

    A piece whose worker died is tried again; one that dies every time comes back as `Lost`.
    """
    import ray
    from ray.exceptions import OutOfMemoryError, WorkerCrashedError

    from ms2img.learn.environment import ENVIRONMENT
    from pipelines.conversion.cluster_work import watched

    threads = {name: str(cpus) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    variables = {**threads, **{name: os.environ.get(name, own) for name, own in ENVIRONMENT.items()}}
    remote = ray.remote(_answer)

    def answers() -> Iterator[Any]:
        """Whatever ends next; all pieces wait at Ray from the start, in order."""
        waiting: dict[Any, Any] = {
            remote.options(
                num_cpus=cpus,
                num_gpus=gpus(work),
                max_retries=RETRIES,
                runtime_env={"env_vars": variables},
                **for_tasks(cpus, gpus(work)),
            ).remote(function, work): work
            for work in works
        }
        while waiting:
            [done], _ = ray.wait(list(waiting), num_returns=1)
            work = waiting.pop(done)
            try:
                yield ray.get(done)
            except (WorkerCrashedError, OutOfMemoryError) as error:
                yield Lost(work, f"its worker died {RETRIES + 1} times: {type(error).__name__}")

    found: Any
    for found in watched(answers):
        if isinstance(found, JobError):
            raise found
        yield found


def _answer(function: Callable[[Any], Any], work: Any) -> Any:
    """A `JobError` as a value: an exception would come back wrapped in Ray's."""
    try:
        return function(work)
    except JobError as error:
        return error
