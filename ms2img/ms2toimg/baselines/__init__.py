"""What MS2toImg compares its network with: random forest, PCA and OPLS-DA on a feature table, and others."""

from ms2img.ms2toimg.baselines.models import (
    DEFAULTS,
    MODELS,
    PIXELS,
    WORDS,
    Baseline,
    default_preprocessing,
    make_baseline,
)
from ms2img.ms2toimg.baselines.preprocessing import Matrix, Preprocessing

__all__ = [
    "DEFAULTS", "MODELS", "PIXELS", "WORDS", "Baseline", "Matrix", "Preprocessing", "default_preprocessing",
    "make_baseline",
]  # fmt: skip
