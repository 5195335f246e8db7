"""Equal points, equal bytes: in threads, in other processes, and from one version of the renderer to the next."""

from __future__ import annotations

import hashlib
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


def test_a_process_that_may_not_keep_machine_code_paints_the_same_bytes() -> None:
    script = """
import numba.core.caching as caching
caching._CacheImpl._locator_classes = []  # as where no folder is writable
from test_render_golden import GOLDEN, golden_digest
from ms2img.ms2toimg import rasterise
assert type(rasterise._paint_tiles._cache).__name__ == "NullCache"
print(*(golden_digest(name) for name in ("area 150x140", "bilinear 150x140")))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [GOLDEN["area 150x140"][1], GOLDEN["bilinear 150x140"][1]]


def test_importing_the_room_costs_neither_numba_nor_matplotlib() -> None:
    script = "import sys, ms2img.ms2toimg.render; print({'numba', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


#: The version of the pixels below, then for each name the options and the hash of the image.
GOLDEN_VERSION = 1
GOLDEN: dict[str, tuple[dict[str, Any], str]] = {}


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
