"""Ion images in memory, and the folder that keeps them.

Layout of the folder, local or ``s3://``::

    OUT/images/part-00000-<content>.parquet   rows sorted by m/z, schema `ms2img.deepion.tables.ion_images_schema`
    OUT/pixels-<content>.parquet              one row a measured pixel, schema `ms2img.deepion.tables.PIXELS`
    OUT/images.json                           written last and at once: the commit
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ms2img.deepion.image_folder import Facts, commit, parts_of, read_folder, write_part
from ms2img.io.storage import folder


@dataclass(frozen=True, eq=False)
class IonImages:
    """The ion images of one section, rows sorted by m/z.

    mz: float64 [n], Da / charge, ascending. images: float32 [n, H, W] in 0-1; 0 where `mask` is False.
    mask: bool [H, W], the measured pixels. presence: float64 [n], share of them with signal; left out, it is the share
    of pixels above 0. intensity: float64 [n], mean over them before the ion's own scaling (see `tables`); left out, the
    mean of the image as it is. tic: float64 [H, W], total ion count, 0 outside of the mask; None when not known.
    pixel_size_um: (x, y). source: the file's name. polarity: "positive" | "negative". settings: how the images were
    made. counts: of pixels, peaks and ions on the way.

    Raises `ValueError` for arrays that do not fit together.
    """

    mz: np.ndarray
    images: np.ndarray
    mask: np.ndarray
    presence: np.ndarray = field(default_factory=lambda: np.empty(0))
    intensity: np.ndarray = field(default_factory=lambda: np.empty(0))
    tic: np.ndarray | None = None
    pixel_size_um: tuple[float, float] | None = None
    source: str = ""
    polarity: str | None = None
    is_simulated: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        n, shape = len(self.mz), self.mask.shape
        if self.images.shape != (n, *shape) or self.mask.ndim != 2:
            raise ValueError(f"images {self.images.shape} do not fit {n} m/z values and a mask {shape}")
        if self.images.dtype != np.float32 or self.mask.dtype != bool:
            raise ValueError(f"expected float32 images and a bool mask, found {self.images.dtype}, {self.mask.dtype}")
        if np.any(np.diff(self.mz) < 0):
            raise ValueError("m/z values are to be ascending")
        if self.tic is not None and self.tic.shape != shape:
            raise ValueError(f"total ion counts {self.tic.shape} do not fit a mask {shape}")
        if not len(self.presence):
            object.__setattr__(self, "presence", shown(self.images, self.mask))
        elif self.presence.shape != (n,):
            raise ValueError(f"presence {self.presence.shape} does not fit {n} m/z values")
        if not len(self.intensity):
            object.__setattr__(self, "intensity", self.images[:, self.mask].mean(axis=1, dtype=np.float64))
        elif self.intensity.shape != (n,):
            raise ValueError(f"intensity {self.intensity.shape} does not fit {n} m/z values")

    def __len__(self) -> int:
        return len(self.mz)

    def nearest(self, mz: float) -> int:
        """The row whose m/z is nearest to `mz`; of two as near, the lower one."""
        return int(np.argmin(np.abs(self.mz - mz)))


def shown(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share of measured pixels above 0, float64 [n], of images [n, H, W]."""
    return (images[:, mask] > 0).sum(axis=1) / max(1, int(mask.sum()))


def write_images(place: str | Path, ions: IonImages, made: Mapping[str, Any] | None = None) -> str:
    """Write ion images into a folder, in place of those that are there, at once; their fingerprint.

    made: see `ms2img.deepion.image_folder.commit`.
    Raises `ValueError` for no ions, `UsageError` where the folder cannot be written, `JobError` when the disk is full.
    """
    out = folder(str(place))
    parts = [
        write_part(
            out, number, ions.mz[rows], ions.presence[rows], ions.intensity[rows], ions.images[rows], ions.source
        )
        for number, rows in enumerate(parts_of(len(ions), ions.images[0].size if len(ions) else 1))
    ]
    facts = Facts(
        pixel_size_um=ions.pixel_size_um,
        source=ions.source,
        polarity=ions.polarity,
        is_simulated=ions.is_simulated,
        settings=dict(ions.settings),
        counts=dict(ions.counts),
    )
    return commit(out, parts, ions.mask, ions.tic, facts, made)


def read_images(place: str | Path) -> IonImages:
    """The ion images kept in a folder, local or ``s3://``.

    Raises `UsageError`, one line, for a folder that holds none, and for one whose files are not those it was committed
    with.
    """
    found = read_folder(folder(str(place)))
    facts = found.facts
    return IonImages(
        mz=found.mz,
        images=found.images,
        mask=found.mask,
        presence=found.presence,
        intensity=found.intensity,
        tic=found.tic,
        pixel_size_um=facts.pixel_size_um,
        source=facts.source,
        polarity=facts.polarity,
        is_simulated=facts.is_simulated,
        settings=facts.settings,
        counts=facts.counts,
        fingerprint=found.fingerprint,
    )
