"""What an epoch of a preset costs on this CPU, with and without each of the measures the training loop takes.

``python -m bench.fit`` times training steps on random images and prints seconds an epoch of 440 images. Wait policy and
page size are read when torch is loaded, so every line is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from dataclasses import replace

IMAGES = 440  # of the reference timing: Keras/TensorFlow 11.5 s an epoch on 2 CPU cores, a plain port to torch 24.7 s
VARIANTS = {
    "as the training loop runs it": {},
    "float32": {"precision": "float32"},
    "float32, 4 KiB pages": {"precision": "float32", "THP_MEM_ALLOC_ENABLE": "0"},
    "spinning threads": {"OMP_WAIT_POLICY": "ACTIVE"},
}


def main() -> None:
    """Measure every variant and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--size", default="150x140", help="image HEIGHTxWIDTH, pixels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="timed; the fastest counts")
    parser.add_argument("--variant", choices=VARIANTS, help="measure this one in this process")
    options = parser.parse_args()
    if options.variant:
        precision, seconds = _epoch_seconds(options, VARIANTS[options.variant])
        print(f"{seconds:6.1f} s  {precision:9}  {options.variant}", flush=True)
        return
    print(f"{options.preset}, {options.size}, {options.threads} threads: seconds an epoch of {IMAGES} images")
    for name, variant in VARIANTS.items():
        environment = {key: value for key, value in variant.items() if key.isupper()}
        command = [sys.executable, "-m", "bench.fit", *sys.argv[1:], "--variant", name]
        subprocess.run(command, check=True, env=os.environ | environment)


def _epoch_seconds(options: argparse.Namespace, variant: dict[str, str]) -> tuple[str, float]:
    """Precision, and the fastest step times the steps of an epoch."""
    import numpy as np
    import torch

    from ms2img.learn.batches import ImageBatches
    from ms2img.learn.fit import fit
    from ms2img.ms2toimg.cnn import PRESETS, TRAINING, build_cnn
    from ms2img.ms2toimg.render_config import parse_size

    height, width = parse_size(options.size)
    config = replace(
        TRAINING[options.preset],
        epochs=options.steps + 1,  # an epoch is one step here; the first one warms up
        threads=options.threads,
        precision=variant.get("precision", "auto"),
        device="cpu",
    )
    n = config.batch_size
    images = np.random.default_rng(0).integers(0, 255, (n, height, width)).astype(np.uint8)
    batches = ImageBatches(
        images,
        np.arange(n) % 2,
        train=np.arange(n),
        validation=np.arange(0),
        batch_size=n,
        seed=0,
        device=torch.device("cpu"),
    )
    ends = [time.perf_counter()]

    class Clock:
        def epoch(self, metrics: object) -> None:
            ends.append(time.perf_counter())

        def checkpoint(self, state: object) -> None: ...

        def should_stop(self) -> bool:
            return False

    model = build_cnn(PRESETS[options.preset], height, width)
    result = fit(model, batches, config, Clock())
    fastest = min(later - earlier for earlier, later in itertools.pairwise(ends[1:]))
    return result.precision, fastest * -(-IMAGES // n)


if __name__ == "__main__":
    main()
