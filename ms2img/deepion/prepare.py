"""An imzML file to ion images: the stages, pure enough to be dealt to workers, and all of them in one process.

    spectra --read_share--> peaks + counts --Survey--> bins --write_windows, some windows at a time--> ion images

A share's peaks are spilled to a scratch folder in the order of m/z, so that a window of bins reads its own part of
every share, and neither spectra nor peaks of a whole file are ever in memory.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2img.deepion import normalise
from ms2img.deepion.image_folder import Facts, Part, commit, write_part
from ms2img.deepion.imzml import Imzml, open_imzml
from ms2img.deepion.imzml_index import COLUMNS
from ms2img.deepion.made import made_of
from ms2img.deepion.peaks import Peaks, is_profile, read_peaks
from ms2img.deepion.pooling import (
    Bins,
    CellCounts,
    choose_bins,
    count_cells,
    in_bins,
    merge_counts,
    pool,
    ranges_of,
    windows_of,
)
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.deepion.spill import Share, Spills
from ms2img.errors import UsageError
from ms2img.io.storage import Folder, folder

SHARE_POINTS = 1 << 22  # points of spectra a share (ours): some 350 MB while it is sorted
WINDOW_VALUES = 1 << 23  # bins x spectra a window (ours): some 400 MB while it is normalised
GROUP_PEAKS = 1 << 23  # peaks of the windows that are imaged together (ours): 128 MB, so that shares are opened rarely
READS_AT_ONCE = 4  # shares that are read at a time (ours): an object store answers after a while


class Survey:
    """What all shares together say, added up in any order: where peaks are, and each spectrum's total ion count.

    tic: float64 [n], of every spectrum. n_peaks: of all.
    """

    def __init__(self, n_spectra: int) -> None:
        self.tic = np.zeros(n_spectra)
        self.n_peaks = 0
        self._counted = CellCounts(np.empty(0, np.int64), np.empty(0, np.int64))
        self._waiting: list[CellCounts] = []

    def add(self, share: Share) -> None:
        """Take a share into account."""
        self.tic[share.rows.start : share.rows.stop] = share.tic
        self.n_peaks += share.n_peaks
        self._waiting.append(share.counts)
        # Merged when as much is new as was there: each count is sorted a few times, not once a share.
        if sum(len(each.cells) for each in self._waiting) >= len(self._counted.cells):
            self._merge()

    def bins(self, settings: PrepareSettings) -> Bins:
        """The bins that the shares so far ask for: those that may have enough peaks for `min_presence`."""
        self._merge()
        share = settings.min_presence * (1 - 1e-12)  # 0.1 of 30 is no more than 3, whatever it is rounded to
        least = max(1, math.ceil(share * len(self.tic)))
        return choose_bins(self._counted, ppm=settings.ppm, min_count=least)

    def _merge(self) -> None:
        self._counted = merge_counts([self._counted, *self._waiting])
        self._waiting = []


@dataclass(frozen=True, eq=False)
class Plan:
    """What every stage of a preparation knows: the file, the settings, its shares, and where they wait."""

    imzml: Imzml
    settings: PrepareSettings
    spills: Spills
    shares: list[range]

    @classmethod
    def of(cls, imzml: Imzml, settings: PrepareSettings, spills: Spills, most: int = SHARE_POINTS) -> Plan:
        """Cut the spectra into shares of at most `most` stored points, or one spectrum.

        Raises `UsageError` where the file does not say whether its peaks are to be picked, and the settings neither.
        """
        is_profile(imzml, settings.spectra)
        return cls(imzml, settings, spills, ranges_of(imzml.numbers[:, COLUMNS.index("length")], most))


@dataclass(frozen=True, eq=False)
class Ions:
    """The ion images of a window: as in `IonImages`, and how many bins were left out as too rare or flat."""

    mz: np.ndarray
    presence: np.ndarray
    intensity: np.ndarray
    images: np.ndarray
    n_rare: int
    n_flat: int


@dataclass(frozen=True)
class Written:
    """A window that is in the folder: its part (None where no ion was left), and what was left out."""

    part: Part | None
    n_rare: int
    n_flat: int


def read_share(plan: Plan, rows: range) -> Share:
    """Read the spectra of a share and keep it. Raises `UsageError` as `read_peaks`, `JobError` as `Spills`."""
    profile = is_profile(plan.imzml, plan.settings.spectra)
    peaks, tic = read_peaks(plan.imzml, rows, profile=profile, min_snr=plan.settings.min_snr)
    share = Share(rows, count_cells(peaks.mz, plan.settings.ppm), tic, len(peaks))
    plan.spills.write(share, peaks)
    return share


def groups_of(bins: Bins, windows: Sequence[slice], most: int = GROUP_PEAKS) -> list[range]:
    """The numbers of the windows that are imaged together: at most `most` peaks of their bins, or one window."""
    return ranges_of(np.array([bins.counts[window].sum() for window in windows], np.int64), most)


def gathered(plan: Plan, bins: Bins) -> list[Peaks]:
    """The peaks of some bins, from every share: as many as the bins count."""

    def of(rows: range) -> Peaks:
        found = [in_bins(peaks, bins) for peaks in plan.spills.peaks(rows, *bins.span)]
        columns = ([getattr(each, name) for each in found] for name in ("mz", "intensity", "pixel"))
        return Peaks(*(np.concatenate(column) if column else np.empty(0) for column in columns))

    with ThreadPoolExecutor(READS_AT_ONCE) as threads:
        return [peaks for peaks in threads.map(of, plan.shares) if len(peaks)]


def ions_of(imzml: Imzml, peaks: Iterable[Peaks], window: Bins, tic: np.ndarray, settings: PrepareSettings) -> Ions:
    """The ion images of some bins: pooled from the peaks of all shares, filtered, normalised, on the grid of pixels."""
    pooled = pool(peaks, window, len(imzml))
    kept = normalise.kept(pooled.intensity, tic, settings)
    images = imzml.grid.spread(kept.values.astype(np.float32))
    return Ions(pooled.mz[kept.rows], kept.presence, kept.intensity, images, kept.n_rare, kept.n_flat)


def write_windows(
    plan: Plan, bins: Bins, windows: Mapping[int, slice], tic: np.ndarray, out: Folder
) -> Iterator[tuple[int, Written]]:
    """Image some windows of the bins, by number, and write each as a part of a folder.

    Raises `JobError` when a disk is full, the store gone, or a share was removed.
    """
    ends = [(window.start, window.stop) for window in windows.values()]
    peaks = gathered(plan, bins[min(ends)[0] : max(ends)[1]])
    for number, window in windows.items():
        ions = ions_of(plan.imzml, peaks, bins[window], tic, plan.settings)
        columns = (ions.mz, ions.presence, ions.intensity, ions.images)
        part = write_part(out, number, *columns, plan.imzml.source) if len(ions.mz) else None
        yield number, Written(part, ions.n_rare, ions.n_flat)


def facts_of(plan: Plan, survey: Survey, written: Sequence[Written], *, is_simulated: bool = False) -> Facts:
    """What is said of the whole set: where it comes from, the settings, and the counts on the way.

    Raises `UsageError` where no ion is left, with what was there.
    """
    imzml, settings = plan.imzml, plan.settings
    counts = {
        "pixels": len(imzml),
        "peaks": survey.n_peaks,
        "rare": sum(each.n_rare for each in written),
        "flat": sum(each.n_flat for each in written),
        "ions": sum(each.part.n_rows for each in written if each.part is not None),
    }
    if not counts["ions"]:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        needed = f"min_presence {settings.min_presence:g} at ppm {settings.ppm:g}"
        raise UsageError(f"{imzml.path}: no ion image is left by {needed} ({found})")
    header, is_simulated = imzml.header, imzml.is_simulated or is_simulated
    return Facts(header.pixel_size_um, imzml.source, header.polarity, is_simulated, settings.to_dict(), counts)


def finish(out: Folder, plan: Plan, survey: Survey, written: Sequence[Written], made: Mapping[str, Any]) -> str:
    """Commit all windows, in their order, to the folder; the fingerprint. Raises `UsageError` as `facts_of`."""
    facts = facts_of(plan, survey, written, is_simulated=made["simulated"])
    parts = [each.part for each in written if each.part is not None]
    grid = plan.imzml.grid
    return commit(out, parts, grid.mask, grid.spread(survey.tic), facts, made)


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

    section: see `open_imzml`. is_simulated: that the data is made up, where the file does not say so. scratch: a folder
    with room for 16 bytes a peak; left out, the system's. watch: told the stage, how many steps of it are done, and of
    how many.

    Raises `UsageError` as `open_imzml` and `read_peaks`, and where no ion is left; `JobError` when a disk is full.
    """
    made = made_of(path, section=section, is_simulated=is_simulated)
    imzml = open_imzml(path, section=section)
    target, survey = folder(str(out)), Survey(len(imzml))
    with tempfile.TemporaryDirectory(dir=scratch, prefix="ms2img-peaks-") as place:
        plan = Plan.of(imzml, settings, Spills(folder(place)))
        for done, rows in enumerate(plan.shares, start=1):
            survey.add(read_share(plan, rows))
            watch("reading", done, len(plan.shares))
        bins = survey.bins(settings)
        windows = windows_of(len(bins), len(imzml), WINDOW_VALUES)
        written: dict[int, Written] = {}
        for group in groups_of(bins, windows):
            asked = {number: windows[number] for number in group}
            for number, one in write_windows(plan, bins, asked, survey.tic, target):
                written[number] = one
                watch("imaging", len(written), len(windows))
    return finish(target, plan, survey, list(written.values()), made)
