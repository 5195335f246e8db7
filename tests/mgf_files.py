"""MGF files for tests of conversion: small good ones, and ones that take their time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ms2img.io.sheet import Run
from ms2img.io.storage import status
from ms2img.ms2toimg.convert_group import RunGroup


def spectrum(precursor: float, peaks: Sequence[tuple[float, float]]) -> str:
    lines = "\n".join(f"{mz} {intensity}" for mz, intensity in peaks)
    return f"BEGIN IONS\nPEPMASS={precursor} 1000\nMSLEVEL=2\nSCANS=1\n{lines}\nEND IONS\n"


def good(path: Path, precursor: float = 300.0) -> Path:
    """One spectrum with two peaks."""
    path.write_text(spectrum(precursor, [(120.5, 3.0), (precursor, 9.0)]))
    return path


def slow(path: Path, spectra: int = 2500, peaks: int = 100) -> Path:
    """A file whose reading takes a second or more: long enough to do something to its reader meanwhile."""
    rng = np.random.default_rng(0)
    mz, intensity = rng.uniform(50, 290, (spectra, peaks)), rng.uniform(1, 99, (spectra, peaks))
    with path.open("w") as out:
        for row in range(spectra):
            out.write(spectrum(300 + row / 10, list(zip(mz[row].round(4), intensity[row].round(2), strict=True))))
    return path


def fat(path: Path, peaks: int = 1_800_000) -> Path:
    """A small file that takes a hundred MB to read: one spectrum with a great many peaks."""
    path.write_text("BEGIN IONS\nPEPMASS=300 1000\nMSLEVEL=2\n" + "100 1\n" * peaks + "END IONS\n")
    return path


def run(path: Path, sample_id: str | None = None, **fields: str) -> Run:
    values = {"quant_path": None, "column": None, "format": None, "kind": "sample", "replicate": None, "batch": None}
    name = sample_id or path.stem
    return Run(sample_id=name, path=str(path), accession=name, **{**values, **fields})


def group(*runs: Run) -> RunGroup:
    """Runs of one file (or pair) as they are planned."""
    paths = {path for run in runs for path in (run.path, run.quant_path) if path}
    return RunGroup(runs, {path: status(path) for path in sorted(paths)})


def readers_of(path: Path) -> list[int]:
    """Other processes that have the file open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(handle.readlink() == path for handle in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]
