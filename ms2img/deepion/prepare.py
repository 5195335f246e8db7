"""An imzML file to ion images: the stages, pure enough to be dealt to workers, and all of them in one process.

    spectra --read_share--> peaks + counts --choose_bins--> bins --ions_of, a window at a time--> ion images

A share's peaks are spilled to a scratch folder in the order of m/z, so that a window of bins reads its own part of
every share, and neither spectra nor peaks of a whole file are ever in memory.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms2img.deepion import normalise
from ms2img.deepion.image_folder import Facts, Part, commit, write_part
from ms2img.deepion.imzml import Imzml, open_imzml
from ms2img.deepion.imzml_index import COLUMNS
from ms2img.deepion.peaks import Peaks, is_profile, read_peaks, spill, spilled
from ms2img.deepion.pooling import Bins, CellCounts, choose_bins, count_cells, merge_counts, pool, ranges_of, windows_of
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.errors import UsageError
from ms2img.io.storage import Folder, folder

SHARE_POINTS = 1 << 23  # points of spectra a share (ours): some 400 MB while it is sorted
WINDOW_VALUES = 1 << 23  # bins x spectra a window (ours): some 400 MB while it is normalised


@dataclass(frozen=True, eq=False)
class Share:
    """What is known of some spectra once they are read: their peaks' file, the counts, total ion counts [len(rows)]."""

    rows: range
    peaks: Path
    counts: CellCounts
    tic: np.ndarray
    n_peaks: int


@dataclass(frozen=True, eq=False)
class Ions:
    """The ion images of a window: as in `IonImages`, and how many bins were left out as too rare or flat."""

    mz: np.ndarray
    presence: np.ndarray
    images: np.ndarray
    n_rare: int
    n_flat: int


@dataclass(frozen=True)
class Written:
    """A window that is in the folder: its part (None where no ion was left), and what was left out."""

    part: Part | None
    n_rare: int
    n_flat: int


def shares_of(imzml: Imzml, most: int = SHARE_POINTS) -> list[range]:
    """The spectra of each share, by their stored points."""
    return ranges_of(imzml.numbers[:, COLUMNS.index("length")], most)


def read_share(imzml: Imzml, rows: range, settings: PrepareSettings, scratch: Path) -> Share:
    """Read some spectra; their peaks go to a file of the scratch folder. Raises `UsageError` as `read_peaks`."""
    profile = is_profile(imzml, settings.spectra)
    peaks, tic = read_peaks(imzml, rows, profile=profile, min_snr=settings.min_snr)
    path = scratch / f"peaks-{rows.start:09d}.arrow"
    spill(path, peaks)
    return Share(rows, path, count_cells(peaks.mz, settings.ppm), tic, len(peaks))


def bins_of(shares: Sequence[Share], settings: PrepareSettings) -> Bins:
    """The bins that all shares together ask for: those that may have enough peaks for `min_presence`."""
    share = settings.min_presence * (1 - 1e-12)  # 0.1 of 30 is no more than 3, whatever it is rounded to
    least = max(1, math.ceil(share * sum(len(each.rows) for each in shares)))
    return choose_bins(merge_counts(each.counts for each in shares), ppm=settings.ppm, min_count=least)


def tic_of(shares: Sequence[Share]) -> np.ndarray:
    """The total ion count, float64 [n], of every spectrum."""
    return np.concatenate([share.tic for share in sorted(shares, key=lambda share: share.rows.start)])


def ions_of(imzml: Imzml, peaks: Iterable[Peaks], window: Bins, tic: np.ndarray, settings: PrepareSettings) -> Ions:
    """The ion images of some bins: pooled from the peaks of all shares, filtered, normalised, on the grid of pixels."""
    pooled = pool(peaks, window, len(imzml))
    seen = normalise.presence(pooled.intensity)
    common = (seen >= settings.min_presence) & (seen > 0)
    values, flat = normalise.scaled(pooled.intensity[common], tic, settings)
    images = imzml.grid.spread(values[~flat].astype(np.float32))
    return Ions(
        pooled.mz[common][~flat], seen[common][~flat], images, n_rare=int((~common).sum()), n_flat=int(flat.sum())
    )


def write_ions(out: Folder, number: int, ions: Ions, source: str) -> Written:
    """Write the ion images of a window as a part of a folder."""
    part = write_part(out, number, ions.mz, ions.presence, ions.images, source) if len(ions.mz) else None
    return Written(part, ions.n_rare, ions.n_flat)


def facts_of(
    imzml: Imzml, settings: PrepareSettings, shares: Sequence[Share], written: Sequence[Written], *, is_simulated: bool
) -> Facts:
    """What is said of the whole set: where it comes from, the settings, and the counts on the way."""
    counts = {
        "pixels": len(imzml),
        "peaks": sum(share.n_peaks for share in shares),
        "rare": sum(each.n_rare for each in written),
        "flat": sum(each.n_flat for each in written),
        "ions": sum(each.part.n_rows for each in written if each.part is not None),
    }
    header = imzml.header
    return Facts(header.pixel_size_um, imzml.source, header.polarity, is_simulated, settings.to_dict(), counts)


def require_ions(path: str, facts: Facts) -> None:
    """Raises `UsageError` where no ion is left, with what was there."""
    if not facts.counts["ions"]:
        found = ", ".join(f"{count} {name}" for name, count in facts.counts.items())
        needed = f"min_presence {facts.settings['min_presence']:g} at ppm {facts.settings['ppm']:g}"
        raise UsageError(f"{path}: no ion image is left by {needed} ({found})")


def prepare(
    path: str,
    out: str | Path,
    settings: PrepareSettings,
    *,
    section: int | None = None,
    is_simulated: bool = False,
    scratch: str | Path | None = None,
    watch: Callable[[str, int, int], None] = lambda stage, done, of: None,
) -> str:
    """Make the ion images of an imzML file in this process, into a folder; their fingerprint.

    section: see `open_imzml`. scratch: a folder with room for 16 bytes a peak; left out, the system's. watch: told the
    stage, how many steps of it are done, and of how many.

    Raises `UsageError` as `open_imzml` and `read_peaks`, and where no ion is left; `JobError` when a disk is full.
    """
    imzml = open_imzml(path, section=section)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="ms2img-peaks-") as spills:
        ranges = shares_of(imzml)
        shares = []
        for rows in ranges:
            shares.append(read_share(imzml, rows, settings, Path(spills)))
            watch("reading", len(shares), len(ranges))
        bins, tic, target = bins_of(shares, settings), tic_of(shares), folder(str(out))
        windows = windows_of(len(bins), len(imzml), WINDOW_VALUES)
        written = []
        for number, window in enumerate(windows):
            peaks = (spilled(share.peaks) for share in shares)
            ions = ions_of(imzml, peaks, bins[window], tic, settings)
            written.append(write_ions(target, number, ions, imzml.source))
            watch("imaging", number + 1, len(windows))
    parts = [each.part for each in written if each.part is not None]
    facts = facts_of(imzml, settings, shares, written, is_simulated=is_simulated)
    require_ions(path, facts)
    return commit(target, parts, imzml.grid.mask, imzml.grid.spread(tic), facts)
