"""Options of ``ms2img report``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ms2img.config import Config
from ms2img.places import MODEL_NAMES, Reads, Writes


class ReportConfig(Config):
    """Options of ``ms2img report``."""

    run_or_model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="run id of a training, or a registered model such as models:/ms2img-dpph@champion"
    )
    out: Annotated[str, Writes()] = Field("report.html", description="HTML file to write, local or s3://")
