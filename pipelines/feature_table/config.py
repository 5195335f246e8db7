"""Options of ``ms2img features``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from ms2img.io.sheet import KINDS
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.places import Reads, Writes
from pipelines.failure_limit import FailureLimit


class FeaturesConfig(FailureLimit, FeatureOptions):
    """Options of ``ms2img features``."""

    samples: Annotated[str, Reads("sheet")] = Field(description="sample sheet (CSV, TSV or Parquet), here or s3://")
    out: Annotated[str, Writes()] = Field(
        description="output folder, here or s3://: features.parquet, errors.parquet, sources.parquet, config.yaml, "
        "manifest.json"
    )
    kinds: str = Field(
        default="sample",
        description="kinds of the sheet's rows that become columns, parted by commas: sample, blank, qc",
    )
    onto: Annotated[str, Reads()] = Field(
        default="",
        description="place the runs onto the features of this table (the OUT of another 'ms2img features'), compared "
        "as it was made and read as its runs were, but for the reading options given here; what matches none of them "
        "is dropped and counted",
    )
    allow_outside: bool = Field(
        default=False, description="let paths in the sheet climb above the sheet's folder by '..'"
    )
    retry_errors: bool = Field(
        default=False, description="try every failed run again; without it, one whose file is the same stays failed"
    )
    rehash: bool = Field(default=False, description="hash every file again, also where size and time are unchanged")

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: str) -> str:
        given = {kind.strip() for kind in kinds.split(",")}
        if not given <= set(KINDS):
            raise ValueError(f"expected one or more of {', '.join(KINDS)}, parted by commas")
        return ",".join(sorted(given))

    def feature_options(self) -> FeatureOptions:
        """The part of the options that decides features; what was not given is unset there, too."""
        return FeatureOptions(**self.model_dump(include=set(FeatureOptions.model_fields), exclude_unset=True))

    def scope(self) -> dict[str, Any]:
        """The other options that decide what the table holds."""
        return {"kinds": self.kinds}
