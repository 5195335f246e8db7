"""What holds for any bytes whatever: a sound table or a named refusal; nothing else comes out of a reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from fuzz.seeds import PAIR_MARK, QUANT
from ms2img.errors import Code, RunError, UsageError
from ms2img.io.read import read_runs, sniff
from ms2img.io.schema import SPECTRA
from ms2img.io.sheet import FORMATS, Run, Sheet

TABLE = "table"
# What a file's content may never be called: these say that something else went wrong.
NOT_OF_CONTENT = {Code.NOT_FOUND, Code.STORAGE, Code.TIME_LIMIT, Code.MEMORY_LIMIT, Code.CRASHED, Code.INTERNAL}
COLUMNS = {
    "msdial-alignment": ("one", "two", "no such run"),
    "quant": ("a.mzML Peak area", "b.mzML Peak area", "no such run"),
}


class BrokenContractError(AssertionError):
    """A reader answered with something that is neither a sound table nor a proper refusal."""


def outcomes(reader: str, content: bytes, folder: Path) -> list[str]:
    """Give `content` to a reader of `fuzz.seeds.SEEDS` and say what came out: `TABLE`, "sheet", a format or a code.

    Raises `BrokenContractError` where the answer is not proper; what else a reader raises passes through.
    """
    if reader.startswith("sheet"):
        return [_of_sheet(_written(folder / ("sheet.csv" if reader == "sheet" else "sheet.parquet"), content))]
    if reader == "sniff":
        path = _written(folder / "run", content)
        return [_of_sniff(path), *of_runs([_run(path)])]
    if reader == "quant":
        mgf, mark, table = content.partition(PAIR_MARK)
        path = _written(folder / "run.mgf", mgf)
        quant_path = _written(folder / "run.csv", table if mark else QUANT)
        runs = [_run(path, "mgf", column=column, quant_path=str(quant_path)) for column in COLUMNS[reader]]
        return of_runs(runs)
    path = _written(folder / "run", content)
    return of_runs([_run(path, reader, column=column) for column in COLUMNS.get(reader, (None,))])


def of_runs(runs: list[Run]) -> list[str]:
    """What comes out for each of the runs, checked: `TABLE` or the refusal's code."""
    found = []
    given = {path for run in runs for path in (run.path, run.quant_path)}
    for run, outcome in read_runs(runs):
        if isinstance(outcome, RunError):
            found.append(_of_refusal(outcome, given))
        else:
            check_spectra(outcome.table, run.sample_id)
            found.append(TABLE)
    if len(found) != len(runs):
        raise BrokenContractError(f"{len(runs)} runs went in, {len(found)} came out")
    return found


def check_spectra(table: pa.Table, sample_id: str) -> None:
    """Raise `BrokenContractError` unless every promise of the `SPECTRA` schema holds."""
    table.validate(full=True)
    _hold(table.schema.equals(SPECTRA), f"schema {table.schema}")
    _hold(len(table) > 0, "a table without a row")
    _hold(all(table[field.name].null_count == 0 for field in SPECTRA if not field.nullable), "null where none may be")
    _hold(set(table["sample_id"].to_pylist()) == {sample_id}, "another sample's name")
    mz, intensity = (table[name].combine_chunks() for name in ("mz", "intensity"))
    n_peaks = mz.value_lengths().to_numpy()
    _hold(np.array_equal(n_peaks, intensity.value_lengths().to_numpy()), "m/z and intensity differ in length")
    _hold_numbers("mz", mz.flatten(), lowest=0.0)
    _hold_numbers("intensity", intensity.flatten(), lowest=0.0)
    precursor = table["precursor_mz"].to_numpy()
    _hold(bool(np.isfinite(precursor).all() and (precursor >= 0).all()), "precursor m/z")
    _hold(bool((precursor[n_peaks > 0] > 0).all()), "precursor m/z 0 of a spectrum with peaks")
    for name in ("precursor_intensity", "rt_seconds"):
        _hold_numbers(name, table[name].drop_null(), lowest=0.0)
    _hold(0 not in table["charge"].to_pylist(), "charge 0")
    _hold(set(table["polarity"].to_pylist()) <= {"positive", "negative", None}, "polarity")


def check_line(text: str) -> None:
    """Raise `BrokenContractError` unless a message is one line that a terminal can show."""
    _hold(bool(text.strip()), "an empty message")
    _hold(text.isprintable(), f"a message with control characters: {text!r}")


def _of_refusal(error: RunError, given: set[str | None]) -> str:
    check_line(error.message)
    _hold(error.code in set(Code) - NOT_OF_CONTENT, f"code {error.code}: {error.message}")
    _hold(error.path in given, f"the error is of {error.path}")
    _hold(error.position == "" or error.position.isprintable(), f"position {error.position!r}")
    return str(error.code)


def _of_sniff(path: Path) -> str:
    try:
        name = sniff(str(path))
    except RunError as error:
        return _of_refusal(error, {str(path)})
    _hold(name in FORMATS, f"format {name}")
    return name


def _of_sheet(path: Path) -> str:
    try:
        sheet = Sheet.read(path)
    except UsageError as error:
        check_line(str(error))
        return "usage-error"
    names = [run.sample_id for run in sheet.runs]
    _hold(len(names) == len(set(names)) > 0, "sample ids")
    for run in sheet.runs:
        for location in filter(None, (run.path, run.quant_path)):
            _hold(location.startswith("s3://") or Path(location).is_absolute(), f"path {location!r}")
            _hold("\0" not in location and ".." not in Path(location).parts, f"path {location!r}")
    return "sheet"


def _hold_numbers(name: str, values: pa.Array | pa.ChunkedArray, *, lowest: float) -> None:
    numbers = np.asarray(values, dtype=np.float64)
    _hold(bool(np.isfinite(numbers).all() and (numbers >= lowest).all()), f"{name}: not finite, or negative")


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise BrokenContractError(what)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _run(
    path: Path, format_name: str | None = None, *, column: str | None = None, quant_path: str | None = None
) -> Run:
    sample_id = f"run {column}"
    return Run(
        sample_id=sample_id,
        path=str(path),
        quant_path=quant_path,
        column=column,
        format=format_name,
        kind="sample",
        accession=sample_id,
        replicate=None,
        batch=None,
    )
