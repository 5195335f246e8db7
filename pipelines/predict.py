"""``ms2img predict``: score run files, or the runs of a sheet, with a model from the registry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.errors import Code, RunError, UsageError
from ms2img.io.atomic import replace_file
from pipelines.progress import Steps

if TYPE_CHECKING:
    import pandas as pd

SHEET_SUFFIXES = (".csv", ".tsv", ".parquet")
OUT_SUFFIXES = (".csv", ".parquet")
SHEET, FOLDER, FEATURE_TABLE, ALIGNED = "sheet", "folder", "feature-table", "msdial-alignment"
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

    A sheet gives its rows. A folder, or a feature table with its MGF, gives what `ms2img.io.draft.draft_runs` finds.
    An aligned table gives a row for each of its runs, any other file one; whether a file can be read is that row's
    affair, not an error here.

    Raises `UsageError` for a sheet among other inputs, or a folder without run files.
    """
    import pandas as pd

    from ms2img.io.sheet import Sheet

    kinds = {each: _kind(each) for each in inputs}
    sheets = [each for each, kind in kinds.items() if kind == SHEET]
    if sheets and len(inputs) > 1:
        raise UsageError(f"{sheets[0]}: a sheet is given alone, without other inputs; or name run files only")
    rows: list[_InputRow] = []
    if sheets:
        runs = Sheet.read(sheets[0], allow_outside=allow_outside).runs
        rows += [(run.sample_id, run.path, run.quant_path, run.column, run.format) for run in runs]
    else:
        drafted = [each for each, kind in kinds.items() if kind in _drafted(kinds.values())]
        rows += _rows_of_files(each for each in inputs if each not in drafted)
        rows += _rows_of_draft(drafted)
    return pd.DataFrame(rows, columns=["sample_id", "path", "quant_path", "column", "format"], dtype=object)


def write_answer(answer: pd.DataFrame, out: Path) -> None:
    """Write the table as CSV or Parquet by one rename, so that no reader sees half of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(out) as temporary:
        if out.suffix.lower() == ".parquet":
            answer.to_parquet(temporary, index=False)
        else:
            answer.to_csv(temporary, index=False, lineterminator="\n")


def _kind(path: str) -> str:
    """What an input is: a folder, a sheet, a feature table, or the format of its run, empty where it has none.

    Content is asked before the name: an MS-DIAL export may be called .tsv, a feature table is a .csv.
    """
    from ms2img.io import quant
    from ms2img.io.read import sniff
    from ms2img.io.text import open_text

    if Path(path).is_dir():
        return FOLDER
    try:
        return sniff(path)
    except RunError as error:
        if error.code is Code.UNKNOWN_FORMAT:
            with open_text(path) as stream:
                if stream.readline(len(quant.ID_COLUMN) + 2).lstrip('"').startswith(quant.ID_COLUMN):
                    return FEATURE_TABLE
        return SHEET if Path(path).suffix.lower() in SHEET_SUFFIXES else ""


def _drafted(kinds: Iterable[str]) -> tuple[str, ...]:
    """Kinds of input that are looked at together; an MGF beside a feature table may be the table's."""
    return (FOLDER, FEATURE_TABLE, "mgf") if FEATURE_TABLE in kinds else (FOLDER,)


def _rows_of_files(paths: Iterable[str]) -> list[_InputRow]:
    from ms2img.io.msdial_alignment import read_alignment_runs

    rows: list[_InputRow] = []
    for path in paths:
        try:
            runs = read_alignment_runs(path) if _kind(path) == ALIGNED else ()
        except RunError:
            runs = ()  # the file's one row will say what is wrong with it
        rows += [(run.column, path, None, run.column, ALIGNED) for run in runs] or [(None, path, None, None, None)]
    return rows


def _rows_of_draft(paths: Sequence[str]) -> list[_InputRow]:
    from ms2img.io.draft import draft_runs

    runs = draft_runs(paths)[0] if paths else []
    return [(run.sample_id, run.path, run.quant_path, run.column, None) for run in runs]


def _require_writable(out: Path, inputs: Sequence[str], frame: pd.DataFrame) -> None:
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; --out names a file")
    if out.exists():
        read = {*inputs, *frame["path"], *frame["quant_path"].dropna()}
        if any(Path(each).exists() and out.samefile(each) for each in read):
            raise UsageError(f"{out}: is one of the inputs; --out must name another file")
