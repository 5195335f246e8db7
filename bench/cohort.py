"""A labelled set of real images for the training measurements: the qemistree runs, drawn in this process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ms2img.errors import RunError
from ms2img.io.read import read_runs
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.labels import LabelConfig, Labels, make_labels
from ms2img.ms2toimg.render_config import RenderConfig, parse_size

SHARED = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))


def qemistree(assay: str, size: str) -> tuple[Labels, np.ndarray]:
    """Labels (presence against absence of a constituent) and images uint8 [n, H, W] in their order."""
    sheet = Sheet.read(SHARED / "data/qemistree/samples.csv")
    height, width = parse_size(size)
    config = RenderConfig(height=height, width=width)
    images = {}
    for run, spectra in read_runs(sheet.runs):
        if isinstance(spectra, RunError):
            raise spectra
        images[run.sample_id] = image_row(run, spectra, config, source_fingerprint="")["image"]
    labels = make_labels(sheet, LabelConfig(assay=assay, low=0.01, high=0.01), images)
    return labels, np.stack([images[sample] for sample in labels.sample_ids])
