"""The fast painter against matplotlib on real runs: how alike the images are, how long they take.

``python -m bench.render`` draws the densest and the sparsest runs of the qemistree data set (by number of fragments) at
the paper's three sizes. Times are processor times of the one thread, so that other work on the machine does not favour
either; matplotlib's is drawing plus resizing, in memory, without any file.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from skimage.metrics import structural_similarity
from skimage.morphology import dilation

from ms2img.io.read import read_run
from ms2img.io.sheet import Run
from ms2img.ms2toimg.points import Points, points_from_spectra
from ms2img.ms2toimg.render import mask_above_precursor, render
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.resize import Bytes, resize_area, resize_bilinear
from ms2img.ms2toimg.scatter import draw_scatter

SHARED = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))
SIZES = ((75, 70), (150, 140), (300, 280))
WINDOW = 11  # pixels: skimage's Gaussian window at sigma 1.5
FAST_REPEATS = 5  # calls of the fast painter for each of matplotlib's


class Result(NamedTuple):
    """One run, one config."""

    ssim: float
    mae: float
    fast_ms: float
    oracle_ms: float


@dataclass(frozen=True)
class Row:
    """One line of the table: a resize rule, a size and a group of runs."""

    resize: str
    size: str
    group: str  # "dense" | "sparse"
    runs: int
    ssim_min: float
    ssim_mean: float
    mae_max: float
    mae_mean: float
    fast_ms: float  # median over the runs of the best of several
    oracle_ms: float
    ratio: float  # oracle_ms / fast_ms


def similarity(image: Bytes, oracle: Bytes) -> tuple[float, float]:
    """Structural similarity and mean absolute error (0-255) where there is something to see.

    SSIM: Gaussian 11 x 11 windows, range 255, mean over the windows with a non-zero pixel in either image. Error: over
    the pixels that are non-zero in either.
    """
    drawn = (image > 0) | (oracle > 0)
    _, similar = structural_similarity(
        image, oracle, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    seen = dilation(drawn, np.ones((WINDOW, WINDOW)))
    error = np.abs(image.astype(np.int64) - oracle)
    return float(similar[seen].mean()), float(error[drawn].mean())


def measure(groups: dict[str, list[Points]], repeats: int) -> list[Row]:
    """Draw every run by both renderers, at each size and by each resize rule; the best time of `repeats` counts."""
    configs = [
        RenderConfig(height=height, width=width, resize=rule)
        for rule in ("area", "bilinear")
        for height, width in SIZES
    ]
    results: dict[tuple[RenderConfig, str], list[Result]] = defaultdict(list)
    for group, runs in groups.items():
        for points in runs:
            source, draw_seconds = _best(repeats, partial(draw_scatter, points, RenderConfig()))
            for config in configs:
                results[config, group].append(_compare(points, source, draw_seconds, config, repeats))
    return [_summary(config, group, results[config, group]) for config in configs for group in groups]


def _compare(points: Points, source: Bytes, draw_seconds: float, config: RenderConfig, repeats: int) -> Result:
    render(points, config)  # the first call compiles
    image, fast_seconds = _best(FAST_REPEATS * repeats, partial(render, points, config))
    shrink = resize_area if config.resize == "area" else resize_bilinear
    oracle, resize_seconds = _best(repeats, partial(shrink, source, config.height, config.width))
    ssim, mae = similarity(image, mask_above_precursor(oracle, config))
    return Result(ssim, mae, 1e3 * fast_seconds, 1e3 * (draw_seconds + resize_seconds))


def _best(repeats: int, call: Callable[[], Bytes]) -> tuple[Bytes, float]:
    """The result of `call`, and its shortest processor time in seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        seconds.append(time.process_time() - start)
    return result, min(seconds)


def _summary(config: RenderConfig, group: str, results: list[Result]) -> Row:
    ssim, mae, fast, oracle = (np.array(values) for values in zip(*results, strict=True))
    fast_ms, oracle_ms = float(np.median(fast)), float(np.median(oracle))
    return Row(
        resize=config.resize,
        size=f"{config.height}x{config.width}",
        group=group,
        runs=len(results),
        ssim_min=float(ssim.min()),
        ssim_mean=float(ssim.mean()),
        mae_max=float(mae.max()),
        mae_mean=float(mae.mean()),
        fast_ms=fast_ms,
        oracle_ms=oracle_ms,
        ratio=oracle_ms / fast_ms,
    )


def densest_and_sparsest(folder: Path, count: int) -> dict[str, list[Points]]:
    """The points of the `count` runs with most and fewest fragments: half of them each."""
    spectra = {str(path): _spectra(path) for path in sorted(folder.glob("*.mgf"))}
    order = sorted(spectra, key=lambda path: int(pc.sum(pc.list_value_length(spectra[path]["mz"])).as_py()))
    half = count // 2
    if not 0 < half <= len(order) // 2:
        raise SystemExit(f"--runs: 2 to {len(order)} of the {len(order)} runs in {folder}, got {count}")
    chosen = {"dense": order[-half:], "sparse": order[:half]}
    config = RenderConfig()
    return {
        group: [points_from_spectra(spectra[path], config, path=path) for path in paths]
        for group, paths in chosen.items()
    }


def _spectra(path: Path) -> pa.Table:
    run = Run(path.stem, str(path), None, None, "mgf", "sample", path.stem, None, None)
    return read_run(run).table


def _print(rows: Sequence[Row]) -> None:
    print(
        f"{'resize':8} {'size':>7} {'group':6} {'runs':>4} {'SSIM min':>8} {'mean':>6} {'MAE max':>7} {'mean':>5}",
        end="",
    )
    print(f" {'fast ms':>8} {'matplotlib ms':>13} {'ratio':>6}")
    for row in rows:
        print(
            f"{row.resize:8} {row.size:>7} {row.group:6} {row.runs:4d} {row.ssim_min:8.4f} {row.ssim_mean:6.4f} "
            f"{row.mae_max:7.2f} {row.mae_mean:5.2f} {row.fast_ms:8.3f} {row.oracle_ms:13.1f} {row.ratio:6.0f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.render", description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="runs in all: half the densest, half the sparsest")
    parser.add_argument("--repeats", type=int, default=3, help="times matplotlib draws each run; the shortest counts")
    parser.add_argument("--data", type=Path, default=SHARED / "data/qemistree/mgf", help="folder of MGF files")
    parser.add_argument("--json", action="store_true", help="print one machine-readable line last")
    options = parser.parse_args(arguments)
    rows = measure(densest_and_sparsest(options.data, options.runs), options.repeats)
    _print(rows)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
