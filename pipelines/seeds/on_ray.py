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
from pipelines.seeds.work import SeedTask, Training, train_seed

OnEpoch = Callable[[int, Mapping[str, float]], None]
Refused = UsageError | JobError | None  # why a seed cannot be trained

LOOK_EVERY_SECONDS = 0.25  # how often the driver looks for epochs and seeds that have ended (ours)
MAX_FAILURES = 2  # retries of a seed whose worker died (ours)


@dataclass(frozen=True)
class SeedResources:
    """What one seed takes: workers that share its batches, CPUs (and threads) and GPUs of each."""

    workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0


def train_seeds(training: Training, tasks: Sequence[SeedTask], resources: SeedResources, on_epoch: OnEpoch) -> None:
    """Train the tasks on the connected Ray, as many at once as it has room for; their results are in their folder.

    on_epoch: called in this thread with seed and epoch row; a retried seed repeats epochs after its last state. Raises
    the `UsageError` or `JobError` of a training that cannot go on, `JobError` for a seed whose worker died again and
    again.
    """
    import ray

    from pipelines.fold_board import FoldBoard

    _require_room(resources)
    board = ray.remote(num_cpus=0, **beside_driver())(FoldBoard).remote()
    config = {"training": ray.put(training), "board": board}
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
    waiting = {train.remote(config["training"], task, config["board"]): task for task in tasks}
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


def _train_alone(training: Training, task: SeedTask, board: Any, *, first: bool = True) -> Refused:
    """A seed in a Ray task: why no retry would help, or nothing.

    Such an error is an answer, for Ray would try again; any other leaves the task, and so ends the workers beside it.
    """
    import ray

    def post(row: Mapping[str, float]) -> None:
        ray.get(board.post.remote(task.seed, dict(row)))

    final: tuple[type[UsageError | JobError], ...] = (UsageError, *training.futile)
    try:
        train_seed(training, task, post, first=first)
    except final as error:
        return error
    except FloatingPointError as error:
        return UsageError(str(error))
    return None


def _run_trainers(config: dict[str, Any], tasks: Sequence[SeedTask], resources: SeedResources) -> Any:
    """A `TorchTrainer` a seed, one after another: each takes several workers. Yields now and then."""
    for task in tasks:
        refused: list[Refused] = []
        failed: list[BaseException] = []
        with tempfile.TemporaryDirectory(prefix="ms2img-seeds-", ignore_cleanup_errors=True) as scratch:
            trainer = _trainer({**config, "task": task}, resources, scratch)
            thread = threading.Thread(target=_fit, args=(trainer, refused, failed), daemon=True)
            thread.start()
            while thread.is_alive():
                time.sleep(LOOK_EVERY_SECONDS)
                yield None
        if failed:
            raise JobError(f"seed {task.seed} failed: {_first_line(failed[0])}") from None
        _require_trained(task, refused[0])
        yield None


def _fit(trainer: Any, refused: list[Refused], failed: list[BaseException]) -> None:
    """Run a trainer to its end: what `_train_shared` answers, or how it failed, for the driver's thread to raise."""
    try:
        refused.append(trainer.fit().return_value)
    except BaseException as error:
        failed.append(error)


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


def _train_shared(config: dict[str, Any]) -> Refused:
    """The training function of a seed's `TorchTrainer`: `_train_alone`, on each of its workers."""
    import ray
    from ray import train

    first = train.get_context().get_world_rank() == 0
    return _train_alone(ray.get(config["training"]), config["task"], config["board"], first=first)


def _require_trained(task: SeedTask, refused: Refused) -> None:
    if refused is not None:
        raise type(refused)(f"seed {task.seed}: {refused}")


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
