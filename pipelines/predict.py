"""``ms2img predict``: score run files, or the runs of a sheet, with a model from the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.errors import RunError, UsageError
from ms2img.io.atomic import replace_file
from pipelines.progress import Steps

if TYPE_CHECKING:
    import pandas as pd

SHEET_SUFFIXES = (".csv", ".tsv", ".parquet")
OUT_SUFFIXES = (".csv", ".parquet")
ALIGNED = "msdial-alignment"
_InputRow = tuple[str | None, str, str | None, str | None, str | None]


class PredictConfig(Config):
    """Options of ``ms2img predict``."""

    model: str = Field(
        description="models:/NAME@ALIAS (such as models:/ms2img-dpph@champion), models:/NAME/VERSION, a run id, or a "
        "model folder"
    )
    input: tuple[str, ...] = Field(
        min_length=1, description="run files, folders of them, or one sample sheet (CSV, TSV or Parquet)"
    )
    out: str = Field("predictions.csv", description="table of predictions to write, .csv or .parquet")
    allow_outside: bool = Field(False, description="let paths in the sheet climb above the sheet's folder by '..'")

    @field_validator("out")
    @classmethod
    def _out_has_a_known_suffix(cls, out: str) -> str:
        if Path(out).suffix.lower() not in OUT_SUFFIXES:
            raise ValueError(f"expected a name that ends in {' or '.join(OUT_SUFFIXES)}")
        return out


@dataclass(frozen=True)
class PredictSummary:
    """What a prediction did, in rows; `errors` are the failed rows of the table."""

    predicted: int
    failed: int
    active: int
    output: str
    model: str
    model_version: str
    errors: list[dict[str, Any]]


def predict(config: PredictConfig, *, quiet: bool = False) -> PredictSummary:
    """Score the inputs and write the table; a bad run is a row with ``error``, counted in ``failed``.

    Raises `UsageError` before any work: for a wrong sheet or output, or when there is no such model.
    """
    from ms2img.tracking import flavor
    from ms2img.tracking.pull import pulled

    out = Path(config.out)
    frame = input_frame(config.input, allow_outside=config.allow_outside)
    _require_writable(out, config.input, frame)
    with pulled(config.model) as (bundle, source):
        predictor = flavor.load_bundle(bundle)
    with Steps(len(frame), "predict", quiet=quiet) as progress:
        answer = predictor.predict(frame, progress=progress.advance)
    write_answer(answer, out)
    failed = answer[answer["error"] != ""]
    return PredictSummary(
        predicted=len(answer) - len(failed),
        failed=len(failed),
        active=int((answer["label"] == "active").sum()),
        output=str(out),
        model=source.uri,
        model_version=predictor.model_version,
        errors=[dict(row) for row in failed[["sample_id", "path", "error"]].to_dict("records")],
    )


def input_frame(inputs: Sequence[str], *, allow_outside: bool = False) -> pd.DataFrame:
    """The rows to score: ``sample_id, path, quant_path, column, format``.

    A sheet gives its rows. A folder stands for the run files in it. An aligned table gives a row for each of its runs,
    any other file one; whether a file can be read is that row's affair, not an error here.

    Raises `UsageError` for a sheet among other inputs, or a folder without run files.
    """
    import pandas as pd

    from ms2img.io.sheet import Sheet

    sheets = [each for each in inputs if _is_sheet(each)]
    if sheets and len(inputs) > 1:
        raise UsageError(f"{sheets[0]}: a sheet is given alone, without other inputs; or name run files only")
    if sheets:
        runs = Sheet.read(sheets[0], allow_outside=allow_outside).runs
        rows: list[_InputRow] = [(run.sample_id, run.path, run.quant_path, run.column, run.format) for run in runs]
    else:
        rows = [row for each in inputs for path in _files(each) for row in _rows_of_file(path)]
    return pd.DataFrame(rows, columns=["sample_id", "path", "quant_path", "column", "format"], dtype=object)


def write_answer(answer: pd.DataFrame, out: Path) -> None:
    """Write the table as CSV or Parquet by one rename, so that no reader sees half of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(out) as temporary:
        if out.suffix.lower() == ".parquet":
            answer.to_parquet(temporary, index=False)
        else:
            answer.to_csv(temporary, index=False, lineterminator="\n")


def _is_sheet(path: str) -> bool:
    """A table by its name; an MS-DIAL export may be called .tsv too, and is known by its content."""
    from ms2img.io.read import sniff

    if Path(path).suffix.lower() not in SHEET_SUFFIXES:
        return False
    try:
        sniff(path)
    except RunError:
        return True
    return False


def _files(path: str) -> list[str]:
    """`path` itself, or the readable run files in the folder `path`, sorted by name."""
    from ms2img.io.read import sniff

    if not Path(path).is_dir():
        return [path]
    found = []
    for entry in sorted(Path(path).iterdir()):
        if entry.is_file() and not entry.name.startswith("."):
            try:
                sniff(str(entry))
            except RunError:
                continue  # a folder holds other things as well; what is named by hand is never passed over
            found.append(str(entry))
    if not found:
        raise UsageError(f"{path}: no run files in this folder (MGF, MS-DIAL alignment or peak list)")
    return found


def _rows_of_file(path: str) -> list[_InputRow]:
    from ms2img.io.msdial_alignment import read_alignment_runs
    from ms2img.io.read import sniff

    try:
        if sniff(path) == ALIGNED:
            return [(run.column, path, None, run.column, ALIGNED) for run in read_alignment_runs(path)]
    except RunError:
        pass  # the file's row will say what is wrong with it
    return [(None, path, None, None, None)]


def _require_writable(out: Path, inputs: Sequence[str], frame: pd.DataFrame) -> None:
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; --out names a file")
    if out.exists():
        read = {*inputs, *frame["path"], *frame["quant_path"].dropna()}
        if any(Path(each).exists() and out.samefile(each) for each in read):
            raise UsageError(f"{out}: is one of the inputs; --out must name another file")
