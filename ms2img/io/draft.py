"""Drafting a sample sheet from run files: what ``ms2img sheet`` writes, for a person to check and to add assays to."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ms2img.errors import Code, RunError, UsageError
from ms2img.io import quant
from ms2img.io.accession_guess import guess_accessions, guess_kind
from ms2img.io.atomic import replace_file
from ms2img.io.msdial_alignment import read_alignment_runs
from ms2img.io.read import sniff
from ms2img.io.sheet import KINDS, RESERVED
from ms2img.io.text import open_text

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_KIND_OF_FILE_TYPE = {"sample": "sample", "blank": "blank", "qc": "qc", "standard": "qc"}  # MS-DIAL's closed list
_OPTIONAL = ("quant_path", "column", "class", "injection_order", "batch")  # written if any run has a value
_RUN_EXTENSION = re.compile(r"\.(mzml|mzxml|raw|mgf|d|wiff)$", re.IGNORECASE)


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

    path: Path
    n_runs: int
    kinds: dict[str, int]
    n_accessions: int
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def draft_sheet(files: Sequence[str], out: str | Path, *, assay: str = "assay", force: bool = False) -> DraftSummary:
    """Write a sample sheet for `files` to `out` (.csv or .tsv), one row a run.

    A file is an MGF, an MS-DIAL peak list (one row each), an MS-DIAL alignment export (one row a run column), or
    mzmine's feature table, which is paired with its MGF (one row a run column). A folder stands for the run files
    directly in it. Rows come in natural order of the files; the runs of one file in the order of its columns.

    `kind` is MS-DIAL's file type, or a guess from the name. `accession` is a guess from trailing replicate numbers,
    empty where there is none. `assay` names an empty column for the user's values.

    Raises `UsageError`: nothing found, a named file that cannot be used, two runs of one name, an existing `out`
    without `force`.
    """
    target = Path(out)
    delimiter = _DELIMITERS.get(target.suffix.lower())
    if delimiter is None:
        raise UsageError(f"{out}: a sheet is drafted as .csv or .tsv")
    if target.exists() and not force:
        raise UsageError(f"{out}: exists already, with what you may have filled in; choose another name or --force")
    if not target.parent.is_dir():
        raise UsageError(f"{out}: the folder {target.parent} does not exist")
    if assay in RESERVED or assay in _OPTIONAL or not assay.strip():
        raise UsageError(f"'{assay}' is no name for an assay column: the sheet uses it otherwise")

    runs, skipped = draft_runs(files, sheet=target)
    columns = [name for name in _OPTIONAL if any(_cells(run, target.parent)[name] for run in runs)]
    header = ["sample_id", "path", *columns, "kind", "accession", assay]
    try:
        with replace_file(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, header, delimiter=delimiter, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(_cells(run, target.parent) for run in runs)
    except OSError as error:
        raise UsageError(f"{out}: cannot write the sheet: {(error.strerror or str(error)).lower()}") from None
    return _summary(target, runs, skipped, assay)


def draft_runs(files: Sequence[str], *, sheet: Path | None = None) -> tuple[list[DraftedRun], list[str]]:
    """The runs in `files` (see `draft_sheet`), and what in the named folders is no run, with the reason.

    `sheet` is the file to be drafted: it is no run even where it lies among them. Raises `UsageError`.
    """
    own = _absolute(sheet) if sheet is not None else None
    formats, skipped = _find(files, own)
    runs = _with_accessions(list(_runs(formats)))
    _refuse_same_names(runs)
    return runs, skipped


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps "..", Path.resolve follows links)


def _find(files: Sequence[str], sheet: Path | None) -> tuple[dict[Path, str], list[str]]:
    """The run files and their formats ("quant" for a feature table), in natural order; the skipped ones of folders."""
    formats: dict[Path, str] = {}
    skipped: list[str] = []
    for name in files:
        path = _absolute(name)
        if path == sheet:
            raise UsageError(f"{name}: this run file would be overwritten by the sheet; name the sheet last")
        if not path.is_dir():
            try:
                formats[path] = _format(path)
            except RunError as error:
                raise UsageError(f"{name}: {error.message}") from None
            continue
        found = {entry: _format_or_reason(entry) for entry in _files_in(path) if entry != sheet}
        known = {entry: known for entry, known in found.items() if isinstance(known, str)}
        if not known:
            raise UsageError(f"{name}: no run file in this folder (folders below it are not searched)")
        formats.update(known)
        skipped += [f"{entry}: {error.message}" for entry, error in found.items() if isinstance(error, RunError)]
    if not formats:
        raise UsageError("no file to draft a sheet from; name run files or a folder of them")
    return dict(sorted(formats.items(), key=lambda item: _natural(str(item[0])))), sorted(skipped, key=_natural)


def _files_in(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"{folder}: cannot list the folder: {(error.strerror or str(error)).lower()}") from None


def _format(path: Path) -> str:
    try:
        return sniff(str(path))
    except RunError as error:
        if error.code is Code.UNKNOWN_FORMAT and _starts_as_quant(path):
            return "quant"
        raise


def _starts_as_quant(path: Path) -> bool:
    with open_text(str(path)) as handle:
        return handle.readline(len(quant.ID_COLUMN) + 2).lstrip('"').startswith(quant.ID_COLUMN)


def _format_or_reason(path: Path) -> str | RunError:
    try:
        return _format(path)
    except RunError as error:
        return error


def _runs(formats: dict[Path, str]) -> Iterator[DraftedRun]:
    mgf_of = _pairs(formats)
    paired = set(mgf_of.values())
    for path, format_name in formats.items():
        try:
            if format_name == "msdial-alignment":
                yield from _alignment_runs(path)
            elif format_name == "quant":
                yield from _quant_runs(mgf_of[path], path)
            elif path not in paired:
                yield DraftedRun(sample_id=path.stem, path=str(path), kind=guess_kind(path.stem))
        except RunError as error:
            raise UsageError(str(error)) from None


def _alignment_runs(path: Path) -> Iterator[DraftedRun]:
    for run in read_alignment_runs(str(path)):
        yield DraftedRun(
            sample_id=run.column,
            path=str(path),
            column=run.column,
            kind=_KIND_OF_FILE_TYPE.get((run.file_type or "").lower(), "sample"),
            class_name=run.class_name,
            injection_order=run.injection_order,
            batch=run.batch,
        )


def _quant_runs(mgf: Path, table: Path) -> Iterator[DraftedRun]:
    for column in quant.read_quant_runs(str(table)):
        name = next(column.removesuffix(suffix) for suffix in quant.RUN_SUFFIXES if column.endswith(suffix))
        sample_id = _RUN_EXTENSION.sub("", name)
        kind = guess_kind(sample_id)
        yield DraftedRun(sample_id=sample_id, path=str(mgf), quant_path=str(table), column=column, kind=kind)


def _pairs(formats: dict[Path, str]) -> dict[Path, Path]:
    """The MGF of each feature table: the one whose name begins the table's, or the only one there is."""
    tables = [path for path, format_name in formats.items() if format_name == "quant"]
    mgfs = [path for path, format_name in formats.items() if format_name == "mgf"]
    pairs: dict[Path, Path] = {}
    for table in tables:
        namesakes = [mgf for mgf in mgfs if mgf.parent == table.parent and _begins(table.name, mgf.stem)]
        if not namesakes and len(tables) == len(mgfs) == 1:
            namesakes = mgfs
        if not namesakes:
            raise UsageError(f"{table}: which MGF belongs to this feature table? Name the two files alone, or alike")
        pairs[table] = max(namesakes, key=lambda mgf: len(mgf.stem))
    return pairs


def _begins(name: str, stem: str) -> bool:
    """Whether `stem` is the first words of `name`: "run_1" is of "run_1_quant.csv", not of "run_10_quant.csv"."""
    return name.startswith(stem) and not name[len(stem) :][:1].isalnum()


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


def _cells(run: DraftedRun, folder: Path) -> dict[str, str | None]:
    return {
        "sample_id": run.sample_id,
        "path": _as_written(run.path, folder),
        "quant_path": _as_written(run.quant_path, folder) if run.quant_path else None,
        "column": run.column,
        "class": run.class_name,
        "injection_order": run.injection_order,
        "batch": run.batch,
        "kind": run.kind,
        "accession": run.accession,
    }


def _as_written(path: str, folder: Path) -> str:
    """Relative to the sheet's folder for a file below it, so that both can move together; absolute otherwise."""
    base = _absolute(folder)
    return Path(path).relative_to(base).as_posix() if Path(path).is_relative_to(base) else path


def _summary(target: Path, runs: list[DraftedRun], skipped: list[str], assay: str) -> DraftSummary:
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


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts "run_2" before "run_10"."""
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts]
