"""The paper's network in Keras, from the same description as ours. Run by the interpreter of README.md."""

from __future__ import annotations

from typing import Any

import keras  # of its own environment
import tensorflow as tf


def set_threads(count: int) -> None:
    """As many cores as the other side has."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def network(cnn: dict[str, Any], height: int, width: int, learning_rate: float) -> Any:
    """The compiled network of a `CnnConfig` without batch norm, its pool after the last convolution."""
    layers = [keras.layers.Input((height, width, 1))]
    layers += [keras.layers.Conv2D(cnn["filters"], 3, activation="relu") for _ in range(cnn["conv_layers"])]
    layers += [keras.layers.MaxPooling2D(), keras.layers.Flatten()]
    for _ in range(cnn["dense_layers"]):
        layers += [keras.layers.Dense(cnn["units"], activation="relu"), keras.layers.Dropout(cnn["dropout"])]
    # The output in float32 whatever the policy, as Keras's guide to mixed precision asks.
    layers += [keras.layers.Dense(1, activation="sigmoid", dtype="float32")]
    model = keras.Sequential(layers)
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="binary_crossentropy", metrics=["accuracy"])
    return model
