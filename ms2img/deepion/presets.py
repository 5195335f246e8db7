"""What the paper and its released code say, by name; the rest is ours, and named so.

The paper's numbers for its views stand in its supplement, which is not to be had here; where the released code has one
for the same step, both presets take it. "small" is ours, for two CPU cores: the paper's method with a narrower network
and a gentler colour jitter. "simsiam" is Table 1's row of that name: the paper's model and training, on the views that
SimSiam was published with.
"""

from __future__ import annotations

from dataclasses import replace

from ms2img.deepion.augment import MsiViews, Views
from ms2img.deepion.natural import NaturalViews
from ms2img.deepion.siamese import SiameseConfig
from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig

MODES = ("col", "iso")
NAMES = ("paper", "released", "small", "simsiam")

#: ColorJitter(.8, .8, 0); a 5x5 box at a chance of .5; up to .8 draws of missing pixels; no Poisson noise.
_RELEASED_COL = MsiViews()
#: "setting the missing ratio of ions proportional to their intensities" by the released code's zero below a quantile.
_RELEASED_ISO = MsiViews(intensity_law="quantile")
#: With Poisson noise of 20 to 200 ions at the brightest pixel (ours: a relative error of 22 to 7 %).
_PAPER_COL = MsiViews(counts_low=20.0, counts_high=200.0)
#: The same sentence, the direction as `augment.missing_by_intensity` has it; up to .8 is ours.
_PAPER_ISO = MsiViews(counts_low=20.0, counts_high=200.0, intensity_law="falling")
#: Jitter of .2 for .8, which saturates images (ours). On a SIMULATED section (600 ions, 64x64, difficulty .75, seed 0)
#: the probe's accuracy after 200 steps of preset "small" was .75 with .8, .80 with .2, .86 with 0 (one trial each).
_GENTLE = 0.2
_SMALL_COL = replace(_PAPER_COL, brightness=_GENTLE, contrast=_GENTLE)
_SMALL_ISO = replace(_PAPER_ISO, brightness=_GENTLE, contrast=_GENTLE)

#: (mode, name) -> DeepION's views
_MSI_VIEWS = {
    ("col", "paper"): _PAPER_COL,
    ("iso", "paper"): _PAPER_ISO,
    ("col", "released"): _RELEASED_COL,
    ("iso", "released"): _RELEASED_ISO,
    ("col", "small"): _SMALL_COL,
    ("iso", "small"): _SMALL_ISO,
}
#: (mode, name) -> views
VIEWS: dict[tuple[str, str], Views] = {**_MSI_VIEWS, ("col", "simsiam"): NaturalViews()}

_SIMSIAM = SiameseConfig()  # the paper's
_BYOL = SiameseConfig(
    method="byol",
    hidden=4096,  # BYOL, section 3.3
    width=256,  # BYOL, section 3.3
    bottleneck=4096,  # BYOL, section 3.3
    momentum=0.99,  # ours: BYOL's .996 is for a hundred times as many steps
    initial_std=None,
    beta1=0.9,  # Adam's defaults
    beta2=0.999,
)
#: Ours: a quarter of ResNet18's channels takes .25 s of one core a step of 64 images of 64x64, half .65, all 2.2 s. On
#: the section of `_GENTLE` some 70 s of one core gave .85 with a quarter, .82 with half.
_SMALL = replace(_SIMSIAM, hidden=512, width=512, bottleneck=128, base=16)

#: name -> model
MODELS = {"paper": _SIMSIAM, "released": _BYOL, "small": _SMALL, "simsiam": _SIMSIAM}

#: DeepION, section 3.3: Adam at 3e-4, 100 iterations over the images; as many a batch as the memory holds, so that the
#: batch is the released code's. No validation part: the last epoch is kept.
_PAPER_FIT = FitConfig(epochs=100, batch_size=100, learning_rate=3e-4, keep="last")
_RELEASED_FIT = FitConfig(epochs=200, batch_size=100, learning_rate=3e-4, keep="last")
#: Ours; .89 there after 60 epochs, .92 after 90, .90 after 120 and 150.
_SMALL_FIT = FitConfig(epochs=100, batch_size=64, learning_rate=1e-3, keep="last")

#: name -> training
TRAINING = {"paper": _PAPER_FIT, "released": _RELEASED_FIT, "small": _SMALL_FIT, "simsiam": _PAPER_FIT}


def msi_views_of(mode: str, name: str) -> MsiViews:
    """DeepION's views by a preset; `UsageError` for one that has others, or is not there."""
    if (mode, name) not in _MSI_VIEWS:
        known = ", ".join(" ".join(pair) for pair in _MSI_VIEWS)
        raise UsageError(f"views: '{mode} {name}' is no preset of DeepION's; expected one of {known}")
    return _MSI_VIEWS[mode, name]


def views_of(mode: str, name: str) -> Views:
    """The views of a preset; `UsageError` for one that is not there."""
    if (mode, name) not in VIEWS:
        known = ", ".join(" ".join(pair) for pair in VIEWS)
        raise UsageError(f"views: '{mode} {name}' is no preset; expected one of {known}")
    return VIEWS[mode, name]
