"""A phantom as ion images at once: what `prepare` makes of its imzML, but for the m/z errors of a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ms2img.deepion import normalise
from ms2img.deepion.images import IonImages
from ms2img.deepion.phantom.section import Phantom
from ms2img.deepion.prepare_settings import PrepareSettings

_VALUES = 1 << 23  # ions x pixels normalised at a time: some 200 MB
_SOURCE = "SIMULATED"


def ion_images(phantom: Phantom, settings: PrepareSettings | None = None) -> tuple[IonImages, npt.NDArray[np.int64]]:
    """The ions present in enough pixels, normalised, and the row of the truth of each.

    settings: presence filter and normalisation; what concerns spectra and bins is not used.
    """
    settings = settings or PrepareSettings()
    mask = phantom.measured
    tic = phantom.counts.sum(axis=0, dtype=np.float64)
    step = max(1, _VALUES // max(1, int(mask.sum())))
    found: list[normalise.Kept] = []
    images: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(phantom.mz), step):
        counts = phantom.counts[start : start + step][:, mask].astype(np.float64)
        kept = normalise.kept(counts, tic[mask], settings)
        spread = np.zeros((len(kept.rows), *mask.shape), np.float32)
        spread[:, mask] = kept.values
        images.append(spread)
        found.append(replace(kept, rows=start + kept.rows, values=np.empty(0)))
    rows = np.concatenate([kept.rows for kept in found])
    pixel = (phantom.config.pixel_um, phantom.config.pixel_um)
    made = IonImages(
        mz=phantom.mz[rows],
        images=np.concatenate(images),
        mask=mask,
        presence=np.concatenate([kept.presence for kept in found]),
        intensity=np.concatenate([kept.intensity for kept in found]),
        tic=tic,
        pixel_size_um=pixel,
        source=_SOURCE,
        polarity=phantom.config.polarity,
        is_simulated=True,
        settings=settings.to_dict(),
    )
    return made, rows
