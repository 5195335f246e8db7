"""The work of ``ms2img deepion prepare`` on Ray: spectra by shares, then m/z by groups of windows.

Ray Data deals the tasks out, a block a task, as for conversions (`pipelines.conversion.cluster_work`). It does not do
the regrouping: its own sort would carry every peak through the object store, as a row, and learn the borders that the
bins give us for nothing. A share is sorted where it is read, and a group of windows takes its own part of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ms2img.deepion.pooling import Bins, windows_of
from ms2img.deepion.prepare import (
    GROUP_PEAKS,
    WINDOW_VALUES,
    Plan,
    Survey,
    Written,
    groups_of,
    read_share,
    write_windows,
)
from ms2img.io.storage import Folder
from pipelines.conversion.cluster_work import cluster_cpus, on_workers
from pipelines.deepion.prepare_scratch import Scratch
from pipelines.progress import Steps

GROUPS_A_CPU = 4  # at least, where there are so many windows (ours): no worker waits for the last one for long


def read(plan: Plan, *, quiet: bool) -> Survey:
    """Read the shares that are not there yet; what all of them say. Needs a Ray connection.

    Raises `UsageError` and `JobError` as `read_share`.
    """
    import ray

    survey, there = Survey(len(plan.imzml)), plan.spills.there()
    left = [rows for rows in plan.shares if plan.spills.name_of(rows) not in there]
    with Steps(len(plan.shares), "read", quiet=quiet) as progress:
        for rows in set(plan.shares) - set(left):
            survey.add(plan.spills.read(rows))
        progress.advance(len(plan.shares) - len(left), note=_note(survey))
        for rows in on_workers(left, partial(_read, plan=ray.put(plan))):
            survey.add(plan.spills.read(rows))
            progress.advance(note=_note(survey))
    return survey


def image(plan: Plan, survey: Survey, scratch: Scratch, out: Folder, *, quiet: bool) -> list[Written]:
    """Image the windows that are not imaged yet; all of them, in their order. Needs a Ray connection.

    Raises `JobError` as `write_windows`.
    """
    import ray

    bins = survey.bins(plan.settings)
    windows = windows_of(len(bins), len(plan.imzml), WINDOW_VALUES)
    written = scratch.kept(out)
    peaks = min(GROUP_PEAKS, -(-int(bins.counts.sum()) // (GROUPS_A_CPU * cluster_cpus())))
    work = [
        left
        for group in groups_of(bins, windows, peaks)
        if (left := {number: windows[number] for number in group if number not in written})
    ]
    shared = ray.put((plan, bins, survey.tic))
    with Steps(len(windows), "image", quiet=quiet) as progress:
        progress.advance(len(written), note=f"{len(bins)} bins")
        for done in on_workers(work, partial(_image, shared=shared, scratch=scratch, out=out)):
            written |= done
            progress.advance(len(done), note=f"{len(bins)} bins")
    return [written[number] for number in range(len(windows))]


def _read(rows: range, *, plan: Any) -> range:
    """A task: read a share, whose content waits in the scratch folder."""
    import ray

    read_share(ray.get(plan), rows)
    return rows


def _image(windows: Mapping[int, slice], *, shared: Any, scratch: Scratch, out: Folder) -> dict[int, Written]:
    """A task: image some windows."""
    import ray

    given: tuple[Plan, Bins, np.ndarray] = ray.get(shared)
    plan, bins, tic = given
    written = {}
    for number, window in write_windows(plan, bins, windows, tic, out):
        scratch.keep(number, window)
        written[number] = window
    return written


def _note(survey: Survey) -> str:
    return f"{survey.n_peaks} peaks"
