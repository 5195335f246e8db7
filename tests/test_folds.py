"""Folds by Ray Train: equal to a plain loop, told as they go, alive after a worker's death, clear when they fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.splits import Fold
from ms2img.ms2toimg.cnn import CnnConfig
from ms2img.ms2toimg.crossvalidate import REFIT, FoldTask, run_fold
from pipelines.folds import FoldError, FoldResources, train_folds

pytestmark = pytest.mark.ray

TINY = CnnConfig(filters=4, dense_layers=2, units=16, dropout=0.3)
FIT = FitConfig(epochs=4, batch_size=6, learning_rate=3e-3, seed=5, threads=1, precision="float32", device="cpu")


def study() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = np.arange(30) % 2
    images = rng.integers(0, 60, (30, 16, 15)).astype(np.uint8)
    images[target == 1, 5:8, 6:9] += 120
    return images, target


def tasks(count: int, fit: FitConfig = FIT) -> list[FoldTask]:
    parts = np.array_split(np.arange(30), 5)
    return [
        FoldTask(
            Fold(
                index,
                train=np.concatenate([parts[(index + shift) % 5] for shift in (2, 3, 4)]),
                validation=parts[(index + 1) % 5],
                test=parts[index],
            ),
            TINY,
            replace(fit, seed=fit.seed + index),
        )
        for index in range(count)
    ]


def train_workers() -> set[int]:
    """Ray Train's workers among the processes below this one."""
    parent, title = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                title[int(entry.name)] = (entry / "cmdline").read_text()
            except OSError:
                continue  # ended meanwhile

    def is_ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parent and is_ours(parent[pid]))

    return {pid for pid, text in title.items() if text.startswith("ray::") and "TrainWorker" in text and is_ours(pid)}


def test_folds_equal_a_plain_loop_exactly(ray_session: None) -> None:
    """A fold and a refit side by side; the driver hears of every epoch, and weights come where they are kept."""
    images, target = study()
    whole = Fold(REFIT, train=np.arange(24), validation=np.empty(0, dtype=np.int64), test=np.arange(24, 30))
    planned = [*tasks(1), FoldTask(whole, TINY, FIT, keep_weights=True)]
    heard: dict[int, list[dict[str, float]]] = {}

    def on_epoch(fold: int, row: Mapping[str, float]) -> None:
        heard.setdefault(fold, []).append(dict(row))

    found = train_folds(images, target, planned, FoldResources(), on_epoch=on_epoch)
    for task, (result, weights) in zip(planned, found, strict=True):
        expected, expected_weights = run_fold(images, target, task)
        np.testing.assert_array_equal(result.probability, expected.probability)
        assert result.history == expected.history == heard[task.fold.index]
        assert (result.fold, result.best_epoch, result.precision) == (task.fold.index, expected.best_epoch, "float32")
        if task.keep_weights:
            assert weights.keys() == expected_weights.keys()
            assert all(torch.equal(weights[name], value) for name, value in expected_weights.items())
        else:
            assert weights == {}


def test_a_killed_worker_s_fold_goes_on_from_its_last_state(ray_session: None) -> None:
    """With two workers a fold: one is killed, the fold is tried again, and ends as if nothing had happened."""
    images, target = study()
    [task] = tasks(1, replace(FIT, epochs=16))
    task = replace(task, cnn=replace(TINY, dropout=0.0))
    heard: list[float] = []
    seen: set[int] = set()

    def on_epoch(fold: int, row: Mapping[str, float]) -> None:
        heard.append(row["epoch"])
        workers = train_workers()
        seen.update(workers)
        if heard == list(range(1, 9)):
            os.kill(min(workers), signal.SIGKILL)

    [(result, _)] = train_folds(images, target, [task], FoldResources(workers=2), on_epoch=on_epoch, checkpoint_every=2)
    assert len(seen) == 4  # two workers, and two in their place
    assert heard.count(1) == 1  # which did not start anew
    assert [row["epoch"] for row in result.history] == list(range(1, 17))
    expected, _ = run_fold(images, target, task)
    # Gradients averaged over two workers are those of the whole batch up to rounding.
    np.testing.assert_allclose(result.probability, expected.probability, rtol=1e-3)


def test_a_fold_that_cannot_train_says_why_without_retrying(ray_session: None) -> None:
    images, target = study()
    hopeless = tasks(1, replace(FIT, learning_rate=1e30))
    with pytest.raises(FoldError, match=r"^fold 1: .*loss is .*a lower learning rate may help"):
        train_folds(images, target, hopeless, FoldResources())


@pytest.mark.slow  # half a minute
def test_a_fold_whose_workers_keep_dying_is_given_up(ray_session: None) -> None:
    """Clear error after the retries, and the other fold stops early."""
    images, target = study()
    planned = tasks(2, replace(FIT, epochs=3000))
    heard: list[tuple[int, float]] = []

    def on_epoch(fold: int, row: Mapping[str, float]) -> None:
        heard.append((fold, row["epoch"]))
        if len({fold for fold, _ in heard}) == 2 and (workers := train_workers()):
            os.kill(min(workers), signal.SIGKILL)

    with pytest.raises(FoldError, match="^fold [12] failed: .*died") as caught:
        train_folds(images, target, planned, FoldResources(), on_epoch=on_epoch, max_failures=0)
    assert "\n" not in str(caught.value)
    assert max(epoch for _, epoch in heard) < 3000


def test_a_fold_too_large_for_the_cluster_is_refused(ray_session: None) -> None:
    images, target = study()
    with pytest.raises(
        UsageError, match=r"a fold takes 1 x \(3 CPUs, 0 GPUs\), but the Ray cluster has 2 CPUs, 0 GPUs"
    ):
        train_folds(images, target, tasks(1), FoldResources(cpus_per_worker=3))
    with pytest.raises(UsageError, match="1 x .1 CPUs, 0.5 GPUs"):
        train_folds(images, target, tasks(1), FoldResources(gpus_per_worker=0.5))
    with pytest.raises(UsageError, match="no less than 0 GPUs"):
        FoldResources(gpus_per_worker=-1)
