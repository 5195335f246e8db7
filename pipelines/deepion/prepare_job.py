"""``ms2img deepion prepare``, step by step: look, lease, read and image on Ray, commit, remove the scratch folder.

Up to its last file, ``images.json``, a folder holds no ion images. What a job that was ended leaves, in OUT and in the
scratch folder beside it, the same command goes on from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms2img.deepion.image_folder import IMAGES, MANIFEST_NAME, PIXELS_NAME, Facts
from ms2img.deepion.images import write_images
from ms2img.deepion.imzml import open_imzml
from ms2img.deepion.made import made_of, made_of_files, require_same
from ms2img.deepion.matrix import from_archive, from_matrix
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.location import absolute
from ms2img.io.storage import Folder, folder, is_remote, require_access
from pipelines.deepion.options import height_and_width
from pipelines.deepion.prepare_config import ARCHIVE, IMZML, PrepareConfig
from pipelines.deepion.prepare_scratch import Scratch


@dataclass(frozen=True)
class PrepareSummary:
    """What the folder holds. `was_prepared`: it held it before, and nothing was done."""

    facts: Facts
    fingerprint: str
    output: str
    was_prepared: bool


def prepare(
    config: PrepareConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None
) -> PrepareSummary:
    """Make the ion images ``config.out`` of ``config.source``; the same file and settings are nothing to do.

    `notice` is told what a person should know though all is well.

    Raises `UsageError`, before any work, for a file that is missing or damaged, and for an output that was made
    otherwise or is being written; after it, where no ion is left. `JobError` when the job cannot go on: run it again.
    """
    settings, out = config.settings(), folder(config.out)
    if not is_remote(config.out) and Path(config.out).exists() and not Path(config.out).is_dir():
        raise UsageError(f"{config.out}: is a file; OUT must be a folder")
    require_access(place for place in (config.source, config.peaks, config.out) if place)
    made = _made(config)
    if found := _prepared(out, settings, made, was_prepared=True):
        return found
    _require_ours(out)
    with Lease(out, notice) as lease:
        if found := _prepared(out, settings, made, was_prepared=True):
            return found
        if config.kind() == IMZML:
            _from_imzml(config, settings, made, out, lease, quiet=quiet)
        else:
            _from_arrays(config, settings, made, out, lease)
    summary = _prepared(out, settings, made, was_prepared=False)
    if summary is None:
        raise JobError(f"{out.location}: was removed while it was written")
    return summary


def _from_imzml(
    config: PrepareConfig, settings: PrepareSettings, made: dict[str, Any], out: Folder, lease: Lease, *, quiet: bool
) -> None:
    """The whole way on Ray's workers, from what an ended job may have left."""
    from cluster.connect import connected
    from ms2img.deepion.prepare import SHARE_POINTS, Plan, finish
    from pipelines.deepion.prepare_work import image, read

    imzml = open_imzml(absolute(config.source), section=config.section)  # a worker may stand in another folder
    scratch = Scratch(folder(config.scratch_place()), settings, made, out.location)
    plan = Plan.of(imzml, settings, scratch.spills, SHARE_POINTS)
    try:
        with connected(writes=[out.location, scratch.folder.location]), scratch.for_one_job():
            survey = read(plan, quiet=quiet)
            written = image(plan, survey, scratch, out, quiet=quiet)
            if _made(config) != made:
                raise UsageError(f"{config.source}: was changed while it was read; prepare it when it is whole")
            lease.require()
            finish(out, plan, survey, written, made)
    except JobError as error:
        raise JobError(f"{error}; the same command goes on from what is done") from None


def _from_arrays(
    config: PrepareConfig, settings: PrepareSettings, made: dict[str, Any], out: Folder, lease: Lease
) -> None:
    """In this process: what is a matrix is in memory anyway, and normalising it takes less time than starting Ray."""
    if config.kind() == ARCHIVE:
        ions = from_archive(config.source, settings, is_simulated=config.simulated)
    else:
        shape = height_and_width(config.shape or "")
        ions = from_matrix(config.source, config.peaks or "", shape, settings, is_simulated=config.simulated)
    lease.require()
    write_images(out.location, ions, made)


def _made(config: PrepareConfig) -> dict[str, Any]:
    """What the images follow from besides the settings."""
    if config.kind() == IMZML:
        return made_of(config.source, section=config.section, is_simulated=config.simulated)
    paths = [place for place in (config.source, config.peaks) if place]
    return made_of_files(paths, shape=config.shape, simulated=config.simulated)


def _prepared(
    out: Folder, settings: PrepareSettings, made: dict[str, Any], *, was_prepared: bool
) -> PrepareSummary | None:
    """What a folder of these ion images holds; None where there are none. Raises `UsageError` as `require_same`."""
    manifest = require_same(out, settings.to_dict(), made)
    if manifest is None:
        return None
    return PrepareSummary(Facts.of(manifest["facts"]), manifest["fingerprint"], out.location, was_prepared)


def _require_ours(out: Folder) -> None:
    """Refuse a folder that holds anything but what an ended job has left."""
    ours = (f"{IMAGES}part-", f"{PIXELS_NAME}-", MANIFEST_NAME, LEASE_NAME)
    if foreign := next((name for name in out.names() if not name.startswith(ours)), None):
        raise UsageError(f"{out.location}: not empty and not ion images (it has {foreign}); give OUT a new folder")
