"""Sample sheets over many run files for the benchmarks of conversion, without many gigabytes on the disk."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from bench.cohort import SHARED
from ms2img.io.sheet import Run, Sheet


def real_runs() -> tuple[Run, ...]:
    """The 98 runs of the qemistree sheet: MGF files of 0.004 to 0.97 MB, half of them above 0.43 MB."""
    return Sheet.read(SHARED / "data" / "qemistree" / "samples.csv").runs


def linked_sheet(folder: Path, n_runs: int, sources: Sequence[str] | None = None) -> Path:
    """A sheet of `n_runs` runs below `folder`: each a file by name, a hard link to one of `sources` in turn.

    A link costs no disk, yet is opened, hashed, parsed and drawn as any file.
    """
    sources = sources or [run.path for run in real_runs()]
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [_copied(Path(source), folder / "seeds") for source in sources]
    rows = []
    for index in range(n_runs):
        seed = seeds[index % len(seeds)]
        name = f"run-{index:06d}{''.join(seed.suffixes[-2:])}"
        (folder / name).unlink(missing_ok=True)
        os.link(seed, folder / name)
        rows.append((f"run-{index:06d}", name))
    sheet = folder / f"samples-{n_runs}.csv"
    with sheet.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("sample_id", "path"))
        writer.writerows(rows)
    return sheet


def _copied(source: Path, folder: Path) -> Path:
    """The source beside its links, since a hard link cannot leave its file system."""
    folder.mkdir(exist_ok=True)
    target = folder / source.name
    if not target.exists():
        target.write_bytes(source.read_bytes())
    return target
