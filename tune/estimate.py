"""How long a sweep will take, told before it starts: counted operations and bytes, and how fast this machine is."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ms2img.learn.augment import Augmentation
from ms2img.learn.batches import ImageBatches
from ms2img.learn.cost import Cost, scoring_cost, step_cost
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import resolve_device
from ms2img.learn.splits import Fold
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn, network_of
from tune.trial import Trial

#: Networks that are timed: between them they differ in what bounds them (ours).
PROBES = (
    CnnConfig(conv_layers=2, filters=32, dense_layers=1, units=32),  # arithmetic
    CnnConfig(conv_layers=1, filters=16, dense_layers=1, units=256),  # weights
    CnnConfig(conv_layers=3, filters=16, pool="each", batch_norm=True, dense_layers=1, units=64),  # activations
    CnnConfig(conv_layers=1, filters=2, dense_layers=3, units=2, input_pool=4),  # the steps themselves
)
#: Timed once more: what augmentation adds depends on the images alone.
AUGMENTATION: dict[str, Any] = {"shift": 1, "drop_precursors": 0.1, "drop_pixels": 0.1, "intensity_jitter": 0.1}
STEPS = 2  # of a timed epoch
EPOCHS = 3  # the first one warms up, the fastest of the others counts


@dataclass(frozen=True)
class Speed:
    """Seconds that an operation, a byte to or from memory, a step by itself, and an augmented image take."""

    operation: float
    byte: float
    step: float
    augmented: float

    def seconds(self, cost: Cost) -> float:
        """Of one step of this cost."""
        return self.operation * cost.operations + self.byte * cost.bytes + self.step


def measure_speed(images: np.ndarray, config: FitConfig, probes: Sequence[CnnConfig] = PROBES) -> Speed:
    """Train a few networks for a few steps on `images` (uint8 [n, H, W]), and fit `Speed` to the times.

    Only threads, precision and device of `config` matter. Some seconds.
    """
    config = replace(config, batch_size=min(len(images), config.batch_size), epochs=EPOCHS, patience=None)
    nothing: dict[str, Any] = dict.fromkeys(AUGMENTATION, 0)
    plain = replace(config, **nothing)
    height, width = images.shape[1:]
    counted, seconds = [], []
    for probe in probes:
        with torch.device("meta"):
            network = network_of(probe, height, width)
        counted.append((*step_cost(network, height, width, plain.batch_size), 1.0))
        seconds.append(_step_seconds(images, probe, plain))
    augmented = _step_seconds(images, probes[-1], replace(plain, **AUGMENTATION)) - seconds[-1]
    operation, byte, step = fitted_speed(np.array(counted), np.array(seconds))
    return Speed(operation, byte, step, max(augmented, 0.0) / plain.batch_size)


def trial_seconds(trial: Trial, speed: Speed, folds: Sequence[Fold], height: int, width: int) -> float:
    """Predicted seconds to train the trial on all folds, one after another."""
    with torch.device("meta"):
        network = network_of(trial.model, height, width)
    batch = trial.fit.batch_size
    step = speed.seconds(step_cost(network, height, width, batch))
    if Augmentation.of(trial.fit) is not None:
        step += speed.augmented * batch
    total = 0.0
    for fold in folds:
        validation = scoring_cost(network, height, width, len(fold.validation))
        epoch = step * len(fold.train) / batch + speed.seconds(validation)
        total += trial.fit.epochs * epoch + speed.seconds(scoring_cost(network, height, width, len(fold.test)))
    return total


def sweep_seconds(seconds: Mapping[int, float], concurrent: int) -> float:
    """From the first start to the last end, when trials (seconds by number) start in order on `concurrent` places."""
    free = [0.0] * concurrent
    for number in sorted(seconds):
        heapq.heapreplace(free, free[0] + seconds[number])
    return max(free)


class _Clock:
    """A reporter that notes when epochs end."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def epoch(self, metrics: Mapping[str, float]) -> None:
        self.times.append(time.perf_counter())

    def checkpoint(self, state: object) -> None:
        pass

    def should_stop(self) -> bool:
        return False


def _step_seconds(images: np.ndarray, cnn: CnnConfig, config: FitConfig) -> float:
    """Seconds a step of this training takes."""
    batches = ImageBatches(
        images,
        np.arange(len(images)) % 2,
        train=np.resize(np.arange(len(images)), config.batch_size * STEPS),
        validation=np.empty(0, dtype=np.int64),
        batch_size=config.batch_size,
        seed=config.seed,
        device=resolve_device(config.device),
        augment=Augmentation.of(config),
    )
    clock = _Clock()
    fit(build_cnn(cnn, *images.shape[1:]), batches, config, clock)
    return min(later - earlier for earlier, later in itertools.pairwise(clock.times[1:])) / STEPS


def fitted_speed(features: np.ndarray, measured: np.ndarray) -> list[float]:
    """Least squares of relative errors with coefficients of at least 0, over all choices of which ones are 0."""
    best, least = np.zeros(features.shape[1]), np.inf
    for size in range(1, features.shape[1] + 1):
        for used in itertools.combinations(range(features.shape[1]), size):
            found = np.linalg.lstsq(features[:, used] / measured[:, None], np.ones(len(measured)), rcond=None)[0]
            tried = np.zeros(features.shape[1])
            tried[list(used)] = found
            error = float(np.sum((features @ tried / measured - 1) ** 2))
            if (found >= 0).all() and error < least:
                best, least = tried, error
    return best.tolist()
