"""Options of ``ms2img deepion prepare``."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.deepion.prepare_settings import PRESETS, PrepareSettings
from ms2img.errors import UsageError
from ms2img.io.location import absolute, file_name, join, suffix
from ms2img.places import Reads, Writes
from pipelines.deepion.options import height_and_width

#: What SOURCE may be, by its ending; with --peaks it is a matrix, whatever its ending.
IMZML, ARCHIVE, MATRIX = "imzML", "archive", "matrix"


class PrepareConfig(Config):
    """Options of ``ms2img deepion prepare``."""

    source: Annotated[str, Reads("runs")] = Field(
        description="imzML file with its .ibd beside it, here or s3://; or, with --peaks, a matrix of one row a pixel "
        "and one column an ion (text or .npy); or a NumPy archive (.npz) of images and mz"
    )
    out: Annotated[str, Writes()] = Field(
        description="folder of ion images, here or s3://: images/, pixels-*.parquet, images.json"
    )
    peaks: Annotated[str | None, Reads()] = Field(
        None, description="the matrix's m/z, one a line (text or .npy), as DeepION's released code takes them"
    )
    shape: str | None = Field(None, description="of the matrix's images, HEIGHTxWIDTH in pixels; rows go by lines")
    preset: Literal["paper", "released"] = Field("paper", description="what is not given by an option below")
    spectra: Literal["auto", "profile", "centroid"] | None = Field(
        None, description="whether peaks are to be picked; 'auto' is what the file says of itself"
    )
    min_snr: float | None = Field(
        None, description="a picked peak is above so many times the spectrum's noise [default: 2]"
    )
    ppm: float | None = Field(None, description="a peak is at most so far from its bin's centre, ppm [default: 10]")
    min_presence: float | None = Field(
        None, description="an ion has signal in at least this share of the measured pixels, 0-1 [default: 0.01]"
    )
    pixel_norm: Literal["tic", "none"] | None = Field(
        None, description="'tic' divides a pixel by its total ion count [default: paper tic, released none]"
    )
    hotspots: Literal["quantile", "max-fraction", "none"] | None = Field(
        None,
        description="how an ion is capped: at a quantile of its pixels with signal, or at a fraction of its maximum "
        "[default: paper quantile, released none]",
    )
    hotspot_level: float | None = Field(None, description="that quantile or fraction [default: 0.99]")
    section: int | None = Field(None, description="z of the section to take, of an imzML file with several")
    simulated: bool = Field(False, description="say of the images that they are SIMULATED, where the file does not")
    scratch: Annotated[str | None, Writes(unset="scratch_place")] = Field(
        None,
        description="where peaks wait between reading and imaging, 16 bytes each; every worker must reach it; here or "
        "s3:// [default: OUT.peaks, removed at the end]",
    )

    @field_validator("shape")
    @classmethod
    def _shape_is_readable(cls, shape: str | None) -> str | None:
        if shape is not None:
            height_and_width(shape)
        return shape

    def kind(self) -> str:
        """What SOURCE is. Raises `UsageError` where that cannot be told."""
        if (self.peaks is None) != (self.shape is None):
            raise UsageError(f"{self.source}: a matrix needs both --peaks FILE and --shape HEIGHTxWIDTH")
        found = MATRIX if self.peaks is not None else {".imzml": IMZML, ".npz": ARCHIVE}.get(suffix(self.source))
        if found is None:
            raise UsageError(f"{self.source}: expected a file ending in .imzML or .npz, or a matrix with --peaks FILE")
        if found != IMZML and self.section is not None:
            raise UsageError(f"{self.source}: --section {self.section} is for imzML files; leave it out")
        return found

    def settings(self) -> PrepareSettings:
        """The preset with what the user changed; raises `UsageError` for a value out of its range."""
        preset = PRESETS[self.preset]
        given = {name: getattr(self, name) for name in preset.to_dict() if getattr(self, name) is not None}
        return replace(preset, **given)

    def scratch_place(self) -> str:
        """The folder where peaks wait, of this output alone; empty where there are none."""
        if self.kind() != IMZML:
            return ""
        out = absolute(self.out).rstrip("/")
        if self.scratch is None:
            return f"{out}.peaks"
        return join(self.scratch, f"{file_name(out)}-{hashlib.blake2b(out.encode(), digest_size=4).hexdigest()}.peaks")
