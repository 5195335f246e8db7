"""Options of ``ms2img convert``."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from ms2img.errors import UsageError
from ms2img.ms2toimg.render_config import RenderConfig, RenderOptions, parse_size


class ConvertConfig(RenderOptions):
    """Options of ``ms2img convert``."""

    samples: str = Field(description="sample sheet (CSV, TSV or Parquet), here or s3://")
    out: str = Field(
        description="output folder, here or s3://: images/, errors.parquet, sources.parquet, manifest.json, config.yaml"
    )
    size: str = Field(
        default="150x140", description="image size HEIGHTxWIDTH in pixels; the paper's are 75x70, 150x140, 300x280"
    )
    allow_outside: bool = Field(
        default=False, description="let paths in the sheet climb above the sheet's folder by '..'"
    )
    max_failures: str = Field(
        default="0", description="exit with 3 only when more runs failed than this: a number, or a share like 5%"
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

    @field_validator("max_failures", mode="before")
    @classmethod
    def _number_or_share(cls, value: object) -> str:
        text = str(value).strip()
        if not re.fullmatch(r"\d+|\d+(\.\d+)?\s*%", text) or (text.endswith("%") and float(text[:-1]) > 100):
            raise ValueError("expected a number of runs like 10, or a share of them like 5%")
        return text.replace(" ", "")

    def failures_allowed(self, n_runs: int) -> int:
        """How many of `n_runs` runs may fail."""
        text = self.max_failures
        return int(n_runs * float(text[:-1]) / 100) if text.endswith("%") else int(text)

    def render_config(self) -> RenderConfig:
        """The part of the options that decides pixels."""
        height, width = parse_size(self.size)
        options = {name: getattr(self, name) for name in RenderOptions.model_fields}
        return RenderConfig(height=height, width=width, **options)
