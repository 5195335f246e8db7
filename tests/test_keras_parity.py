"""The training loop against steps that Keras on TensorFlow took: the file is made by ``bench.train_step pin``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from ms2img.learn.batches import ImageBatches
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn

PINNED = Path(__file__).with_name("keras_steps.npz")


def keras_layout(value: torch.Tensor) -> np.ndarray:
    """Kernels [h, w, in, out], dense weights [in, out]."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
    return value.numpy().transpose(axes)


def test_steps_without_dropout_are_those_of_keras() -> None:
    """Nine steps of Adam from the same weights, in the same order of images, in float32."""
    pinned = np.load(PINNED)
    settings = json.loads(str(pinned["settings"]))
    images, target = pinned["images"], pinned["target"]
    network = build_cnn(CnnConfig.from_dict(settings["cnn"]), *images.shape[1:], seed=settings["weights_seed"])
    for i, value in enumerate(network.state_dict().values()):
        np.testing.assert_array_equal(keras_layout(value), pinned[f"weight_{i}"])
    config = FitConfig(
        **{name: settings[name] for name in ("epochs", "batch_size", "learning_rate", "seed", "threads", "precision")},
        device="cpu",
    )
    rows = np.arange(len(images))
    batches = ImageBatches(
        images, target, train=rows, validation=rows[:0], batch_size=config.batch_size, seed=config.seed,
        device=torch.device("cpu"),
    )  # fmt: skip
    result = fit(network, batches, config)
    losses = [row["train_loss"] for row in result.history]
    np.testing.assert_allclose(losses, pinned["losses"], rtol=3e-6)
    assert abs(losses[0] - losses[-1]) > 1e-3  # they moved
    for i, value in enumerate(result.weights.values()):
        after, before = pinned[f"after_{i}"], pinned[f"weight_{i}"]
        assert np.abs(after - before).max() > 9e-5, i  # a single step is 1e-3
        np.testing.assert_allclose(keras_layout(value), after, atol=1e-6, err_msg=f"weight {i}")
