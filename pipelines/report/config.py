"""Options of ``ms2img report``."""

from __future__ import annotations

from pydantic import Field

from ms2img.config import Config


class ReportConfig(Config):
    """Options of ``ms2img report``."""

    run_or_model: str = Field(
        description="run id of a training, or a registered model such as models:/ms2img-dpph@champion"
    )
    out: str = Field("report.html", description="HTML file to write, local or s3://")
