"""Options of ``ms2img convert``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from ms2img.errors import UsageError
from ms2img.ms2toimg.render_config import RenderConfig, RenderOptions, parse_size
from ms2img.places import Reads, Writes
from pipelines.failure_limit import FailureLimit


class ConvertConfig(FailureLimit, RenderOptions):
    """Options of ``ms2img convert``."""

    samples: Annotated[str, Reads("sheet")] = Field(description="sample sheet (CSV, TSV or Parquet), here or s3://")
    out: Annotated[str, Writes()] = Field(
        description="output folder, here or s3://: images/, errors.parquet, sources.parquet, manifest.json, config.yaml"
    )
    size: str = Field(
        default="150x140", description="image size HEIGHTxWIDTH in pixels; the paper's are 75x70, 150x140, 300x280"
    )
    allow_outside: bool = Field(
        default=False, description="let paths in the sheet climb above the sheet's folder by '..'"
    )
    retry_errors: bool = Field(
        default=False,
        description="try every failed run again; without it, one whose file is the same stays failed "
        "(not-found, unreadable and storage are always tried again)",
    )
    rehash: bool = Field(default=False, description="hash every file again, also where size and time are unchanged")
    verify: bool = Field(default=False, description="convert nothing: check OUT against its manifest, byte for byte")
    time_limit: float = Field(
        default=600.0, gt=0, description="seconds for reading and drawing one run; then it fails as time-limit"
    )
    memory_limit: int = Field(
        default=2048, ge=1, description="MiB for reading and drawing one run; then it fails as memory-limit"
    )

    @field_validator("size")
    @classmethod
    def _size_is_readable(cls, size: str) -> str:
        try:
            parse_size(size)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return size

    def render_config(self) -> RenderConfig:
        """The part of the options that decides pixels."""
        height, width = parse_size(self.size)
        options = {name: getattr(self, name) for name in RenderOptions.model_fields}
        return RenderConfig(height=height, width=width, **options)
