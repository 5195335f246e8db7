"""From where on quality control names a run. Every limit is an option of ``ms2img qc``; docs/qc.md has the reasons."""

from __future__ import annotations

from pydantic import Field

from ms2img.config import Config


class QcLimits(Config):
    """Limits of ``ms2img qc``, with defaults under which four clean public sets give few flags (see docs/qc.md)."""

    robust_z: float = Field(
        3.5, gt=0, description="robust z from which a run's counts, within its kind, are an outlier"
    )
    min_change: float = Field(
        0.25, ge=0, description="share of the median by which such an outlier must differ from it, too"
    )
    swap_margin: float = Field(
        0.25, ge=0, description="cosine by which two runs must each prefer the other's accession to be called swapped"
    )
    blank_share: float = Field(
        0.5, gt=0, description="fragments of a blank over the samples' median, from which it is named"
    )
    carry_over: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of the preceding run's own pixels that a blank shows beyond what it shows of other samples",
    )
    drift_change: float = Field(
        0.2, ge=0, description="change over the batch, as a share of the median, from which a trend is called a drift"
    )
    drift_p: float = Field(0.05, gt=0, lt=1, description="p of the rank correlation up to which a trend is a drift")
    components: int = Field(5, ge=2, le=50, description="principal components of the outlier model")
    confidence: float = Field(
        0.99, gt=0.5, lt=1, description="confidence of the T2 and Q limits; the rest is flagged by chance"
    )
