"""The kinds of model that predict spectra, as what a space may be of."""

from __future__ import annotations

from ms2img.massformer.presets import NAMES, PRESETS
from ms2img.massformer.training import TRAINING
from tune.family import FIXED, Family

#: Augmentation of images, which molecules have none of.
_OF_IMAGES = ("shift", "drop_precursors", "drop_pixels", "intensity_jitter")


def molecule_family(kind: str) -> Family:
    """The family of "massformer", "wln", "fp" or "cnn": its presets as ``ms2img massformer train`` has them.

    A trial ends early by the preset's patience, as the trials of the paper's search did.
    """
    return Family(
        presets={name: (PRESETS[kind, name], TRAINING[name]) for name in NAMES},
        spaces=(f"massformer-{kind}",),
        fixed=(*FIXED, "kind", *_OF_IMAGES),
        patience=True,
    )
