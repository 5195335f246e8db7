"""Keras Tuner's RandomSearch over given trainings: ``python tune.py DATA.npz TRAININGS.json``; prints a line of JSON.

``DATA.npz`` holds uint8 images [n, H, W] and targets [n]. ``TRAININGS.json`` has ``threads``, ``epochs`` and
``trainings``: each with ``cnn``, ``learning_rate``, ``batch_size``, and the row numbers ``train`` and ``validation``.
Each is one trial of the tuner, whose random draws are replaced by them so that both sides train the same networks.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_tuner  # of its own environment, see README.md
import numpy as np
from network import network, set_threads  # type: ignore[import-not-found]  # beside this script


class Trainings(keras_tuner.HyperModel):
    """The network of each training, and its fit on the training's own rows."""

    def __init__(self, job: dict[str, Any], images: np.ndarray, target: np.ndarray) -> None:
        super().__init__()
        self._job, self._target = job, target.astype(np.float32)
        self._images = images[..., None].astype(np.float32) / 255

    def build(self, hp: Any) -> Any:
        """See `keras_tuner.HyperModel`."""
        training = self._training(hp)
        return network(training["cnn"], *self._images.shape[1:3], training["learning_rate"])

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        """See `keras_tuner.HyperModel`."""
        training = self._training(hp)
        x, y, train, validation = self._images, self._target, training["train"], training["validation"]
        return model.fit(
            x[train],
            y[train],
            validation_data=(x[validation], y[validation]),
            batch_size=training["batch_size"],
            **kwargs,
        )

    def _training(self, hp: Any) -> dict[str, Any]:
        number = hp.Choice("training", list(range(len(self._job["trainings"]))))
        training: dict[str, Any] = self._job["trainings"][number]
        return training


def main() -> None:
    """Search and print how long it took."""
    data, job = np.load(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    set_threads(job["threads"])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            Trainings(job, data["images"], data["target"]),
            objective="val_accuracy",
            max_trials=len(job["trainings"]),
            directory=folder,
            project_name="sweep",
        )
        waiting = iter(range(len(job["trainings"])))
        tuner.oracle.populate_space = lambda _: {"status": "RUNNING", "values": {"training": next(waiting)}}
        tuner.search(epochs=job["epochs"], verbose=0)
        seconds = time.perf_counter() - started
        trained = [trial.status for trial in tuner.oracle.trials.values()].count("COMPLETED")
        best = float(tuner.oracle.get_best_trials(1)[0].score)
    print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "trained": trained, "best": best}), flush=True)


if __name__ == "__main__":
    main()
