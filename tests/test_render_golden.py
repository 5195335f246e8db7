"""Equal points, equal bytes: in threads, in other processes, and from one version of the renderer to the next."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from render_inputs import golden_spectra, random_points

from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.render import STAGE_VERSION, render
from ms2img.ms2toimg.render_config import RenderConfig

HERE = Path(__file__).resolve().parent
SIZES = [(75, 70), (150, 140), (300, 280), (101, 97)]


def digest(image: np.ndarray) -> str:
    return hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()


def test_threads_paint_the_same_bytes() -> None:
    points = random_points(11, 500)
    configs = [RenderConfig(height=h, width=w, resize=rule) for h, w in SIZES for rule in ("area", "bilinear")]
    alone = [digest(render(points, config)) for config in configs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda config: digest(render(points, config)), configs * 4))
    assert together == alone * 4


def test_a_worker_of_another_kind_paints_the_same_bytes() -> None:
    script = """
from test_render_golden import GOLDEN, golden_digest
from ms2img.ms2toimg import rasterise
assert type(rasterise._paint_tiles._cache).__name__ == "NullCache"
print(*(golden_digest(name) for name in ("area 150x140", "bilinear 150x140")))
"""
    # Left with a locator for notebooks alone, numba finds no folder, as on a worker that may write none; and a generic
    # processor has neither this one's vector nor its fused instructions.
    other_worker = {"NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator", "NUMBA_CPU_NAME": "generic"}
    environment = os.environ | other_worker
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [GOLDEN["area 150x140"][1], GOLDEN["bilinear 150x140"][1]]


def test_importing_the_room_costs_neither_numba_nor_matplotlib() -> None:
    script = "import sys, ms2img.ms2toimg.render; print({'numba', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


#: The version of the pixels below, then for each name the options and the hash of the image.
GOLDEN_VERSION = 1
GOLDEN: dict[str, tuple[dict[str, Any], str]] = {
    "area 75x70": ({"height": 75, "width": 70}, "8a09b0d1ebd208df"),
    "area 150x140": ({}, "166085ec779bd09e"),
    "area 300x280": ({"height": 300, "width": 280}, "364fbf3b70ac3cb7"),
    "area 101x97": ({"height": 101, "width": 97}, "af4981d028c93828"),
    "bilinear 75x70": ({"height": 75, "width": 70, "resize": "bilinear"}, "e6900a8265a10069"),
    "bilinear 150x140": ({"resize": "bilinear"}, "5189517fb2aa7cd1"),
    "bilinear 300x280": ({"height": 300, "width": 280, "resize": "bilinear"}, "e64887ddab8ce9b5"),
    "bilinear 101x97": ({"height": 101, "width": 97, "resize": "bilinear"}, "cac78843ff15cc28"),
    "every fragment, minmax": (
        {"keep_above_precursor": True, "scale": "minmax", "intensity_cut": 0.0},
        "bcc0f6db67d70e22",
    ),
    "other axes and markers": (
        {"precursor_mz": (0, 1234.5), "fragment_mz": (50, 1000), "area_min_pt2": 1.5, "area_max_pt2": 333, "dpi": 200},
        "3e33da8d3f9e3d9f",
    ),
}


def golden_digest(name: str) -> str:
    config = RenderConfig(**GOLDEN[name][0])
    return digest(render(points_from_spectra(golden_spectra(), config, path="golden"), config))


@pytest.mark.parametrize("name", GOLDEN)
def test_pixels_change_only_with_the_stage_version(name: str) -> None:
    assert golden_digest(name) == GOLDEN[name][1], (
        "the pixels changed: raise STAGE_VERSION in ms2img/ms2toimg/render.py, so that data sets are converted anew, "
        "and set GOLDEN_VERSION and the hashes here to match"
    )
    assert STAGE_VERSION == GOLDEN_VERSION, "STAGE_VERSION was raised: set GOLDEN_VERSION and the hashes here to match"
