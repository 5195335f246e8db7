"""Every choice that decides an assay value, as one typed and closed configuration."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ms2img.config import Config


class AssayOptions(Config):
    """How wells become values. What the paper leaves out (linear range, outliers) is ours, and an option."""

    linear_from: float | None = Field(
        default=None, ge=0, description="lowest concentration of the standard curve's line; unset: chosen by --min-r2"
    )
    linear_to: float | None = Field(default=None, gt=0, description="highest one; unset: chosen by --min-r2")
    min_r2: float = Field(
        default=0.99,
        ge=0,
        le=1,
        description="the linear range is the longest run of concentrations whose line reaches this r2",
    )
    outlier_test: Literal["auto", "pooled", "dixon"] = Field(
        default="auto",
        description="pooled: distance in replicate sd over all wells; dixon: Q at 95 % within the replicates alone; "
        "auto: pooled from 10 sets of replicates on",
    )
    drop_outliers: bool = Field(
        default=False, description="leave named outliers out of every mean; else only name them"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.linear_from is not None and self.linear_to is not None and self.linear_from >= self.linear_to:
            raise ValueError(f"linear_from {self.linear_from:g} is not below linear_to {self.linear_to:g}")
        return self
