"""``ms2img predict``: score run files, or the runs of a sheet, with a model from the registry; here, or on Ray."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from ms2img.errors import RunError, UsageError
from ms2img.io import storage
from ms2img.io.location import file_name, parent, suffix
from ms2img.places import MODEL_NAMES, Reads, Writes
from pipelines.failure_limit import FailureLimit
from pipelines.progress import Steps

if TYPE_CHECKING:
    import pandas as pd

SHEET_SUFFIXES = (".csv", ".tsv", ".parquet")
OUT_SUFFIXES = (".csv", ".parquet")
SHEET, FOLDER, FEATURE_TABLE, ALIGNED = "sheet", "folder", "feature-table", "msdial-alignment"
_InputRow = tuple[str | None, str, str | None, str | None, str | None]


class PredictConfig(FailureLimit):
    """Options of ``ms2img predict``."""

    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS (such as models:/ms2img-dpph@champion), models:/NAME/VERSION, a run id, or a "
        "model folder"
    )
    input: Annotated[tuple[str, ...], Reads("input")] = Field(
        min_length=1,
        description="run files, folders of them, or one sample sheet (CSV, TSV or Parquet); local or s3://",
    )
    out: Annotated[str, Writes()] = Field(
        "predictions.csv", description="table of predictions to write, .csv or .parquet, local or s3://"
    )
    allow_outside: bool = Field(False, description="let paths in the sheet climb above the sheet's folder by '..'")
    distributed: bool = Field(
        False, description="score on Ray, for many runs; interrupted, the same command goes on from what is scored"
    )
    num_gpus: float = Field(
        0.0, ge=0, le=1, description="with --distributed: GPUs of each scoring worker, such as 0.25; 0: CPUs score"
    )
    batch_size: int = Field(
        32, ge=1, description="with --distributed: runs, about, that are read, scored on a GPU and kept together"
    )
    time_limit: float = Field(
        600.0, gt=0, description="with --distributed: seconds for reading and drawing one run; then it is an error"
    )
    memory_limit: int = Field(
        2048, ge=1, description="with --distributed: MiB for reading and drawing one run; then it is an error"
    )

    @field_validator("out")
    @classmethod
    def _out_has_a_known_suffix(cls, out: str) -> str:
        if suffix(out) not in OUT_SUFFIXES:
            raise ValueError(f"expected a name that ends in {' or '.join(OUT_SUFFIXES)}")
        return out


@dataclass(frozen=True)
class PredictSummary:
    """What a prediction did, in rows; `errors` are the failed rows of the table."""

    predicted: int
    failed: int
    allowed: int
    active: int
    output: str
    model: str
    model_version: str
    errors: list[dict[str, Any]]


def predict(
    config: PredictConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None
) -> PredictSummary:
    """Score the inputs and write the table; a bad run is a row with ``error``, counted in ``failed``.

    `notice` is told what a person should know though all is well, such as a dead job's lease taken over.

    Raises `UsageError` before any work: for a wrong sheet or output, or when there is no such model; `JobError` when
    Ray or a store is gone.
    """
    from ms2img.tracking import flavor
    from ms2img.tracking.pull import pulled

    if config.num_gpus and not config.distributed:
        raise UsageError("--num-gpus is for --distributed; without it this machine's CPU scores")
    storage.require_access([*config.input, config.out])
    frame = input_frame(config.input, allow_outside=config.allow_outside)
    _require_writable(config.out, config.input, frame)
    write = partial(write_answer, out=config.out)
    with pulled(config.model) as (bundle, source):
        predictor = flavor.load_bundle(bundle)
        if config.distributed:
            from pipelines.prediction.job import predict_on_ray

            answer = predict_on_ray(config, frame, predictor, bundle, write, quiet=quiet, notice=notice)
        else:
            with Steps(len(frame), "predict", quiet=quiet) as progress:
                answer = predictor.predict(frame, progress=progress.advance)
            write(answer)
    failed = answer[answer["error"] != ""]
    return PredictSummary(
        predicted=len(answer) - len(failed),
        failed=len(failed),
        allowed=config.failures_allowed(len(answer)),
        active=int((answer["label"] == "active").sum()),
        output=config.out,
        model=source.uri,
        model_version=predictor.model_version,
        errors=[
            {str(name): value for name, value in row.items()}
            for row in failed[["sample_id", "path", "error"]].to_dict("records")
        ],
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


def write_answer(answer: pd.DataFrame, out: str) -> None:
    """Write the table as CSV or Parquet at once, so that no reader sees half of it."""
    content = io.BytesIO()
    if suffix(out) == ".parquet":
        answer.to_parquet(content, index=False)
    else:
        answer.to_csv(content, index=False, lineterminator="\n")
    storage.folder(parent(out)).write(file_name(out), content.getvalue())


def _kind(path: str) -> str:
    """What an input is: a folder, a sheet, a feature table, or the format of its run, empty where it has none.

    Content is asked before the name: an MS-DIAL export may be called .tsv, a feature table is a .csv.
    """
    from ms2img.io.run_files import QUANT, format_or_reason

    if storage.is_folder(path):
        return FOLDER
    answer = format_or_reason(path)
    if isinstance(answer, RunError):
        return SHEET if suffix(path) in SHEET_SUFFIXES else ""
    return FEATURE_TABLE if answer == QUANT else answer


def _drafted(kinds: Iterable[str]) -> tuple[str, ...]:
    """Kinds of input that are looked at together; an MGF beside a feature table may be the table's."""
    return (FOLDER, FEATURE_TABLE, "mgf") if FEATURE_TABLE in kinds else (FOLDER,)


def _rows_of_files(paths: Iterable[str]) -> list[_InputRow]:
    from ms2img.io.formats.msdial_alignment import read_alignment_runs

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


def _require_writable(out: str, inputs: Sequence[str], frame: pd.DataFrame) -> None:
    read = {*inputs, *frame["path"], *frame["quant_path"].dropna()}
    if storage.is_folder(out):
        raise UsageError(f"{out}: is a folder; --out names a file")
    if out in read or any(_same_file(out, each) for each in read):
        raise UsageError(f"{out}: is one of the inputs; --out must name another file")


def _same_file(out: str, other: str) -> bool:
    """Whether two local paths are of one file, by another spelling or a link."""
    both = (Path(out), Path(other))
    if any(map(storage.is_remote, (out, other))) or not all(path.exists() for path in both):
        return False
    return both[0].samefile(both[1])
