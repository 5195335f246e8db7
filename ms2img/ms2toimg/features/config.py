"""Every choice that decides what a feature table holds, as one typed and closed configuration."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator

from ms2img.io.read_config import ReadOptions

PAPER_SIGMA = "paper"


class FeatureOptions(ReadOptions):
    """How spectra become features and when two features are one.

    What MS2toImg states is a default here ("Feature Table Construction"), with one exception: its sigma for MS1, the
    standard deviation of all precursor m/z, is hundreds of Da, so that m/z hardly decides. It is `sigma_mz` = paper;
    the default is an instrument's tolerance (ours: MS-DIAL's default MS1 tolerance).
    """

    similarity: Literal["cosine", "entropy"] = Field(
        default="cosine",
        description="MS/MS similarity: cosine (matchms, greedy) or entropy (ms_entropy, weighted spectral entropy)",
    )
    sigma_mz: str = Field(
        default="0.01",
        description="sigma of the MS1 similarity exp(-0.5 (d/sigma)^2): a number in Da, or 'paper': the standard "
        "deviation of all precursor m/z of the study",
    )
    sigma_rt: float = Field(
        default=60.0, gt=0, description="sigma of the retention-time similarity, seconds (the paper's search tolerance)"
    )
    fragment_tolerance: float = Field(
        default=0.02, gt=0, description="how far apart two fragments may be that are compared as one, Da"
    )
    intensity_cut: float = Field(
        default=1e-4,
        ge=0,
        lt=1,
        description="a spectrum is kept if its precursor's share of the run's total exceeds this, as for images",
    )
    missing_precursor_intensity: Literal["summed-msms", "refuse"] = Field(
        default="summed-msms",
        description="where the file has no precursor intensity: use the summed MS/MS intensity for the whole run, "
        "or refuse the run",
    )

    @field_validator("sigma_mz", mode="before")
    @classmethod
    def _tolerance_or_paper(cls, value: object) -> str:
        text = str(value).strip()
        if text == PAPER_SIGMA:
            return text
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise ValueError(f"expected a number of Da above 0 like 0.01, or '{PAPER_SIGMA}'")
        return text

    @property
    def sigma_mz_da(self) -> float | None:
        """Sigma of the MS1 similarity in Da; None for the paper's, which only the whole study tells."""
        return None if self.sigma_mz == PAPER_SIGMA else float(self.sigma_mz)
