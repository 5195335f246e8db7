"""Giving a file's content to its reader as a job would, with what comes out checked."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from fuzz import seeds
from fuzz.contract import COLUMNS, check_line, check_spectra
from ms2img.errors import RunError
from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.sheet import FORMATS, Run

SOUND = {name: inputs[0] for name, inputs in seeds.SEEDS.items() if name in FORMATS}
XML = ("mzml", "mzxml")
TEXT = tuple(name for name in SOUND if name not in XML)


def outcome(path: Path | str, *, column: str | None = None, **more: str | None) -> RunSpectra | RunError:
    """What a run of a sheet that names this file gives; the format is sniffed unless it is named."""
    fields = {"quant_path": None, "format": None, "replicate": None, "batch": None, **more}
    run = Run(sample_id="a", path=str(path), column=column, kind="sample", accession="a", **fields)
    ((_, result),) = read_runs([run])
    if isinstance(result, RunError):
        check_line(result.message)
    else:
        check_spectra(result.table, "a")
    return result


def read(folder: Path, format_name: str, content: bytes, *, name: str = "run", **more: str | None) -> pa.Table | str:
    """The spectra of a file with this content, or the code of its refusal."""
    path = folder / name
    path.write_bytes(content)
    column = next(iter(COLUMNS.get(format_name, ())), None)
    result = outcome(path, column=column, **more)
    return str(result.code) if isinstance(result, RunError) else result.table
