"""A phantom on disk: imzML, truth, its config and a README that says simulated, committed as one folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms2img.deepion.phantom.classes import NAMES
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.imzml import write_imzml
from ms2img.deepion.phantom.section import Phantom, Progress, make_phantom
from ms2img.deepion.phantom.truth import write_truth
from ms2img.errors import UsageError

#: Raised by hand when the same config gives another phantom; golden hashes in the tests guard it.
PHANTOM_VERSION = 1

IMZML = "SIMULATED.imzML"
IBD = "SIMULATED.ibd"
TRUTH = "truth.parquet"
RECORD = "phantom.json"
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
    def imzml(self) -> Path:
        """The measurement."""
        return Path(self.folder) / IMZML

    @property
    def truth(self) -> Path:
        """The truth about it."""
        return Path(self.folder) / TRUTH


def write_phantom(out: Path, config: PhantomConfig, progress: Progress | None = None) -> PhantomSummary:
    """Write imzML, truth, record and README to the local folder `out`, all at once.

    `progress` is called with (spectra written, spectra in all). Raises `UsageError`, with nothing written, if `out`
    holds anything but the same phantom.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; name a new folder for the phantom")
    if out.is_dir() and any(out.iterdir()):
        return _earlier(out, config)
    phantom = make_phantom(config)
    out.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        folder = workplace / "phantom"
        folder.mkdir()
        counts = _write(folder, phantom, progress)
        folder.replace(out)  # also over an empty folder; in one step
    finally:
        shutil.rmtree(workplace)
    return PhantomSummary(str(out), **counts, unchanged=False)


def _write(folder: Path, phantom: Phantom, progress: Progress | None) -> dict[str, Any]:
    write_imzml(folder / IMZML, phantom, progress)
    write_truth(folder / TRUTH, phantom.truth)
    counts = {
        "ions": len(phantom.mz),
        "molecules": len(phantom.truth["envelope"].unique()),
        "pixels": int(phantom.measured.sum()),
        "missing": float(phantom.missing_share.mean()),
    }
    names = {"IMZML": IMZML, "IBD": IBD, "TRUTH": TRUTH, "RECORD": RECORD}
    text = _README.format(config=phantom.config, classes=", ".join(NAMES), **names, **counts)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    record = {"simulated": True, **_identity(phantom.config), "counts": counts}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return counts


def _identity(config: PhantomConfig) -> dict[str, Any]:
    return {"phantom_version": PHANTOM_VERSION, "config": config.to_dict()}


def _earlier(out: Path, config: PhantomConfig) -> PhantomSummary:
    record = _read_record(out)
    wanted = {**config.to_dict(), "phantom_version": PHANTOM_VERSION}
    found = {**record["config"], "phantom_version": record["phantom_version"]}
    for key, value in wanted.items():
        if found.get(key) != value:
            raise UsageError(f"{out}: holds a phantom with {key} {found.get(key)!r}, not {value!r}; name a new folder")
    missing = next((name for name in (IMZML, IBD, TRUTH) if not (out / name).is_file()), None)
    if missing is not None:
        raise UsageError(f"{out}: {missing} of the phantom is gone; remove the folder and simulate again")
    return PhantomSummary(str(out), **record["counts"], unchanged=True)


def _read_record(out: Path) -> Mapping[str, Any]:
    keys = {"config", "phantom_version", "counts"}
    try:
        record = json.loads((out / RECORD).read_bytes())
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or not record.keys() >= keys:
        raise UsageError(f"{out}: is not empty and holds no phantom; name a new folder")
    return record
