"""mzmine's feature table beside the MGF of its features (the layout of feature-based molecular networking).

The table ("quant") has one row a feature and one column a run; an MGF entry belongs to the row whose ``row ID`` is its
FEATURE_ID or SCANS. mzmine parts the cells by commas; a spreadsheet that saved the table again may have parted them by
semicolons, with decimal commas: both are read.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TextIO

import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.formats import cells
from ms2img.io.formats.aligned import AlignedTable, HeightColumns
from ms2img.io.formats.mgf import read_mgf
from ms2img.io.formats.spectra import SpectraBuilder
from ms2img.io.text import open_text

REQUIRED = ID_COLUMN, MZ_COLUMN, RT_COLUMN = "row ID", "row m/z", "row retention time"
RUN_SUFFIXES = (" Peak area", " Peak height")
SAME_PRECURSOR = 0.5  # Da (ours): ids are small integers in every export, so m/z tells a pair from two strangers


def read_quant_runs(path: str) -> tuple[str, ...]:
    """The run columns of a quant table, from its header alone. Raises `RunError`."""
    with open_text(path) as handle:
        return tuple(_runs(_header(_rows(handle, path)[1], path)))


def read_pair(path: str, quant_path: str, columns: Iterable[str]) -> AlignedTable:
    """Read an MGF and its quant table, keeping the runs named by `columns`.

    Rows are the table's, in its order; a feature without an MGF entry has no peaks. Precursor m/z is the table's.
    `ms2_source` is "representative" when the table holds several runs, "own" when it holds one.

    Raises `RunError`: as `read_mgf`; for the table BAD_HEADER, BAD_VALUE, TRUNCATED (with the line), EMPTY.
    """
    spectra = read_mgf(path)
    row_of: dict[str, int] = {}
    for index, feature in enumerate(spectra["spectrum_id"].to_pylist()):
        if feature in row_of:
            message = f"two MS/MS entries for feature {feature}; a pair has one (export merged MS/MS)"
            raise RunError(Code.BAD_VALUE, message, path=path)
        row_of[feature] = index
    features = _Features(spectra, row_of, path=path)
    builder = SpectraBuilder(quant_path)
    with open_text(quant_path) as handle:
        delimiter, lines = _rows(handle, quant_path)
        header = _header(lines, quant_path)
        runs = _runs(header)
        heights = HeightColumns(quant_path, header, runs, columns)
        places = {name: header.index(name) for name in REQUIRED}
        marks = cells.DecimalMarks(quant_path, [places[MZ_COLUMN], places[RT_COLUMN], *heights.places])
        for line, cells_of_row in lines:
            cells.check_width(cells_of_row, header, path=quant_path, line=line)
            row = marks.pointed(cells_of_row, line) if delimiter == ";" else cells_of_row
            named = {name: row[place] for name, place in places.items()}
            features.append_row(builder, named, quant_path=quant_path, line=line)
            heights.append(row, line)
    if not len(builder):
        raise RunError(Code.EMPTY, "a header, but no feature below it", path=quant_path)
    if row_of:
        message = f"feature {next(iter(row_of))} of the MGF is not in the table {quant_path}: not a pair"
        raise RunError(Code.BAD_VALUE, message, path=path)
    return heights.finish(builder.table(), ms2_source="own" if len(runs) == 1 else "representative")


class _Features:
    """The MGF's entries, handed out by feature id as the table's rows come by."""

    def __init__(self, spectra: pa.Table, row_of: dict[str, int], *, path: str) -> None:
        self._columns = {name: spectra[name].combine_chunks() for name in spectra.schema.names}
        self._row_of = row_of
        self._path = path
        self._line_of: dict[str, int] = {}

    def append_row(self, builder: SpectraBuilder, row: dict[str, str], *, quant_path: str, line: int) -> None:
        """Join one table row with its entry (removing it), or with no peaks."""
        feature = row[ID_COLUMN].strip()
        first = self._line_of.setdefault(feature, line)
        if first != line:
            message = f"feature '{feature[:40]}' has a row in line {first} already; export the table again"
            raise RunError(Code.BAD_VALUE, message, path=quant_path, position=f"line {line}")
        at = self._row_of.pop(feature, None)
        entry = {name: column[at].as_py() for name, column in self._columns.items()} if at is not None else {}
        mz = cells.required_number(row[MZ_COLUMN], MZ_COLUMN, path=quant_path, line=line)
        if entry.get("mz") and abs(entry["precursor_mz"] - mz) > SAME_PRECURSOR:
            message = f"feature {feature}: m/z {mz:.4f} here, {entry['precursor_mz']:.4f} in {self._path}: not a pair"
            raise RunError(Code.BAD_VALUE, message, path=quant_path, position=f"line {line}")
        minutes = cells.number(row[RT_COLUMN], RT_COLUMN, path=quant_path, line=line)
        builder.append(
            f"line {line}",
            spectrum_id=feature,
            precursor_mz=mz,
            rt_seconds=minutes * cells.SECONDS_A_MINUTE if minutes is not None else None,
            charge=entry.get("charge"),
            adduct=entry.get("adduct"),
            polarity=entry.get("polarity"),
            collision_energy=entry.get("collision_energy"),
            mz=entry.get("mz", ()),
            intensity=entry.get("intensity", ()),
        )


def _rows(handle: TextIO, path: str) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """The delimiter by the first line, and the rows with their line numbers, blank ones left out."""
    first = handle.readline()
    names = {name.strip().strip('"') for name in first.split(";")}
    delimiter = ";" if ID_COLUMN in names else ","
    return delimiter, _records(chain([first], handle), delimiter, path)


def _records(lines: Iterable[str], delimiter: str, path: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for row in reader:
            if any(row):
                yield reader.line_num, row
    except csv.Error as error:
        raise RunError(Code.BAD_VALUE, f"not CSV: {error}", path=path, position=f"line {reader.line_num}") from None


def _header(lines: Iterator[tuple[int, list[str]]], path: str) -> list[str]:
    line, row = next(lines, (1, []))
    cells.check_header(row, path=path, line=line)
    header = [cell.strip() for cell in row]
    while header and not header[-1]:  # mzmine ends every line with a comma
        header.pop()
    for name in REQUIRED:
        if name not in header:
            message = f"no column '{name}': expected mzmine's feature table (quant) as CSV"
            raise RunError(Code.BAD_HEADER, message, path=path, position=f"line {line}")
    if not _runs(header):
        message = f"no run column: none ends in '{RUN_SUFFIXES[0].strip()}' or '{RUN_SUFFIXES[1].strip()}'"
        raise RunError(Code.BAD_HEADER, message, path=path, position=f"line {line}")
    read = [name for name in header if name in REQUIRED or name.endswith(RUN_SUFFIXES)]
    name, count = Counter(read).most_common(1)[0]
    if count > 1:
        message = f"{count} columns are called '{name}'; a sheet could not tell them apart"
        raise RunError(Code.BAD_HEADER, message, path=path, position=f"line {line}")
    return header


def _runs(header: list[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(header) if name.endswith(RUN_SUFFIXES)}
