"""The folds of a cross-validation by Ray Train: one `TorchTrainer` a fold, several at a time.

Folds are never ranks of one trainer: what Ray Train reports is a barrier over all ranks, and folds have nothing to wait
for. Each fold equals `ms2img.ms2toimg.crossvalidate.run_fold` at the same threads, seed and precision.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.placement import beside_driver, for_groups, has_labels
from ms2img.errors import Ms2imgError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask

    Trained = tuple[FoldResult, dict[str, Tensor]]

OnEpoch = Callable[[int, Mapping[str, float]], None]

LOOK_EVERY_SECONDS = 0.25  # how often the driver looks for epochs and finished folds (ours)
MAX_FAILURES = 2  # retries of a fold whose worker died (ours)

#: Ray Train's own settings, for what the user has not set: they are read from the environment of the driver.
TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the end of a fold is seen only when its controller looks; default 2
    # A fold in waiting asks for its place anew after this; default 60. Folds of an hour are no reason for it.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "86400",
}
#: Likewise on a single machine, which nobody takes away at short notice: one process less for each fold.
LOCAL_ENVIRONMENT = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


@dataclass(frozen=True)
class FoldResources:
    """What one fold takes: workers that share its batches, CPUs (and threads) and GPUs of each."""

    workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.cpus_per_worker < 1 or self.gpus_per_worker < 0:
            raise UsageError(f"{self}: a fold takes 1 or more workers with 1 or more CPUs, and no less than 0 GPUs")


class FoldError(Ms2imgError):
    """A fold that failed for good; the message names it and the reason."""


def train_folds(
    images: np.ndarray,
    target: np.ndarray,
    tasks: Sequence[FoldTask],
    resources: FoldResources,
    *,
    on_epoch: OnEpoch | None = None,
    max_failures: int = MAX_FAILURES,
    checkpoint_every: int | None = None,
    storage: str | None = None,
) -> list[Trained]:
    """Train `tasks` on the connected Ray cluster, as many at once as it has room for; results in the tasks' order.

    Parameters
    ----------
    images, target: as for `run_fold`; they go to Ray's shared memory once.
    tasks: a task's threads are set to ``resources.cpus_per_worker``; its device, where it is "auto", to "cpu" unless
        its workers have GPUs.
    on_epoch: called in this thread with fold and epoch row; a retried fold repeats the epochs after its last state.
    max_failures: how often a fold whose worker died is tried again.
    checkpoint_every: epochs between the states a retry goes on from; None: it starts anew.
    storage: folder or URI for these states that every node can reach; None: a temporary folder on this machine.

    Weights come back for tasks that keep them (see `FoldTask`), else empty. Raises `UsageError` when a fold does not
    fit into the cluster, `FoldError` when one fails for good; the other folds then stop at the end of their epoch.
    """
    import ray

    from pipelines.fold_board import FoldBoard

    alive = [node for node in ray.nodes() if node["Alive"]]
    labels = for_groups(cpus=resources.cpus_per_worker, gpus=resources.gpus_per_worker)
    nodes = [node["Resources"] for node in alive if has_labels(node, labels)]
    slots = _slots(nodes, resources)
    if checkpoint_every is not None and storage is None and len(alive) > 1:
        raise UsageError(
            "checkpoint_every on several nodes needs a storage that all of them reach (s3://... or a share)"
        )
    for name, value in (TRAIN_ENVIRONMENT | (LOCAL_ENVIRONMENT if len(alive) == 1 else {})).items():
        os.environ.setdefault(name, value)
    board = ray.remote(num_cpus=0, **beside_driver())(FoldBoard).remote()
    shared = {
        "images": ray.put(images),
        "target": ray.put(target),
        "board": board,
        "checkpoint_every": checkpoint_every,
    }
    with tempfile.TemporaryDirectory(prefix="ms2img-folds-", ignore_cleanup_errors=True) as scratch:
        runs = [
            _FoldRun(
                {**shared, "task": _placed(task, resources)},
                resources,
                labels,
                storage=storage or scratch,
                retries=max_failures,
            )
            for task in tasks
        ]
        try:
            # One more than there is room for: the next trainer starts its controller while the others compute.
            _run_all(runs, slots + 1, board, on_epoch or (lambda fold, row: None))
        finally:
            ray.kill(board)
    return [run.trained() for run in runs]


class _FoldRun:
    """One trainer in a thread of its own: `TorchTrainer.fit` blocks."""

    def __init__(
        self, config: dict[str, Any], resources: FoldResources, labels: dict[str, str], *, storage: str, retries: int
    ) -> None:
        self.fold: int = config["task"].fold.index
        self._labels = labels
        self._config, self._resources, self._storage, self._retries = config, resources, storage, retries
        self._answer: dict[str, Any] | None = None
        self.error: BaseException | None = None
        # A daemon, so that an interrupted driver ends at once; Ray then ends what belongs to it.
        self._thread = threading.Thread(target=self._fit, name=f"fold {self.fold}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def trained(self) -> Trained:
        """The fold's result and weights; only after it ended well."""
        from safetensors.torch import load

        from ms2img.ms2toimg.crossvalidate import result_from_json

        if self._answer is None:
            raise RuntimeError(f"fold {self.fold} has no result")
        weights = self._answer["weights"]
        return result_from_json(self._answer["result"]), load(weights) if weights else {}

    def _fit(self) -> None:
        try:
            self._answer = self._trainer().fit().return_value
        except BaseException as error:  # handed to the driver's thread, which raises
            self.error = error

    def _trainer(self) -> Any:
        from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig

        from ms2img.learn.environment import ENVIRONMENT
        from pipelines.fold_trainer import FoldTrainer
        from pipelines.fold_worker import train_on_worker

        each = {"CPU": float(self._resources.cpus_per_worker)}
        if self._resources.gpus_per_worker:
            each["GPU"] = self._resources.gpus_per_worker
        return FoldTrainer(
            train_on_worker,
            train_loop_config=self._config,
            scaling_config=ScalingConfig(
                num_workers=self._resources.workers,
                use_gpu="GPU" in each,
                resources_per_worker=each,
                label_selector=self._labels or None,
            ),
            run_config=RunConfig(
                name=f"fold{self.fold}",
                storage_path=self._storage,
                failure_config=FailureConfig(max_failures=self._retries),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                worker_runtime_env={"env_vars": {name: os.environ.get(name, own) for name, own in ENVIRONMENT.items()}},
            ),
        )

    def has_failed(self) -> bool:
        """Whether it ended without a result."""
        return self.error is not None or (self._answer is not None and "refused" in self._answer)

    def failure(self) -> FoldError:
        """Why it failed, for a user."""
        which = f"fold {self.fold + 1}" if self.fold >= 0 else "the final training"
        if self.error is not None:
            tried = f", also after {self._retries} retries" if self._retries else ""
            return FoldError(f"{which} failed{tried}: {_reason(self.error)}")
        return FoldError(f"{which}: {(self._answer or {}).get('refused')}")


def _run_all(runs: Sequence[_FoldRun], at_once: int, board: Any, on_epoch: OnEpoch) -> None:
    """Keep `at_once` runs going until all have ended; after a failure let those under way stop, then raise it."""
    import ray

    waiting, running = list(runs), list[_FoldRun]()
    failed: _FoldRun | None = None
    while running or waiting:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0))
            running[-1].start()
        ended = [run for run in running if not run.is_running()]
        running = [run for run in running if run not in ended]
        for fold, row in ray.get(board.fetch.remote()):
            on_epoch(fold, row)
        for run in ended:
            if failed is None and run.has_failed():
                failed = run
                waiting.clear()
                ray.get(board.stop.remote())
        if not ended:
            time.sleep(LOOK_EVERY_SECONDS)
    if failed is not None:
        raise failed.failure() from failed.error


def _slots(nodes: Sequence[Mapping[str, float]], resources: FoldResources) -> int:
    """How many folds have room at a time; `UsageError` when not even one has."""
    cpus, gpus = resources.cpus_per_worker, resources.gpus_per_worker
    workers = 0
    for node in nodes:
        by_cpu = int(node.get("CPU", 0) // cpus)
        workers += min(by_cpu, int(node.get("GPU", 0) / gpus + 1e-9)) if gpus else by_cpu
    if workers < resources.workers:
        has = " + ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UsageError(
            f"a fold takes {resources.workers} x ({cpus} CPUs, {gpus:g} GPUs), but the Ray cluster has {has}; "
            "lower --workers-per-fold, --cpus-per-worker or --gpus-per-worker"
        )
    return workers // resources.workers


def _placed(task: FoldTask, resources: FoldResources) -> FoldTask:
    device = task.fit.device
    if device == "auto" and not resources.gpus_per_worker:
        device = "cpu"  # what a worker was not given it must not take, though it may see it
    return replace(task, fit=replace(task.fit, threads=resources.cpus_per_worker, device=device))


def _reason(error: BaseException) -> str:
    """The innermost cause in one line; Ray wraps it several times."""
    failures = getattr(error, "worker_failures", None)
    if failures:
        error = next(iter(failures.values()))
    while (inner := _inside(error)) is not None:
        error = inner
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _inside(error: BaseException) -> BaseException | None:
    """What an error of Ray is about."""
    held = (getattr(error, name, None) for name in ("health_check_failure", "cause", "__cause__"))
    return next((each for each in held if isinstance(each, BaseException)), None)
