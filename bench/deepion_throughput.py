"""What DeepION takes: images a second in training and in embedding, views' share of a step, search among 50,000 ions.

``python -m bench.deepion_throughput``                           on one core
``python -m bench.deepion_throughput --device cuda --batch 100``

Ion images are SIMULATED (a phantom), repeated to the number asked for. The vectors that are searched lie on smooth
random surfaces of 3, 6 and 20 dimensions: an approximate search finds less where there are more ways out of a cell.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ms2img.deepion.approximate import nearest_approximately, recall
from ms2img.deepion.batches import ViewBatch, ViewBatches
from ms2img.deepion.colocalise import nearest
from ms2img.deepion.embed import DIMENSIONS, min_max, representations
from ms2img.deepion.objective import SiameseObjective
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.images import ion_images
from ms2img.deepion.phantom.section import make_phantom
from ms2img.deepion.presets import MODELS, TRAINING, views_of
from ms2img.deepion.siamese import Siamese, build
from ms2img.learn.hardware import freed_memory_kept, place, resolve_device, resolve_precision, torch_threads
from pipelines.deepion.options import height_and_width

Answer = TypeVar("Answer")

TOP = 5
SURFACES = (3, 6, 20)  # dimensions within UMAP's 20
BENDS = 3.0  # how far a surface winds, in radians over each of its dimensions
WHOLE, VIEWS = "training, views made on the way", "views alone (two an image)"


class Took(NamedTuple):
    """Seconds by the wall's clock and by the processor's."""

    wall: float
    cpu: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--preset", choices=["small", "paper", "released"], default="small")
    parser.add_argument("--mode", choices=["col", "iso"], default="col")
    parser.add_argument("--images", type=int, default=256, help="of an epoch, and of an embedding")
    parser.add_argument("--size", default="64x64", help="HEIGHTxWIDTH in pixels")
    parser.add_argument("--batch", type=int, help="images of a training batch [default: the preset's]")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--ions", type=int, default=50_000, help="vectors that are searched; 0: no search")
    options = parser.parse_args()
    with torch_threads(options.threads), freed_memory_kept():
        _networks(options)
        if options.ions:
            _search(options)


def _networks(options: argparse.Namespace) -> None:
    images = _images(options)
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    size = options.batch or TRAINING[options.preset].batch_size
    model = build(MODELS[options.preset], seed=0)
    place(model, device)
    views = views_of(options.mode, options.preset)
    batches = ViewBatches(images, views, batch_size=size, seed=0, device=device)
    ready = list(batches.train(0))
    jobs: dict[str, Callable[[], object]] = {
        WHOLE: lambda: _train(model, batches.train(1), precision),
        "training, views ready": lambda: _train(model, iter(ready), precision),
        VIEWS: lambda: [None for _ in batches.train(1)],
        "embedding": lambda: representations(model.encoder, images, device=options.device, precision=options.precision),
    }
    print(
        f"Preset `{options.preset}` ({options.mode}), SIMULATED images of {options.size}, batches of {size}, "
        f"{str(precision).removeprefix('torch.')}, {options.device}, {options.threads} threads, {os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}; medians of {options.rounds}\n"
    )
    print("| | images a second | CPU seconds an image |\n|---|---|---|")
    took = {}
    for what, job in jobs.items():
        took[what] = _measured(job, options)
        print(f"| {what} | {len(images) / took[what].wall:.1f} | {took[what].cpu / len(images):.4f} |", flush=True)
    share = took[VIEWS].wall / took[WHOLE].wall, took[VIEWS].cpu / took[WHOLE].cpu
    print(f"\nViews take {share[0]:.1%} of a training step, {share[1]:.1%} of its CPU time.", flush=True)


def _search(options: argparse.Namespace) -> None:
    print(f"\n{TOP} nearest of each of {options.ions} ions in {DIMENSIONS} dimensions, all by all\n")
    print("| surface of | exact, s | approximate, s | recall |\n|---|---|---|---|")
    for surface in SURFACES:
        vectors = _vectors(options.ions, surface)
        exact_took, exact = _timed(lambda: nearest(vectors, top=TOP), options)  # noqa: B023 (called at once)
        took, found = _timed(lambda: nearest_approximately(vectors, top=TOP), options)  # noqa: B023
        share = recall(found.rows, exact.rows)
        print(f"| {surface} dimensions | {exact_took.wall:.1f} | {took.wall:.1f} | {share:.4f} |", flush=True)


def _images(options: argparse.Namespace) -> NDArray[np.float32]:
    height, width = height_and_width(options.size)
    ions, _ = ion_images(make_phantom(PhantomConfig(height=height, width=width, ions=min(options.images, 600))))
    repeats = -(-options.images // len(ions))
    return np.tile(ions.images, (repeats, 1, 1))[: options.images]


def _vectors(n: int, surface: int) -> NDArray[np.float32]:
    """Vectors of UMAP's number of dimensions, each in 0-1, on a smooth surface of fewer."""
    random = np.random.default_rng(0)
    bends, phase = random.normal(0, BENDS, (surface, DIMENSIONS)), random.uniform(0, 2 * np.pi, DIMENSIONS)
    return min_max(np.sin(random.random((n, surface)) @ bends + phase))


def _train(model: Siamese, batches: Iterator[ViewBatch], precision: torch.dtype) -> None:
    """An epoch as `ms2img.learn.fit` goes through it."""
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=1e-5, weight_decay=0.0, fused=True)
    objective = SiameseObjective()
    for batch in batches:
        [loss] = objective.losses(model, batch, precision)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()


def _measured(job: Callable[[], object], options: argparse.Namespace) -> Took:
    """Medians over the rounds, after one that warms up."""
    job()
    rounds = [_timed(job, options)[0] for _ in range(options.rounds)]
    return Took(*(statistics.median(times) for times in zip(*rounds, strict=True)))


def _timed(job: Callable[[], Answer], options: argparse.Namespace) -> tuple[Took, Answer]:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = job()
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()
    return Took(time.perf_counter() - wall, time.process_time() - cpu), answer


if __name__ == "__main__":
    main()
