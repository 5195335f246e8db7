"""``ms2img explain``: which precursor-fragment pairs of a run drove its score, as a table and a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ms2img.config import Config
from ms2img.errors import Code, RunError, UsageError
from ms2img.io import storage
from ms2img.ms2toimg.explain.methods import Method
from ms2img.places import MODEL_NAMES, Reads, Writes
from pipelines.predict import input_frame
from pipelines.progress import Steps

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.io.read import RunSpectra
    from ms2img.io.sheet import Run
    from ms2img.ms2toimg.explain.explanation import Explanation
    from ms2img.ms2toimg.predictor import Predictor
    from pipelines.explain_tables import Explained

SHOWN_NAMES = 3  # of the runs that there are, in a refusal


class ExplainConfig(Config):
    """Options of ``ms2img explain``."""

    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS (such as models:/ms2img-dpph@champion), models:/NAME/VERSION, a run id, or a "
        "model folder"
    )
    input: Annotated[tuple[str, ...], Reads("input")] = Field(
        min_length=1,
        description="run files, folders of them, or one sample sheet (CSV, TSV or Parquet); local or s3://",
    )
    sample: tuple[str, ...] = Field(
        (), description="explain only the run with this sample_id; may be given several times"
    )
    out: Annotated[str, Writes()] = Field(
        "explanation",
        description="folder to write: top.csv, pairs.parquet, runs.csv, config.yaml and a PNG a run; local or s3://",
    )
    top: int = Field(20, ge=1, le=100, description="pairs in top.csv and in the picture")
    method: Method = Field(
        "integrated-gradients",
        description="how the score is shared out: integrated-gradients adds up to the score; gradient-x-input and "
        "occlusion do not, and serve to compare",
    )
    pair_tolerance: float = Field(
        0.02,
        ge=0,
        le=1,
        description="peaks of several spectra are one pair as long as their precursors, from the lowest m/z on, and "
        "within these their fragments span at most this m/z; the first beyond begins the next",
    )
    allow_outside: bool = Field(False, description="let paths in the sheet climb above the sheet's folder by '..'")


@dataclass(frozen=True, eq=False)
class ExplainSummary:
    """What the job did; `runs` in the order of the input, `errors` of them have no explanation."""

    runs: tuple[Explained, ...]
    assay: str
    active: str  # "high" | "low": which end of the assay is active
    simulated: bool
    model: str
    model_version: str
    output: str

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The rows of the runs that failed."""
        return [each.row for each in self.runs if each.row["error"]]

    @property
    def incomplete(self) -> list[str]:
        """The runs whose pairs do not add up to the score, by sample_id."""
        return [each.row["sample_id"] for each in self.runs if each.row["complete"] is False]


def explain(config: ExplainConfig, *, quiet: bool = False) -> ExplainSummary:
    """Explain the runs and write tables and pictures below ``config.out``; a bad run is a row with ``error``.

    Raises `UsageError` before any work: a wrong sheet or output, no such model or sample, captum missing.
    """
    from ms2img.ms2toimg.explain.attribution import require_captum
    from ms2img.tracking import flavor
    from ms2img.tracking.pull import pulled
    from pipelines.explain_tables import ExplanationTables

    require_captum()
    storage.require_access([*config.input, config.out])
    _require_folder(config.out)
    runs = chosen_runs(input_frame(config.input, allow_outside=config.allow_outside), config.sample)
    with pulled(config.model) as (bundle, source):
        predictor, card = flavor.load_bundle(bundle), flavor.read_card(bundle)
    out = storage.folder(config.out)
    about = {"model": source.uri, "model_version": predictor.model_version}
    about |= {"assay": card["assay"], "simulated": card["simulated"]}
    explained = []
    with Steps(len(runs), "explain", quiet=quiet) as progress, ExplanationTables(out) as tables:
        for number, run, spectra in _read(runs, predictor):
            each, pairs, picture = _explain(run, spectra, predictor, config, about)
            if pairs is not None and picture is not None:
                each.row["picture"] = _picture_name(number, run.sample_id)
                out.write(each.row["picture"], picture)
                tables.add(run.sample_id, pairs)
            explained.append((number, each))
            progress.advance()
        ordered = tuple(each for _, each in sorted(explained, key=lambda item: item[0]))
        tables.commit(ordered, config.model_dump(mode="json"))
    return ExplainSummary(
        runs=ordered,
        assay=card["assay"],
        active=card["active"],
        simulated=card["simulated"],
        model=source.uri,
        model_version=predictor.model_version,
        output=out.location,
    )


def chosen_runs(frame: pd.DataFrame, samples: Sequence[str]) -> list[Run]:
    """The rows of `pipelines.predict.input_frame` as runs, only those named in `samples` if any are.

    A row without a name has that of its column or file, as in a prediction. Raises `UsageError` for an unknown sample.
    """
    from ms2img.io.location import is_remote, stem
    from ms2img.io.sheet import Run

    def located(path: str) -> str:
        return path if is_remote(path) else str(Path(path).absolute())

    runs = []
    for row in frame.to_dict("records"):
        name = row["sample_id"] or row["column"] or stem(row["path"])
        if samples and name not in samples:
            continue
        runs.append(
            Run(
                sample_id=name,
                path=located(row["path"]),
                quant_path=None if row["quant_path"] is None else located(row["quant_path"]),
                column=row["column"],
                format=row["format"],
                kind="sample",
                accession=name,
                replicate=None,
                batch=None,
            )
        )
    missing = [name for name in samples if name not in {run.sample_id for run in runs}]
    if missing:
        known = [row["sample_id"] or row["column"] or stem(row["path"]) for row in frame.to_dict("records")]
        raise UsageError(f"--sample {missing[0]}: no such run in the input; {_some_of(known, missing[0])}")
    return runs


def _some_of(known: list[str], wanted: str) -> str:
    import difflib

    near = difflib.get_close_matches(wanted, known, n=SHOWN_NAMES, cutoff=0.0)
    return f"it has {len(known)}, such as {', '.join(near)}"


def _read(runs: Sequence[Run], predictor: Predictor) -> Iterator[tuple[int, Run, RunSpectra | RunError]]:
    """Each run with its place in the input, file by file."""
    from ms2img.io.read import read_runs

    places: dict[Run, list[int]] = {}
    for number, run in enumerate(runs):
        places.setdefault(run, []).append(number)
    for run, spectra in read_runs(list(places), predictor.render):
        yield from ((number, run, spectra) for number in places[run])


def _explain(
    run: Run, spectra: RunSpectra | RunError, predictor: Predictor, config: ExplainConfig, about: dict[str, Any]
) -> tuple[Explained, pd.DataFrame | None, bytes | None]:
    """One run: its row and best pairs, all its pairs, and its picture as PNG."""
    from pipelines.explain_tables import RUN_COLUMNS, Explained

    row: dict[str, Any] = dict.fromkeys(RUN_COLUMNS)
    row.update((name, about[name]) for name in ("model", "model_version", "simulated"))
    row.update(sample_id=run.sample_id, path=run.path, threshold=predictor.threshold, error="")
    try:
        numbers, pairs, picture = _explanation(run, spectra, predictor, config, about)
    except RunError as error:
        place = f"{error.position}: " if error.position else ""
        row.update(error=f"{error.code}: {place}{error.message}")
        return Explained(row, None), None, None
    return Explained(row | numbers, pairs.head(config.top).copy()), pairs, picture


def _explanation(
    run: Run, spectra: RunSpectra | RunError, predictor: Predictor, config: ExplainConfig, about: dict[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame, bytes]:
    """The numbers of a run's row, its pairs, best first, and its picture; raises the run's `RunError`."""
    from ms2img.ms2toimg.explain.deletion import probabilities_without
    from ms2img.ms2toimg.explain.explanation import explain_run
    from pipelines.report.explain_picture import draw

    if isinstance(spectra, RunError):
        raise spectra
    try:
        found = explain_run(run, spectra, predictor, method=config.method, tolerance=config.pair_tolerance)
        top = range(min(config.top, len(found.pairs)))
        left = float(probabilities_without(found, spectra.table, predictor, top, [len(top)])[0])
        picture = draw(found, predictor, config.top, about, probability_without_top=left)
    except RunError:
        raise
    except Exception as error:  # a defect of ours must cost one run, not a job of many
        reason = next(iter(f"{type(error).__name__}: {error}".splitlines()))
        raise RunError(Code.INTERNAL, reason, path=run.path) from error
    return _numbers(found) | {"probability_without_top": left}, found.pairs, picture


def _numbers(found: Explanation) -> dict[str, Any]:
    logits = found.attribution
    return {
        "probability": found.probability,
        "label": found.label,
        "logit": logits.logit,
        "black_logit": logits.black_logit,
        "explained": float(found.pairs["attribution"].sum()),
        "rest": found.rest,
        "complete": found.is_complete,
        "n_pairs": len(found.pairs),
    }


def _picture_name(number: int, sample_id: str) -> str:
    """A name that is a file name anywhere and differs from run to run, whatever the sample is called."""
    return f"{number + 1:03d}-{re.sub(r'[^A-Za-z0-9._-]', '_', sample_id)[:80]}.png"


def _require_folder(out: str) -> None:
    """Refuse a file, and an image data set: its own config.yaml would be replaced."""
    from ms2img.io.dataset.manifest import MANIFEST_NAME

    if not storage.is_remote(out) and Path(out).exists() and not Path(out).is_dir():
        raise UsageError(f"{out}: is a file; --out must be a folder")
    if storage.folder(out).read(MANIFEST_NAME) is not None:
        raise UsageError(f"{out}: is an image data set; give --out a folder of its own")
