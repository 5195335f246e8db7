"""``ms2img convert``: a sample sheet to a Parquet data set of images, on Ray Data. The steps stand in `conversion`."""

from __future__ import annotations

from pipelines.conversion.config import ConvertConfig
from pipelines.conversion.job import ConvertSummary, convert
from pipelines.conversion.verification import verify

__all__ = ["ConvertConfig", "ConvertSummary", "convert", "verify"]
