"""From where an ion is to what the detector counted there: batches of lines, edges, hot spots, Poisson, dropouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ms2img.deepion.phantom.classes import CLASSES, NAMES, pattern
from ms2img.deepion.phantom.config import Nuisance, Stage, stream
from ms2img.deepion.phantom.ions import Species
from ms2img.deepion.phantom.regions import Atlas
from ms2img.deepion.phantom.shapes import Field, waves

Counts = npt.NDArray[np.uint32]

_BATCHES = 6  # groups of lines measured in one go
_OWN_STRIPES = 0.5  # of the stripes' depth: how far one molecule's differ from those all share
_HOT_ODDS = 0.5  # that a molecule is hot in a hot pixel
_HOT_GAIN = (10.0, 0.5)  # median, and standard deviation of its ln
FAINT = 3.0  # counts at which the chance to go missing has fallen by e


@dataclass(frozen=True)
class Conditions:
    """What all ions of one section share."""

    atlas: Atlas
    nuisance: Nuisance
    gain: Field  # [H, W], of the batches of lines and of the tissue's edge
    batch: npt.NDArray[np.int64]  # [H], number of the batch of each line
    hot: npt.NDArray[np.bool_]  # [H, W]


def draw_conditions(atlas: Atlas, nuisance: Nuisance, seed: int) -> Conditions:
    """The conditions that belong to `seed`, at any difficulty from the same random numbers."""
    height, width = atlas.measured.shape
    random = stream(seed, Stage.SECTION)
    batch = np.arange(height) * _BATCHES // height
    lines = np.exp(nuisance.stripes * random.normal(size=_BATCHES))[batch]
    gain = lines[:, None] * (1.0 + nuisance.edge * atlas.parts["rim"])
    hot = random.random((height, width)) < nuisance.hot_pixels
    return Conditions(atlas, nuisance, gain, batch, hot)


def expectation(conditions: Conditions, species: Species, place: int, seed: int) -> Field:
    """Expected counts of a species' highest peak, background left out: [H, W].

    place: the species' number in the section; its isotopes share all that is drawn here.
    """
    random = stream(seed, Stage.PATTERN, place)
    nuisance, parts = conditions.nuisance, conditions.atlas.parts
    weights = {part: float(np.exp(nuisance.variation * random.normal())) for part in CLASSES[NAMES[species.label]]}
    height, width = conditions.hot.shape
    y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    texture = np.exp(0.5 * nuisance.variation * waves(x, y, random))
    own = np.exp(_OWN_STRIPES * nuisance.stripes * random.normal(size=_BATCHES))[conditions.batch]
    heat = np.exp(np.log(_HOT_GAIN[0]) + _HOT_GAIN[1] * random.normal(size=conditions.hot.shape))
    is_hot = conditions.hot & (random.random(conditions.hot.shape) < _HOT_ODDS)
    shape = pattern(species.label, parts, weights) * texture * own[:, None] * conditions.gain
    return nuisance.counts * species.brightness * np.where(is_hot, heat, 1.0) * shape


def count(conditions: Conditions, species: Species, place: int, seed: int) -> Counts:
    """Counts of each of a species' k peaks: [k, H, W], 0 where nothing was measured."""
    rate = expectation(conditions, species, place, seed)
    random = stream(seed, Stage.COUNTS, place)
    mean = species.abundance[:, None, None] * rate + conditions.nuisance.background
    counted = random.poisson(mean)
    missing = random.random(counted.shape) < missing_odds(counted, conditions.nuisance.dropout)
    return np.where(missing | ~conditions.atlas.measured, 0, counted).astype(np.uint32)


def missing_odds(counted: npt.NDArray[np.int64], dropout: float) -> Field:
    """Probability that a signal of so many counts goes missing: `dropout` near 0 counts, none when bright."""
    return dropout * np.exp(-counted / FAINT)
