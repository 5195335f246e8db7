"""Parts of a prediction on Ray: a task a part, a few in waiting, each kept by its worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from cluster.placement import for_tasks
from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder
from pipelines.massformer.molecule_rows import MoleculeRow
from pipelines.massformer.predict_work import Asked, predict_part, predictor_of
from pipelines.shipped_model import ShippedModel

MAX_FAILURES = 3  # retries of a part whose worker died (ours)
WAITING = 2  # parts in waiting for each CPU of the cluster (ours): the table is read no further ahead

Part = tuple[str, list[MoleculeRow]]


def predict_parts(
    parts: Iterator[Part], asked: Asked, model: ShippedModel, out: str, *, num_gpus: float
) -> Iterator[int]:
    """Predict and keep the parts; yields how many rows of each, as they are finished.

    Raises `UsageError` where no node has the GPUs, `JobError` where a part fails for good.
    """
    import ray

    from ms2img.learn.environment import ENVIRONMENT

    resources = ray.cluster_resources()
    if resources.get("GPU", 0) < num_gpus and not os.environ.get("RAY_ADDRESS"):
        raise UsageError(f"--num-gpus {num_gpus:g}: this machine has {resources.get('GPU', 0):g} GPUs; leave it out")
    task = ray.remote(
        num_cpus=1,
        num_gpus=num_gpus,
        max_retries=MAX_FAILURES,
        runtime_env={"env_vars": {name: os.environ.get(name, own) for name, own in ENVIRONMENT.items()}},
        **for_tasks(gpus=num_gpus),
    )(_predict_and_keep)
    room = max(1, WAITING * int(resources.get("CPU", 1)))
    waiting: dict[Any, int] = {}
    for key, rows in parts:
        waiting[task.remote(key, rows, asked, model, out, gpu=num_gpus > 0)] = len(rows)
        if len(waiting) >= room:
            yield _one(waiting)
    while waiting:
        yield _one(waiting)


def _one(waiting: dict[Any, int]) -> int:
    """Wait for one part."""
    import ray

    [ended], _ = ray.wait(list(waiting), num_returns=1)
    n_rows = waiting.pop(ended)
    try:
        ray.get(ended)
    except ray.exceptions.RayError as error:
        lines = [line for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise JobError(f"a part failed: {reason}; the same command goes on from the finished ones") from None
    return n_rows


def _predict_and_keep(
    key: str, rows: list[MoleculeRow], asked: Asked, model: ShippedModel, out: str, *, gpu: bool
) -> None:
    """A part in its worker."""
    from pipelines.massformer.predict_job import write_part

    write_part(folder(out), key, predict_part(rows, asked, predictor_of(model, gpu=gpu)))
