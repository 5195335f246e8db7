"""What the paper and its released code say, by name; the rest is ours, and named so.

The paper's numbers for its views stand in its supplement, which is not to be had here; where the released code has one
for the same step, both presets take it. "simsiam" is Table 1's row of that name: the paper's model and training, on
the views that SimSiam was published with.
"""

from __future__ import annotations

from ms2img.deepion.augment import MsiViews, Views
from ms2img.deepion.natural import NaturalViews
from ms2img.deepion.siamese import SiameseConfig
from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig

MODES = ("col", "iso")
NAMES = ("paper", "released", "simsiam")

#: ColorJitter(.8, .8, 0); a 5x5 box at a chance of .5; up to .8 draws of missing pixels; no Poisson noise.
_RELEASED_COL = MsiViews()
#: With Poisson noise of 20 to 200 ions at the brightest pixel (ours: a relative error of 22 to 7 %).
_PAPER_COL = MsiViews(counts_low=20.0, counts_high=200.0)
#: (mode, name) -> views. ISO: "setting the missing ratio of ions proportional to their intensities" (the direction: see
#: `augment.missing_by_intensity`; up to .8 is ours), and the released code's zero below a 10-89 % quantile.
VIEWS: dict[tuple[str, str], Views] = {
    ("col", "paper"): _PAPER_COL,
    ("iso", "paper"): MsiViews(counts_low=20.0, counts_high=200.0, intensity_law="falling"),
    ("col", "released"): _RELEASED_COL,
    ("iso", "released"): MsiViews(intensity_law="quantile"),
    ("col", "simsiam"): NaturalViews(),
}

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
MODELS = {"paper": SiameseConfig(), "released": _BYOL, "simsiam": SiameseConfig()}

#: DeepION, section 3.3: Adam at 3e-4, 100 iterations over the images; as many a batch as the memory holds, so that the
#: batch is the released code's. No validation part: the last epoch is kept.
_PAPER_FIT = FitConfig(epochs=100, batch_size=100, learning_rate=3e-4, keep="last")
#: name -> training; the released code runs 200 epochs.
TRAINING = {
    "paper": _PAPER_FIT,
    "released": FitConfig(epochs=200, batch_size=100, learning_rate=3e-4, keep="last"),
    "simsiam": _PAPER_FIT,
}


def views_of(mode: str, name: str) -> Views:
    """The views of a preset; `UsageError` for one that is not there."""
    if (mode, name) not in VIEWS:
        known = ", ".join(" ".join(pair) for pair in VIEWS)
        raise UsageError(f"views: '{mode} {name}' is no preset; expected one of {known}")
    return VIEWS[mode, name]
