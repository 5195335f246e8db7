"""The study wherever it is asked for: in a local folder, or made in one and copied to an object store."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from ms2img.errors import UsageError
from ms2img.io.location import is_remote, join
from ms2img.io.storage import folder
from ms2img.ms2toimg.simulation import write
from ms2img.ms2toimg.simulation.config import SimulationConfig
from ms2img.ms2toimg.simulation.study import (
    RECORD,
    Progress,
    StudySummary,
    data_files,
    earlier_study,
    write_study,
)

_BESIDE = {"README.txt", "config.yaml"}  # what lies with the data


def store_study(out: str, config: SimulationConfig, progress: Progress | None = None) -> StudySummary:
    """`write_study` to a local folder or an ``s3://bucket/key``; there the record is copied last.

    Files without a record are what an interrupted call has copied: it is begun anew over them. Raises `UsageError`
    as `write_study`, `JobError` when the store is gone.
    """
    if not is_remote(out):
        return write_study(Path(out), config, progress)
    store = folder(out)
    present = store.names()
    if RECORD in present:
        return earlier_study(out, config, store.read(RECORD), present.__contains__)
    stranger = next((name for name in present if name not in data_files(config) | _BESIDE), None)
    if stranger is not None:
        raise UsageError(f"{out}: is not empty ({stranger}) and holds no simulated study; name a new folder")
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        made = Path(scratch) / "study"
        summary = write_study(made, config, progress)
        names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
        for name in sorted(names, key=lambda name: name == RECORD):
            store.write(name, (made / name).read_bytes())
    return replace(summary, output=out, sheet=join(out, write.SHEET_NAME))
