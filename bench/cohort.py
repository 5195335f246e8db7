"""A labelled set of real images for the training measurements: the qemistree runs, drawn in this process."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ms2img.errors import RunError
from ms2img.io.read import read_runs
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.labels import LabelConfig, Labels, make_labels
from ms2img.ms2toimg.render_config import RenderConfig, parse_size

SHARED = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))
#: The sheet of each export: a file a run, or one table of aligned features.
SHEETS = {"mgf": "data/qemistree/samples.csv", "fbmn": "data/qemistree/fbmn/samples.csv"}


def qemistree(assay: str, size: str, export: str = "mgf") -> tuple[Labels, np.ndarray]:
    """Labels (presence against absence of a constituent) and images uint8 [n, H, W] in their order."""
    sheet, images = drawn(size, export)
    labels = make_labels(sheet, LabelConfig(assay=assay, low=0.01, high=0.01), images)
    return labels, np.stack([images[sample] for sample in labels.sample_ids])


@functools.cache
def drawn(size: str, export: str) -> tuple[Sheet, Mapping[str, np.ndarray]]:
    """The sheet of an export (a key of `SHEETS`), and sample_id -> image uint8 [H, W] of every run in it."""
    sheet = Sheet.read(SHARED / SHEETS[export])
    height, width = parse_size(size)
    config = RenderConfig(height=height, width=width)
    images = {}
    for run, spectra in read_runs(sheet.runs):
        if isinstance(spectra, RunError):
            raise spectra
        images[run.sample_id] = image_row(run, spectra, config, source_fingerprint="")["image"]
    return sheet, images
