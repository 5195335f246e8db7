"""Small models and runs that several test modules need; nothing here is a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ms2img.ms2toimg.bundle import save_bundle
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn
from ms2img.ms2toimg.render_config import RenderConfig

RENDER = RenderConfig(height=30, width=28)
CNN = CnnConfig(conv_layers=1, filters=4, dense_layers=1, units=8)
#: All kinds of tensors: batch norm adds running statistics and an int64 counter.
CNN_WITH_NORM = CnnConfig(conv_layers=2, filters=4, pool="each", batch_norm=True, dense_layers=1, units=64)


def card(**changes: Any) -> dict[str, Any]:
    """A model card; `changes` replace its fields."""
    return {
        "assay": "dpph",
        "active": "high",
        "low": 0.4,
        "high": 0.6,
        "value_min": 3.5,
        "value_max": 92.0,
        "threshold": 0.5,
        "preset": "small",
        "simulated": False,
        "fingerprints": {"samples": "5a", "labels": "1a", "folds": "f0"},
        "metrics": {"auc_mean": 0.9, "auc_sd": 0.05},
        **changes,
    }


def make_bundle(
    folder: Path, *, seed: int = 0, cnn: CnnConfig = CNN, render: RenderConfig = RENDER, **changes: Any
) -> Path:
    """A bundle of an untrained network whose weights follow from `seed`; `changes` go to its card."""
    network = build_cnn(cnn, render.height, render.width, seed=seed)
    save_bundle(folder, model_state=network.state_dict(), cnn=cnn, render=render, card=card(**changes))
    return folder


def write_mgf(path: Path, *, seed: int = 0, n_spectra: int = 40) -> Path:
    """A run of random spectra that fill the image's plane."""
    rng = np.random.default_rng(seed)
    lines: list[str] = []
    for number in range(n_spectra):
        precursor = rng.uniform(150, 1400)
        lines += ["BEGIN IONS", f"TITLE=scan {number + 1}", f"PEPMASS={precursor:.4f} {rng.uniform(1e3, 1e6):.1f}"]
        lines += [f"{mz:.4f} {rng.uniform(1, 1e4):.1f}" for mz in np.sort(rng.uniform(50, precursor, 12))]
        lines += ["END IONS", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
