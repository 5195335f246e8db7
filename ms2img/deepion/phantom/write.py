"""A phantom on disk: imzML, truth, its config and a README that says simulated, committed as one folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms2img.deepion.phantom.classes import NAMES as CLASSES
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.imzml import write_imzml
from ms2img.deepion.phantom.section import Phantom, Progress, make_phantom
from ms2img.deepion.phantom.truth import write_truth
from ms2img.errors import UsageError
from ms2img.io.location import is_remote, join
from ms2img.io.storage import Folder, folder

#: Raised by hand when the same config gives another phantom; golden hashes in the tests guard it.
PHANTOM_VERSION = 1

IMZML = "SIMULATED.imzML"
IBD = "SIMULATED.ibd"
TRUTH = "truth.parquet"
RECORD = "phantom.json"
README = "README.txt"
NAMES = {IMZML, IBD, TRUTH, RECORD, README}
_README = """SIMULATED mass-spectrometry image, written by ms2img. No animal, no instrument.

{IMZML}, {IBD}  the measurement: {pixels} spectra of {config.height} x {config.width} pixels of {config.pixel_um:g} um
{TRUTH}  what is true of each of its {config.ions} ions: m/z, class of co-localisation, molecule, isotope
{RECORD}  the settings; equal settings give equal files

Classes: {classes}
Difficulty {config.difficulty:g} (0 bright and clean, 1 mostly missing); {missing:.0%} of all values are missing.
"""


@dataclass(frozen=True)
class PhantomSummary:
    """What `write_phantom` left at `folder`; `unchanged` if an earlier call with the same config had already."""

    folder: str
    ions: int
    molecules: int  # decoys among them
    pixels: int
    missing: float  # share of all values that are 0, 0-1
    unchanged: bool

    @property
    def imzml(self) -> str:
        """The measurement."""
        return join(self.folder, IMZML)

    @property
    def truth(self) -> str:
        """The truth about it."""
        return join(self.folder, TRUTH)


def write_phantom(out: str | Path, config: PhantomConfig, progress: Progress | None = None) -> PhantomSummary:
    """Write imzML, truth, record and README to the folder `out`, local (all at once) or ``s3://`` (the record last).

    `progress` is called with (spectra written, spectra in all). Raises `UsageError`, with nothing written, if `out`
    holds anything but the same phantom; `JobError` when the store is gone.
    """
    place, store = Path(out), folder(str(out))
    if is_remote(str(out)):
        if store.names().keys() - (NAMES - {RECORD}):
            return _earlier(str(out), store, config)
        return _stored(store, make_phantom(config), progress)
    if place.exists() and not place.is_dir():
        raise UsageError(f"{out}: is a file; name a new folder for the phantom")
    if place.is_dir() and any(place.iterdir()):
        return _earlier(str(out), store, config)
    phantom = make_phantom(config)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as workplace:
        made = Path(workplace, "phantom")
        counts = _write(made, phantom, progress)
        made.replace(place)  # also over an empty folder; in one step
    return PhantomSummary(str(out), **counts, unchanged=False)


def _stored(store: Folder, phantom: Phantom, progress: Progress | None) -> PhantomSummary:
    """Made here and copied, over what an interrupted call may have left: files without a record."""
    with tempfile.TemporaryDirectory(prefix="ms2img-") as workplace:
        made = Path(workplace, "phantom")
        counts = _write(made, phantom, progress)
        for name in sorted(NAMES, key=lambda name: name == RECORD):
            store.write(name, (made / name).read_bytes())
    return PhantomSummary(store.location, **counts, unchanged=False)


def _write(made: Path, phantom: Phantom, progress: Progress | None) -> dict[str, Any]:
    made.mkdir()
    write_imzml(made / IMZML, phantom, progress)
    write_truth(made / TRUTH, phantom.truth)
    counts = {
        "ions": len(phantom.mz),
        "molecules": len(phantom.truth["envelope"].unique()),
        "pixels": int(phantom.measured.sum()),
        "missing": float(phantom.missing_share.mean()),
    }
    names = {"IMZML": IMZML, "IBD": IBD, "TRUTH": TRUTH, "RECORD": RECORD}
    text = _README.format(config=phantom.config, classes=", ".join(CLASSES), **names, **counts)
    (made / README).write_text(text, encoding="utf-8")
    record = {"simulated": True, **_identity(phantom.config), "counts": counts}
    (made / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return counts


def _identity(config: PhantomConfig) -> dict[str, Any]:
    return {"phantom_version": PHANTOM_VERSION, "config": config.to_dict()}


def _earlier(out: str, store: Folder, config: PhantomConfig) -> PhantomSummary:
    record = _read_record(out, store)
    wanted = {**config.to_dict(), "phantom_version": PHANTOM_VERSION}
    found = {**record["config"], "phantom_version": record["phantom_version"]}
    for key, value in wanted.items():
        if found.get(key) != value:
            raise UsageError(f"{out}: holds a phantom with {key} {found.get(key)!r}, not {value!r}; name a new folder")
    missing = next((name for name in (IMZML, IBD, TRUTH) if name not in store.names()), None)
    if missing is not None:
        raise UsageError(f"{out}: {missing} of the phantom is gone; remove the folder and simulate again")
    return PhantomSummary(out, **record["counts"], unchanged=True)


def _read_record(out: str, store: Folder) -> Mapping[str, Any]:
    keys = {"config", "phantom_version", "counts"}
    try:
        record = json.loads(store.read(RECORD) or b"")
    except ValueError:
        record = None
    if not isinstance(record, dict) or not record.keys() >= keys:
        raise UsageError(f"{out}: is not empty and holds no phantom; name a new folder")
    return record
