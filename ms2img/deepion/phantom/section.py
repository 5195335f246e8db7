"""The whole phantom in memory: counts of every ion in every pixel, and the truth about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ms2img.deepion.phantom.config import Nuisance, PhantomConfig
from ms2img.deepion.phantom.counts import Counts, count, draw_conditions
from ms2img.deepion.phantom.ions import draw_species
from ms2img.deepion.phantom.regions import draw_atlas
from ms2img.deepion.phantom.truth import truth_table

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Phantom:
    """A SIMULATED section of n ions, rows by ascending m/z."""

    config: PhantomConfig
    mz: npt.NDArray[np.float64]  # [n], Da/charge
    counts: Counts  # [n, H, W], raw; 0 where not measured
    measured: npt.NDArray[np.bool_]  # [H, W]
    truth: pa.Table  # `truth.TRUTH`, row by row the ions of `mz`

    @property
    def missing_share(self) -> npt.NDArray[np.float64]:
        """Of each ion, the share of measured pixels without a count, [n]: how the paper tells noise (section 4.2)."""
        share: npt.NDArray[np.float64] = (self.counts[:, self.measured] == 0).mean(axis=1)
        return share


def make_phantom(config: PhantomConfig, progress: Progress | None = None) -> Phantom:
    """Draw atlas and ions, and count; `progress` is called with (molecules done, molecules in all).

    Of one seed the atlas, the ions and their classes are the same at every difficulty. Raises `UsageError` where the
    range of m/z has no room for so many ions.
    """
    species = draw_species(config)
    truth, order = truth_table(species)
    atlas = draw_atlas(config.height, config.width, config.seed)
    conditions = draw_conditions(atlas, Nuisance.at(config.difficulty), config.seed)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    counts = np.empty((len(order), config.height, config.width), np.uint32)
    done = 0
    for number, one in enumerate(species):
        counts[place[done : done + len(one.mz)]] = count(conditions, one, number, config.seed)
        done += len(one.mz)
        if progress is not None:
            progress(number + 1, len(species))
    return Phantom(config, truth["mz"].to_numpy(), counts, atlas.measured, truth)
