"""``ms2img features``: a sample sheet to an aligned feature table, on Ray Data. The steps stand in `feature_table`."""

from __future__ import annotations

from pipelines.feature_table.config import FeaturesConfig
from pipelines.feature_table.job import FeaturesSummary, features

__all__ = ["FeaturesConfig", "FeaturesSummary", "features"]
