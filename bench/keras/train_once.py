"""One training in Keras: ``python train_once.py SETUP.npz SETTINGS.json``; prints a line of JSON an epoch.

``SETUP.npz`` holds uint8 images [n, H, W], targets [n], the initial weights ``weight_0``, ``weight_1``, ... in Keras's
order and layout and, where they are fixed, the orders of the images ``order_1``, ... The settings are those of
`bench.train_once`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # of its own environment, see README.md
import numpy as np
from network import network, set_threads  # type: ignore[import-not-found]  # beside this script


class Clock(keras.callbacks.Callback):
    """Prints what an epoch cost."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start both clocks."""
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop them."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        print(json.dumps({"epoch": epoch + 1, "loss": float(logs["loss"]), "wall": wall, "cpu": cpu}), flush=True)


def main() -> None:
    """Train and print."""
    setup, settings = np.load(sys.argv[1]), json.loads(sys.argv[2])
    set_threads(settings["threads"])
    if settings["precision"] == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    keras.utils.set_random_seed(settings["seed"])
    x = setup["images"][..., None].astype(np.float32) / 255
    y = setup["target"].astype(np.float32)
    model = network(settings["cnn"], *x.shape[1:3], settings["learning_rate"])
    weights = [setup[f"weight_{i}"] for i in range(len(model.get_weights()))]
    model.set_weights(weights)
    epochs, batch = settings["epochs"], settings["batch_size"]
    if "order_1" not in setup:
        model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=[Clock()])
        return
    for epoch in range(1, epochs + 1):  # in the order of the other side
        order = setup[f"order_{epoch}"]
        losses = []
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            losses.append(model.train_on_batch(x[rows], y[rows], return_dict=True)["loss"])
            model.reset_metrics()
        sizes = [min(batch, len(order) - start) for start in range(0, len(order), batch)]
        print(json.dumps({"epoch": epoch, "loss": float(np.average(losses, weights=sizes))}), flush=True)
    if "save" in settings:
        np.savez(Path(settings["save"]), *model.get_weights())


if __name__ == "__main__":
    main()
