"""Every choice that changes a pixel, as one typed and closed configuration."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from ms2img.errors import UsageError
from ms2img.io.read_config import ReadOptions

MAX_SIDE = 4096  # pixels; ours: beyond it an image outgrows the figure it is drawn from
MAX_SOURCE_SIDE = 2**16 - 1  # pixels; matplotlib's Agg draws no larger figure


class RenderOptions(ReadOptions):
    """How the spectra of one run are read and drawn, whatever the size of the image.

    What MS2toImg states is a default here ("Conversion of LC-MS/MS data into 2D images"); what it leaves out (figure
    size, marker areas, resize rule, the handling of absent and impossible values) is ours, and an option.
    """

    renderer: Literal["fast", "matplotlib"] = Field(
        default="fast",
        description="fast: own painter of the same discs; matplotlib: the paper's scatter plot, slow, the oracle",
    )
    resize: Literal["area", "bilinear"] = Field(
        default="area",
        description="figure to image: area averages each pixel's source pixels; bilinear is TensorFlow's default, "
        "which does not antialias and so sees only the source pixels around each pixel's centre",
    )
    precursor_mz: tuple[float, float] = Field(default=(100.0, 1500.0), description="precursor axis [from, to), m/z")
    fragment_mz: tuple[float, float] = Field(default=(0.0, 1500.0), description="fragment axis [from, to), m/z")
    fig_height_in: float = Field(default=7.5, gt=0, description="height of the drawn figure, inches")
    fig_width_in: float = Field(default=7.0, gt=0, description="width of the drawn figure, inches")
    dpi: int = Field(
        default=600,
        ge=1,
        description="source pixels an inch of the drawn figure; fast area averaging draws none of them, there it only "
        "bounds the sampling",
    )
    area_min_pt2: float = Field(
        default=4.0,
        gt=0,
        description="marker area at precursor intensity 0, pt^2 (matplotlib's s: the square of the diameter)",
    )
    area_max_pt2: float = Field(default=60.0, gt=0, description="marker area at precursor intensity 1, pt^2")
    intensity_cut: float = Field(
        default=1e-4,
        ge=0,
        lt=1,
        description="a precursor is kept if its share of the run's total intensity exceeds this",
    )
    scale: Literal["max", "minmax"] = Field(
        default="max",
        description="precursor intensity to 0-1: by the run's maximum, or from its minimum to its maximum",
    )
    missing_precursor_intensity: Literal["summed-msms", "refuse"] = Field(
        default="summed-msms",
        description="where the file has no precursor intensity: use the summed MS/MS intensity for the whole run, "
        "or refuse the run",
    )
    keep_above_precursor: bool = Field(
        default=False, description="keep fragments above their precursor's m/z (multiply charged precursors have them)"
    )
    precursor_tolerance: float = Field(
        default=0.5,
        ge=0,
        description="a fragment further than this above its precursor is impossible and dropped, m/z "
        "(without effect under keep_above_precursor)",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("precursor_mz", "fragment_mz"):
            low, high = getattr(self, name)
            if not (0 <= low < high < float("inf")):
                raise ValueError(f"{name} needs 0 <= from < to, got {low:g} and {high:g}")
        if self.area_min_pt2 > self.area_max_pt2:
            raise ValueError(f"area_min_pt2 {self.area_min_pt2:g} exceeds area_max_pt2 {self.area_max_pt2:g}")
        if not all(1 <= side <= MAX_SOURCE_SIDE for side in self.source_shape):
            raise ValueError(
                f"the figure would have {self.source_shape} pixels; each side takes 1 to {MAX_SOURCE_SIDE}"
            )
        return self

    @property
    def source_shape(self) -> tuple[int, int]:
        """Height and width of the drawn figure in source pixels, 4500 x 4200 by default."""
        return round(self.fig_height_in * self.dpi), round(self.fig_width_in * self.dpi)


class RenderConfig(RenderOptions):
    """How the spectra of one run become one grey image."""

    height: int = Field(default=150, ge=1, le=MAX_SIDE, description="image height in pixels: the fragment axis")
    width: int = Field(default=140, ge=1, le=MAX_SIDE, description="image width in pixels: the precursor axis")


def parse_size(text: str) -> tuple[int, int]:
    """Read ``HxW`` ("150x140") as (height, width) in pixels; `UsageError` for anything else."""
    match = re.fullmatch(r"([0-9]+)x([0-9]+)", text.strip().lower())
    if match is None:
        raise UsageError(f"--size: expected HEIGHTxWIDTH in pixels like 150x140, got {text!r}")
    height, width = int(match[1]), int(match[2])
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise UsageError(f"--size: each side takes 1 to {MAX_SIDE} pixels, got {text!r}")
    return height, width
