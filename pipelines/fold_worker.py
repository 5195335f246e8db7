"""What a Ray Train worker does: train one fold, post its epochs, save its state, return its result."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ms2img.errors import UsageError
from ms2img.learn.checkpoint import TrainingState
from ms2img.ms2toimg.crossvalidate import FoldTask, result_to_json, run_fold

STATE_NAME = "state.safetensors"


class WorkerConfig(TypedDict):
    """The config of a trainer's workers; object references stand for arrays in Ray's shared memory."""

    task: FoldTask
    images: Any  # -> uint8 [n, H, W]
    target: Any  # -> int [n]
    board: Any  # handle of a `FoldBoard`
    checkpoint_every: int | None


class WorkerReporter:
    """Posts epochs to the board (first worker) and reports states to Ray Train, from where a retry goes on.

    Epochs do not travel by `ray.train.report`: its queue holds one row until the controller's next look, which would
    hold back every epoch shorter than the interval between looks.
    """

    def __init__(self, config: WorkerConfig, rank: int) -> None:
        self._board = config["board"]
        self._fold = config["task"].fold.index
        self._every = config["checkpoint_every"]
        self._rank = rank
        self._stop = False

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        import ray

        if self._rank == 0:
            self._stop = ray.get(self._board.post.remote(self._fold, dict(metrics)))

    def checkpoint(self, state: TrainingState) -> None:
        """See `ms2img.learn.reporter.Reporter`. All workers report at the same epochs: it is a barrier."""
        from ray import train

        if self._every is None or state.epoch % self._every:
            return
        with tempfile.TemporaryDirectory(prefix="ms2img-state-") as folder:
            saved = None
            if self._rank == 0:
                state.save(Path(folder) / STATE_NAME)
                saved = train.Checkpoint.from_directory(folder)
            train.report({"epoch": state.epoch}, checkpoint=saved)

    def should_stop(self) -> bool:
        """See `ms2img.learn.reporter.Reporter`."""
        return self._stop


def train_on_worker(config: WorkerConfig) -> dict[str, Any] | None:
    """The training function of a fold's `TorchTrainer`.

    Returns from the first worker ``result`` (see `result_to_json`) and ``weights`` (safetensors, empty unless the task
    keeps them), or ``refused``: why no retry would help.
    """
    import ray
    from ray import train

    rank = train.get_context().get_world_rank()
    images: np.ndarray = ray.get(config["images"])
    target: np.ndarray = ray.get(config["target"])
    try:
        with tempfile.TemporaryDirectory(prefix="ms2img-resume-") as folder:
            result, weights = run_fold(
                images, target, config["task"], WorkerReporter(config, rank), resume=_reported_state(folder)
            )
    except (UsageError, FloatingPointError) as error:
        return {"refused": str(error)}
    if rank != 0:
        return None
    from safetensors.torch import save

    kept = save({name: value.contiguous() for name, value in weights.items()}) if config["task"].keep_weights else b""
    return {"result": result_to_json(result), "weights": kept}


def _reported_state(folder: str) -> Path | None:
    """The state that an earlier attempt of this training reported, fetched into `folder`."""
    from ray import train

    reported = train.get_checkpoint()
    if reported is None:
        return None
    reported.to_directory(folder)
    return Path(folder) / STATE_NAME
