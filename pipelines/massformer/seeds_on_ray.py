"""Seeds on Ray: each a task of its own, or, where several workers share one, a trainer of Ray Train."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.placement import beside_driver, for_groups, for_tasks
from ms2img.errors import JobError, UsageError
from ms2img.massformer.dataset import TrainingSet
from pipelines.massformer.seed_work import SeedTask, train_seed

OnEpoch = Callable[[int, Mapping[str, float]], None]

LOOK_EVERY_SECONDS = 0.25  # how often the driver looks for epochs and seeds that have ended (ours)
MAX_FAILURES = 2  # retries of a seed whose worker died (ours)


@dataclass(frozen=True)
class SeedResources:
    """What one seed takes: workers that share its batches, CPUs (and threads) and GPUs of each."""

    workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0


def train_seeds(data: TrainingSet, tasks: Sequence[SeedTask], resources: SeedResources, on_epoch: OnEpoch) -> None:
    """Train the tasks on the connected Ray, as many at once as it has room for; their results are in their folder.

    on_epoch: called in this thread with seed and epoch row; a retried seed repeats epochs after its last state. Raises
    `UsageError` for a training that cannot go on, `JobError` for a seed whose worker died again and again.
    """
    import ray

    from pipelines.fold_board import FoldBoard

    _require_room(resources)
    board = ray.remote(num_cpus=0, **beside_driver())(FoldBoard).remote()
    config = {"data": ray.put(data), "board": board}
    run = _run_tasks if resources.workers == 1 else _run_trainers
    try:
        for _ in run(config, tasks, resources):
            for seed, row in ray.get(board.fetch.remote()):
                on_epoch(seed, row)
    finally:
        ray.kill(board)


def _run_tasks(config: dict[str, Any], tasks: Sequence[SeedTask], resources: SeedResources) -> Any:
    """A Ray task a seed; yields now and then, and once all have ended."""
    import ray

    from ms2img.learn.environment import ENVIRONMENT

    placed = for_tasks(cpus=resources.cpus_per_worker, gpus=resources.gpus_per_worker)
    train = ray.remote(
        num_cpus=resources.cpus_per_worker,
        num_gpus=resources.gpus_per_worker,
        max_retries=MAX_FAILURES,
        runtime_env={"env_vars": {name: os.environ.get(name, own) for name, own in ENVIRONMENT.items()}},
        **placed,
    )(_train_alone)
    waiting = {train.remote(config["data"], task, config["board"]): task for task in tasks}
    while waiting:
        ended, _ = ray.wait(list(waiting), timeout=LOOK_EVERY_SECONDS)
        for reference in ended:
            task = waiting.pop(reference)
            try:
                refused = ray.get(reference)
            except ray.exceptions.RayError as error:
                raise JobError(f"seed {task.seed} failed: {_first_line(error)}") from None
            _require_trained(task, refused)
        yield None
    yield None


def _train_alone(data: TrainingSet, task: SeedTask, board: Any) -> str:
    """A seed in a Ray task: why no retry would help, or nothing."""
    import ray

    def post(row: Mapping[str, float]) -> None:
        ray.get(board.post.remote(task.seed, dict(row)))

    try:
        train_seed(data, task, post)
    except (UsageError, FloatingPointError) as error:
        return str(error)
    return ""


def _run_trainers(config: dict[str, Any], tasks: Sequence[SeedTask], resources: SeedResources) -> Any:
    """A `TorchTrainer` a seed, one after another: each takes several workers. Yields now and then."""
    for task in tasks:
        answer: list[Any] = []
        with tempfile.TemporaryDirectory(prefix="ms2img-seeds-", ignore_cleanup_errors=True) as scratch:
            trainer = _trainer({**config, "task": task}, resources, scratch)
            thread = threading.Thread(target=_fit, args=(trainer, answer), daemon=True)
            thread.start()
            while thread.is_alive():
                time.sleep(LOOK_EVERY_SECONDS)
                yield None
        if isinstance(answer[0], BaseException):
            raise JobError(f"seed {task.seed} failed: {_first_line(answer[0])}") from None
        _require_trained(task, answer[0])
        yield None


def _fit(trainer: Any, answer: list[Any]) -> None:
    try:
        answer.append(trainer.fit().return_value)
    except BaseException as error:  # handed to the driver's thread, which raises
        answer.append(error)


def _trainer(config: dict[str, Any], resources: SeedResources, storage: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    from ms2img.learn.environment import ENVIRONMENT
    from pipelines.fold_trainer import FoldTrainer

    each = {"CPU": float(resources.cpus_per_worker)}
    if resources.gpus_per_worker:
        each["GPU"] = resources.gpus_per_worker
    labels = for_groups(cpus=resources.cpus_per_worker, gpus=resources.gpus_per_worker)
    return FoldTrainer(
        _train_shared,
        train_loop_config=config,
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu="GPU" in each,
            resources_per_worker=each,
            label_selector=labels or None,
        ),
        run_config=RunConfig(
            name=f"seed{config['task'].seed}",
            storage_path=storage,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            worker_runtime_env={"env_vars": {name: os.environ.get(name, own) for name, own in ENVIRONMENT.items()}},
        ),
    )


def _train_shared(config: dict[str, Any]) -> str:
    """The training function of a seed's `TorchTrainer`: `_train_alone`, on each of its workers."""
    import ray
    from ray import train

    rank = train.get_context().get_world_rank()

    def post(row: Mapping[str, float]) -> None:
        ray.get(config["board"].post.remote(config["task"].seed, dict(row)))

    try:
        train_seed(ray.get(config["data"]), config["task"], post, first=rank == 0)
    except (UsageError, FloatingPointError) as error:
        return str(error)
    return ""


def _require_trained(task: SeedTask, refused: str) -> None:
    if refused:
        raise UsageError(f"seed {task.seed}: {refused}")


def _require_room(resources: SeedResources) -> None:
    """Raise `UsageError` where not even one seed fits: it would wait for ever."""
    import ray

    has = ray.cluster_resources()
    cpus, gpus = (resources.workers * each for each in (resources.cpus_per_worker, resources.gpus_per_worker))
    if has.get("CPU", 0) < cpus or has.get("GPU", 0) < gpus:
        raise UsageError(
            f"a seed takes {cpus} CPUs and {gpus:g} GPUs, but the Ray cluster has {has.get('CPU', 0):g} and "
            f"{has.get('GPU', 0):g}; lower --workers-per-seed, --cpus-per-worker or --gpus-per-worker"
        )


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
