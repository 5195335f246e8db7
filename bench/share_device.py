"""Processes that share one device: images a second, trials a minute, peak memory, and what the whole search would take.

``python -m bench.share_device`` trains networks drawn from MS2toImg's search space, on a GPU where there is one, with
1, 2, 4 and 8 processes at a time, each for ``--seconds``. It needs torch and NumPy alone, no Ray and no data: the
images are random points below the diagonal, as many as in the real ones.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp

from ms2img.learn.batches import ImageBatches
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import resolve_device, resolve_precision
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn

OCCUPIED = 0.1  # of the pixels of a real image are not empty (qemistree: 0.09 at 150x140)
TRIALS, FOLDS, EPOCHS = 120, 5, 80  # of MS2toImg's search
VALIDATION = 0.2  # of the training accessions, as in a fold


@dataclass(frozen=True)
class Job:
    """What each process does."""

    height: int
    width: int
    images: int
    epochs: int
    seconds: float
    device: str
    threads: int


class Counter:
    """A reporter that counts epochs and ends the training when the time is up."""

    def __init__(self, until: float) -> None:
        self.until, self.epochs = until, 0

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """One more."""
        self.epochs += 1

    def checkpoint(self, state: TrainingState) -> None:
        """Nothing to save."""

    def should_stop(self) -> bool:
        """Whether the time is up."""
        return time.perf_counter() > self.until


def drawn(trial: int) -> tuple[CnnConfig, float]:
    """A network and learning rate from MS2toImg's space. Written out here: `tune.space` needs more than torch."""
    rng = np.random.default_rng(trial)
    cnn = CnnConfig(
        conv_layers=int(rng.integers(1, 4)),
        filters=int(16 * rng.integers(1, 5)),
        dense_layers=int(rng.integers(1, 4)),
        units=int(32 * rng.integers(1, 17)),
        dropout=float(rng.integers(1, 6)) / 10,
    )
    return cnn, float(10 ** rng.uniform(-6, -4))


def random_images(job: Job) -> np.ndarray:
    """uint8 [n, H, W]: random points where a fragment is lighter than its precursor."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: job.height, : job.width]
    possible = rows / job.height <= columns / job.width
    lit = rng.random((job.images, job.height, job.width)) < OCCUPIED / possible.mean()
    points = rng.integers(1, 255, lit.shape) * (lit & possible)
    return points.astype(np.uint8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--size", default="150x140", help="image HEIGHTxWIDTH, pixels")
    parser.add_argument("--images", type=int, default=440, help="labelled images, over all folds")
    parser.add_argument("--seconds", type=float, default=30.0, help="of training, for each number of processes")
    parser.add_argument("--epochs", type=int, default=8, help="of a network, then the next one is drawn")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = resolve_device(options.device)
    height, width = (int(part) for part in options.size.split("x"))
    cores = os.cpu_count() or 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cores} CPU cores"
    precision = str(resolve_precision("auto", device)).removeprefix("torch.")
    print(f"\n{name}, {precision}, {options.images} random images of {options.size}, batch 32, networks drawn ", end="")
    print(f"from the paper's space, {options.seconds:.0f} s each, load {os.getloadavg()[0]:.1f}\n")
    print("| processes | images a second | trials a minute | peak memory, GB | 120 trials, minutes |")
    print("|---|---|---|---|---|")
    for processes in options.processes:
        threads = max(1, cores // processes)
        job = Job(height, width, options.images, options.epochs, options.seconds, str(device), threads)
        speed, memory = measure(job, processes)
        trial = FOLDS * EPOCHS * options.images * (1 - 1 / FOLDS) * (1 - VALIDATION)  # images it trains on
        rates = f"{speed:.0f} | {60 * speed / trial:.3g} (projected)"
        print(f"| {processes} | {rates} | {memory:.1f} | {TRIALS * trial / speed / 60:.0f} (projected) |", flush=True)
    print(f"\nA trial is {FOLDS} folds of {EPOCHS} epochs. Images a second are measured, without building the ", end="")
    print("networks. Memory: what the processes reserve on the GPU, or are resident with.")


def measure(job: Job, processes: int) -> tuple[float, float]:
    """Images a second trained on over all processes, and the peak memory in GB."""
    context = mp.get_context("spawn")
    answers, ready = context.Queue(), context.Barrier(processes)
    workers = [context.Process(target=_work, args=(job, i, processes, ready, answers)) for i in range(processes)]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(speed for speed, _ in found), sum(memory for _, memory in found)


def _work(job: Job, number: int, processes: int, ready: Any, answers: Any) -> None:
    device = torch.device(job.device)
    images, target = random_images(job), np.arange(job.images) % 2
    outer = round(job.images * (1 - 1 / FOLDS))
    train, validation = np.split(np.arange(outer), [round(outer * (1 - VALIDATION))])
    trained, busy, trial = 0, 0.0, number
    _train(job, device, images, target, train[:32], validation, drawn(0), epochs=1, until=0.0)  # warms up
    ready.wait()
    until = time.perf_counter() + job.seconds
    while time.perf_counter() < until:
        epochs, seconds = _train(
            job, device, images, target, train, validation, drawn(trial), epochs=job.epochs, until=until
        )
        trained, busy, trial = trained + epochs * len(train), busy + seconds, trial + processes
    memory = (
        torch.cuda.max_memory_reserved(device)
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    answers.put((trained / busy, memory / 1e9))


def _train(
    job: Job,
    device: torch.device,
    images: np.ndarray,
    target: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    network: tuple[CnnConfig, float],
    *,
    epochs: int,
    until: float,
) -> tuple[int, float]:
    """Train one network; epochs done, and the seconds they took."""
    cnn, learning_rate = network
    config = FitConfig(epochs=epochs, learning_rate=learning_rate, threads=job.threads, device=job.device)
    model = build_cnn(cnn, job.height, job.width)
    batches = ImageBatches(
        images, target, train=train, validation=validation, batch_size=config.batch_size, seed=0, device=device
    )
    counter = Counter(until)
    result = fit(model, batches, config, counter)
    return counter.epochs, result.seconds


if __name__ == "__main__":
    main()
