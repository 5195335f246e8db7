"""Tasks on Ray Data: each task a block with its own work in it, answers as they come, and a word when Ray is gone."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

from cluster.connect import DATA_THREAD, ray_is_alive
from cluster.placement import for_tasks
from ms2img.errors import JobError, UsageError

END = object()  # behind the last answer
LOOK_SECONDS = 0.1  # between two looks at Ray's processes while nothing comes (ours): soon Ray ends us as well

Work = TypeVar("Work")
Answer = TypeVar("Answer")


def on_workers(works: Iterable[Work], function: Callable[[Work], Answer], *, num_gpus: float = 0.0) -> Iterator[Answer]:
    """`function` of each piece of work, on any worker, as they are finished; the first pieces are started first.

    CPU nodes do it, where there are any; with `num_gpus`, of each piece, GPU nodes.

    `function` and the work are pickled. A worker that dies is replaced and its piece done again. Raises the `JobError`
    or `UsageError` that `function` raised, or one that says that Ray is gone.
    """
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts runs, not blocks

    def answer(row: dict[str, Any]) -> dict[str, Any]:
        try:
            result: Any = function(pickle.loads(row["work"]))  # noqa: S301 (of this job's driver)
        except (JobError, UsageError) as error:
            result = error
        return {"answer": pickle.dumps(result)}

    # One block a piece: what a task is given is its own work, not the whole list.
    blocks = [pa.table({"work": [pickle.dumps(work)]}) for work in works]
    del works
    if not blocks:
        return

    def rows() -> Iterable[dict[str, Any]]:
        dataset = ray.data.from_blocks(blocks)
        blocks.clear()  # Ray's store has them now
        answers: Iterable[dict[str, Any]] = dataset.map(
            answer, num_gpus=num_gpus or None, **for_tasks(gpus=num_gpus)
        ).iter_rows()
        return answers

    for row in watched(rows):
        result = pickle.loads(row["answer"])  # noqa: S301
        if isinstance(result, JobError | UsageError):
            raise result
        yield result


def cluster_cpus() -> int:
    """The CPUs of the Ray we are connected to."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


def watched(rows: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Ray's answers from a thread of their own: when Ray dies, a wait for the next one may never end.

    Raises `JobError` when Ray is gone, or gives one up.
    """
    from ray.exceptions import RayError, RayTaskError

    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def consume() -> None:
        try:
            for row in rows():
                answers.put(row)
            answers.put(END)
        except BaseException as error:
            answers.put(error)

    threading.Thread(target=consume, name=DATA_THREAD, daemon=True).start()
    while True:
        try:
            answer = answers.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            if not ray_is_alive():
                raise JobError("Ray has stopped") from None
            continue
        if answer is END:
            return
        if isinstance(answer, RayTaskError):
            raise answer  # a defect of ours in `function`
        if isinstance(answer, RayError) or (isinstance(answer, BaseException) and not ray_is_alive()):
            reason = str(answer).strip().splitlines()
            raise JobError(f"Ray has stopped the job: {reason[-1] if reason else type(answer).__name__}") from None
        if isinstance(answer, BaseException):
            raise answer
        yield answer
