"""Finding the run files among what a user names: files and folders, local or in an S3 store, known by their content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ms2img.errors import Code, RunError, UsageError
from ms2img.io import storage
from ms2img.io.formats import quant
from ms2img.io.formats.sniff import sniff
from ms2img.io.location import absolute, file_name, parent, stem
from ms2img.io.text import open_text

QUANT = "quant"  # the format of a feature table here: it is no run, but names some
AT_ONCE = 16  # remote files whose beginnings are read at the same time (ours)


def find_run_files(files: Sequence[str], sheet: str | None) -> tuple[dict[str, str], list[str]]:
    """The run files and their formats (`QUANT` for a feature table), and what in named folders is none, with reasons.

    Both in natural order, the locations absolute. A folder stands for the files directly in it; `sheet` is never one.
    Raises `UsageError`: a named file that is no run, a folder without any, nothing at all.
    """
    storage.require_access(files)
    formats: dict[str, str] = {}
    skipped: list[str] = []
    for name in files:
        location = absolute(name)
        if location == sheet:
            raise UsageError(f"{name}: this run file would be overwritten by the sheet; name the sheet last")
        if not storage.is_folder(location):
            answer = format_or_reason(location)
            if isinstance(answer, RunError):
                raise UsageError(f"{name}: {answer.message}")
            formats[location] = answer
            continue
        found = _formats(each for each in storage.files_in(location) if each != sheet)
        known = {each: answer for each, answer in found.items() if isinstance(answer, str)}
        if not known:
            raise UsageError(f"{name}: no run file in this folder (folders below it are not searched)")
        formats.update(known)
        skipped += [f"{each}: {answer.message}" for each, answer in found.items() if isinstance(answer, RunError)]
    if not formats:
        raise UsageError("no file to draft a sheet from; name run files or a folder of them")
    return dict(sorted(formats.items(), key=lambda item: _natural(item[0]))), sorted(skipped, key=_natural)


def _formats(locations: Iterable[str]) -> dict[str, str | RunError]:
    """`format_or_reason` of many files; remote ones many at a time, for each is a wait and no work."""
    wanted = list(locations)
    if not any(map(storage.is_remote, wanted)):
        return {location: format_or_reason(location) for location in wanted}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(wanted, threads.map(format_or_reason, wanted), strict=True))


def format_or_reason(location: str) -> str | RunError:
    """The format by the file's beginning, `QUANT` for a feature table; the error where it is neither."""
    try:
        return sniff(location)
    except RunError as error:
        if error.code is Code.UNKNOWN_FORMAT and starts_as_quant(location):
            return QUANT
        return error


def starts_as_quant(location: str) -> bool:
    """Whether a text file begins as mzmine's feature table."""
    with open_text(location) as handle:
        return handle.readline(len(quant.ID_COLUMN) + 2).lstrip('"').startswith(quant.ID_COLUMN)


def pair_tables(formats: dict[str, str]) -> dict[str, str]:
    """The MGF of each feature table: the one whose name begins the table's, or the only one there is."""
    tables = [location for location, format_name in formats.items() if format_name == QUANT]
    mgfs = [location for location, format_name in formats.items() if format_name == "mgf"]
    pairs: dict[str, str] = {}
    for table in tables:
        namesakes = [mgf for mgf in mgfs if parent(mgf) == parent(table) and _begins(file_name(table), stem(mgf))]
        if not namesakes and len(tables) == len(mgfs) == 1:
            namesakes = mgfs
        if not namesakes:
            raise UsageError(f"{table}: which MGF belongs to this feature table? Name the two files alone, or alike")
        pairs[table] = max(namesakes, key=lambda mgf: len(stem(mgf)))
    return pairs


def _begins(name: str, start: str) -> bool:
    """Whether `start` is the first words of `name`: "run_1" is of "run_1_quant.csv", not of "run_10_quant.csv"."""
    return name.startswith(start) and not name[len(start) :][:1].isalnum()


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts "run_2" before "run_10"."""
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts]
