"""Our side of `bench.train_step`: ``python -m bench.train_once SETUP.npz SETTINGS.json``; a line of JSON an epoch."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from ms2img.learn.batches import ImageBatches
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn

_ADAMW = torch.optim.AdamW  # before anything is taken back


class Clock:
    """A reporter that prints what an epoch cost."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Stop both clocks and start them again."""
        wall, cpu = time.perf_counter(), time.process_time()
        told = {"epoch": metrics["epoch"], "loss": metrics["train_loss"]}
        print(json.dumps(told | {"wall": wall - self.wall, "cpu": cpu - self.cpu}), flush=True)
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def checkpoint(self, state: TrainingState) -> None:
        """Nothing to save."""

    def should_stop(self) -> bool:
        """Never."""
        return False


def keras_weights(network: nn.Module) -> list[np.ndarray]:
    """The network's weights in Keras's order and layout: kernels [h, w, in, out], dense [in, out]."""
    return [
        value.permute(2, 3, 1, 0).numpy() if value.ndim == 4 else value.T.numpy() if value.ndim == 2 else value.numpy()
        for value in network.state_dict().values()
    ]


def _unfused(weights: Iterable[Tensor], **settings: Any) -> torch.optim.Optimizer:
    return _ADAMW(weights, **(settings | {"fused": False}))


#: Measures of the training loop, and what takes each back in this process.
WITHOUT: dict[str, tuple[str, Any]] = {
    "tiles": ("ms2img.ms2toimg.cnn.convolve_tiles", lambda *_: None),
    "kept memory": ("ms2img.learn.fit.freed_memory_kept", contextlib.nullcontext),
    "channels-last": ("ms2img.learn.fit.place", lambda model, device: model.to(device)),
    "fused Adam": ("torch.optim.AdamW", _unfused),
}


def main() -> None:
    """Train and print."""
    setup, settings = np.load(sys.argv[1]), json.loads(sys.argv[2])
    for measure in settings.get("without", []):
        mock.patch(*WITHOUT[measure]).start()
    config = FitConfig(
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        seed=settings["seed"],
        threads=settings["threads"],
        precision=settings["precision"],
        device="cpu",
    )
    images, target = setup["images"], setup["target"]
    model = build_cnn(CnnConfig.from_dict(settings["cnn"]), *images.shape[1:], seed=settings["weights_seed"])
    if settings.get("compile"):
        model.compile()
    n = np.arange(len(images))
    batches = ImageBatches(
        images,
        target,
        train=n,
        validation=n[:0],
        batch_size=config.batch_size,
        seed=config.seed,
        device=torch.device("cpu"),
    )
    fit(model, batches, config, Clock())


if __name__ == "__main__":
    main()
