"""Drafting a sample sheet from run files: what ``ms2img sheet`` writes, for a person to check and to add assays to."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ms2img.errors import RunError, UsageError
from ms2img.io import storage
from ms2img.io.accession_guess import guess_accessions, guess_kind
from ms2img.io.formats import quant
from ms2img.io.formats.msdial_alignment import read_alignment_runs
from ms2img.io.location import absolute, file_name, parent, stem, suffix
from ms2img.io.run_files import QUANT, find_run_files, pair_tables
from ms2img.io.sheet import KINDS, RESERVED
from ms2img.io.sheet_paths import written

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_KIND_OF_FILE_TYPE = {"sample": "sample", "blank": "blank", "qc": "qc", "standard": "qc"}  # MS-DIAL's closed list
_OPTIONAL = ("quant_path", "column", "class", "injection_order", "batch")  # written if any run has a value
_RUN_EXTENSION = re.compile(r"\.(mzml|mzxml|raw|mgf|d|wiff)(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class DraftedRun:
    """One row of a draft. `path` and `quant_path` are absolute here; the draft has them relative where it can."""

    sample_id: str
    path: str
    kind: str
    quant_path: str | None = None
    column: str | None = None
    accession: str | None = None
    class_name: str | None = None
    injection_order: str | None = None
    batch: str | None = None


@dataclass(frozen=True)
class DraftSummary:
    """What a draft holds, and what its user should know.

    `kinds`: number of rows by kind. `n_accessions`: distinct accessions of the sample runs. `skipped`: files of a
    named folder that are no runs, each with the reason. `notes`: sentences to print.
    """

    path: str
    n_runs: int
    kinds: dict[str, int]
    n_accessions: int
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def draft_sheet(files: Sequence[str], out: str | Path, *, assay: str = "assay", force: bool = False) -> DraftSummary:
    """Write a sample sheet for `files` to `out` (.csv or .tsv), one row a run; each may lie in an S3 store.

    A file is an MGF, an MS-DIAL peak list (one row each), an MS-DIAL alignment export (one row a run column), or
    mzmine's feature table, which is paired with its MGF (one row a run column). A folder stands for the run files
    directly in it. Rows come in natural order of the files; the runs of one file in the order of its columns.

    `kind` is MS-DIAL's file type, or a guess from the name. `accession` is a guess from trailing replicate numbers,
    empty where there is none. `assay` names an empty column for the user's values.

    Raises `UsageError`: nothing found, a named file that cannot be used, two runs of one name, an existing `out`
    without `force`.
    """
    target = str(out)
    delimiter = _DELIMITERS.get(suffix(target))
    if delimiter is None:
        raise UsageError(f"{out}: a sheet is drafted as .csv or .tsv")
    if assay in RESERVED or assay in _OPTIONAL or not assay.strip():
        raise UsageError(f"'{assay}' is no name for an assay column: the sheet uses it otherwise")
    storage.require_access([target])
    folder = storage.folder(parent(target))
    if not force and _exists(target):
        raise UsageError(f"{out}: exists already, with what you may have filled in; choose another name or --force")
    if not storage.is_remote(target) and not Path(parent(target)).is_dir():
        raise UsageError(f"{out}: the folder {parent(target)} does not exist")

    runs, skipped = draft_runs(files, sheet=target)
    rows = [_cells(run, target) for run in runs]
    columns = [name for name in _OPTIONAL if any(row[name] for row in rows)]
    header = ["sample_id", "path", *columns, "kind", "accession", assay]
    text = io.StringIO()
    writer = csv.DictWriter(text, header, delimiter=delimiter, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.write(file_name(target), text.getvalue().encode())
    return _summary(target, runs, skipped, assay)


def _exists(target: str) -> bool:
    if not storage.is_remote(target):
        return Path(target).exists()
    return file_name(target) in storage.folder(parent(target)).names(file_name(target))


def draft_runs(files: Sequence[str], *, sheet: str | None = None) -> tuple[list[DraftedRun], list[str]]:
    """The runs in `files` (see `draft_sheet`), and what in the named folders is no run, with the reason.

    `sheet` is the file to be drafted: it is no run even where it lies among them. Raises `UsageError`.
    """
    formats, skipped = find_run_files(files, absolute(sheet) if sheet is not None else None)
    runs = _with_accessions(list(_runs(formats)))
    _refuse_same_names(runs)
    return runs, skipped


def _runs(formats: dict[str, str]) -> Iterator[DraftedRun]:
    mgf_of = pair_tables(formats)
    paired = set(mgf_of.values())
    for path, format_name in formats.items():
        try:
            if format_name == "msdial-alignment":
                yield from _alignment_runs(path)
            elif format_name == QUANT:
                yield from _quant_runs(mgf_of[path], path)
            elif path not in paired:
                yield DraftedRun(sample_id=stem(path), path=path, kind=guess_kind(stem(path)))
        except RunError as error:
            raise UsageError(str(error)) from None


def _alignment_runs(path: str) -> Iterator[DraftedRun]:
    for run in read_alignment_runs(path):
        yield DraftedRun(
            sample_id=run.column,
            path=path,
            column=run.column,
            kind=_KIND_OF_FILE_TYPE.get((run.file_type or "").lower(), "sample"),
            class_name=run.class_name,
            injection_order=run.injection_order,
            batch=run.batch,
        )


def _quant_runs(mgf: str, table: str) -> Iterator[DraftedRun]:
    for column in quant.read_quant_runs(table):
        name = next(column.removesuffix(ending) for ending in quant.RUN_SUFFIXES if column.endswith(ending))
        sample_id = _RUN_EXTENSION.sub("", name)
        yield DraftedRun(sample_id=sample_id, path=mgf, quant_path=table, column=column, kind=guess_kind(sample_id))


def _with_accessions(runs: list[DraftedRun]) -> list[DraftedRun]:
    samples = [run for run in runs if run.kind == KINDS[0]]
    guesses = guess_accessions([run.sample_id for run in samples], [run.class_name for run in samples])
    accession = {run.sample_id: guess for run, guess in zip(samples, guesses, strict=True)}
    return [replace(run, accession=accession.get(run.sample_id)) for run in runs]


def _refuse_same_names(runs: list[DraftedRun]) -> None:
    first: dict[str, DraftedRun] = {}
    for run in runs:
        if run.sample_id in first:
            other = first[run.sample_id]
            raise UsageError(f"two runs are called '{run.sample_id}': in {other.path} and in {run.path}; rename one")
        first[run.sample_id] = run


def _cells(run: DraftedRun, sheet: str) -> dict[str, str | None]:
    return {
        "sample_id": run.sample_id,
        "path": written(run.path, sheet),
        "quant_path": written(run.quant_path, sheet) if run.quant_path else None,
        "column": run.column,
        "class": run.class_name,
        "injection_order": run.injection_order,
        "batch": run.batch,
        "kind": run.kind,
        "accession": run.accession,
    }


def _summary(target: str, runs: list[DraftedRun], skipped: list[str], assay: str) -> DraftSummary:
    samples = [run for run in runs if run.kind == KINDS[0]]
    n_accessions = len({run.accession or run.sample_id for run in samples})
    notes = []
    if any(run.accession for run in samples):
        notes.append(
            f"accession is a guess from names that differ in their ending: {len(samples)} samples of {n_accessions} "
            "accessions; check it, for replicates must share one"
        )
    else:
        notes.append("accession is empty: each run counts as its own; fill it in where runs are replicates")
    if any(run.class_name is None for run in runs):
        notes.append("kind (sample, blank, qc) is a guess from the names; check it")
    notes.append(
        f"'{assay}' is an empty column for your assay: one number a sample run, rename it as you like; "
        "more columns are more assays"
    )
    kinds = Counter(run.kind for run in runs)
    return DraftSummary(
        path=target,
        n_runs=len(runs),
        kinds={kind: kinds[kind] for kind in KINDS},
        n_accessions=n_accessions,
        skipped=tuple(skipped),
        notes=tuple(notes),
    )
