"""Five folds through Ray Train against the same five in a plain loop, at equal threads.

``python -m bench.folds`` trains the qemistree tomato folds both ways and prints the seconds of each and their ratio.
Equal threads means: a fold has ``--threads`` threads in both. With as many CPUs for Ray (``--cpus``) as threads, Ray
too trains one fold at a time, so both use the same cores and the ratio shows what Ray costs; with more CPUs it trains
several at a time. The plain loop runs first, in this process. Ray's seconds hold all but starting Ray itself, which is
given apart: a job of ``ms2img`` has it running already, for the conversion.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from bench.cohort import qemistree
from cluster.connect import connected
from ms2img.ms2toimg.cnn import PRESETS, TRAINING
from ms2img.ms2toimg.crossvalidate import plan_folds, run_fold
from pipelines.folds import FoldResources, train_folds

TARGET = 1.25  # Ray's seconds over the plain loop's, at most


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--preset", choices=PRESETS, default="paper")
    parser.add_argument("--size", default="150x140", help="image HEIGHTxWIDTH, pixels")
    parser.add_argument("--epochs", type=int, default=40, help="of every fold")
    parser.add_argument("--threads", type=int, default=2, help="of a fold, in both")
    parser.add_argument("--cpus", type=int, default=2, help="of the local Ray")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    options = parser.parse_args()

    labels, images = qemistree("tomato", options.size)
    fit = replace(
        TRAINING[options.preset],
        epochs=options.epochs,
        threads=options.threads,
        precision=options.precision,
        device="cpu",
    )
    tasks = plan_folds(labels, 5, PRESETS[options.preset], fit)

    started = time.perf_counter()
    plain = [run_fold(images, labels.target, task)[0] for task in tasks]
    plain_seconds = time.perf_counter() - started

    started = time.perf_counter()
    with connected(num_cpus=options.cpus):
        start_seconds = time.perf_counter() - started
        started = time.perf_counter()
        by_ray = train_folds(images, labels.target, tasks, FoldResources(cpus_per_worker=options.threads))
        ray_seconds = time.perf_counter() - started

    same = all(np.array_equal(a.probability, b.probability) for a, (b, _) in zip(plain, by_ray, strict=True))
    at_once = options.cpus // options.threads
    print(f"{options.preset}, {len(images)} images of {options.size}, {options.epochs} epochs, {plain[0].precision}")
    print(f"plain loop  {plain_seconds:7.1f} s   one fold at a time, {options.threads} threads")
    print(f"Ray Train   {ray_seconds:7.1f} s   {at_once} fold(s) at a time, {options.threads} threads each")
    print(f"starting Ray {start_seconds:6.1f} s   not in the ratio")
    print(f"ratio       {ray_seconds / plain_seconds:7.2f}     target at most {TARGET}; equal probabilities: {same}")


if __name__ == "__main__":
    main()
