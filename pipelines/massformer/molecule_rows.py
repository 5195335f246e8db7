"""The molecules of a table, a part at a time: a million rows are never in memory together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ms2img.errors import RunError, UsageError
from ms2img.io import storage
from ms2img.io.location import suffix

COLUMNS = ("smiles", "id", "adduct", "energy")
DELIMITERS = {".csv": ",", ".tsv": "\t", ".smi": "\t"}
BLOCK_BYTES = 1 << 22  # read at a time (ours)


@dataclass(frozen=True)
class MoleculeRow:
    """A row of the table, as text; `row` counts from 1, without the header. None where the table does not say."""

    row: int
    smiles: str
    id: str
    adduct: str | None
    energy: str | None


def parts_of(place: str, size: int) -> Iterator[list[MoleculeRow]]:
    """The rows in their order, `size` at a time.

    Raises `UsageError` for a table that cannot be read, or that has no column ``smiles``.
    """
    waiting: list[MoleculeRow] = []
    for row in _rows(place):
        waiting.append(row)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _rows(place: str) -> Iterator[MoleculeRow]:
    number = 0
    for batch in _batches(place):
        names = {name.strip().lower(): name for name in reversed(batch.schema.names)}
        columns = {name: _texts(batch.column(names[name])) for name in COLUMNS if name in names}
        for at in range(batch.num_rows):
            number += 1
            given = {name: column[at] for name, column in columns.items()}
            yield MoleculeRow(
                row=number,
                smiles=given["smiles"] or "",
                id=given.get("id") or f"molecule {number}",
                adduct=given.get("adduct"),
                energy=given.get("energy"),
            )


def _batches(place: str) -> Iterator[pa.RecordBatch]:
    try:
        with storage.open_bytes(place) as handle:
            if suffix(place) == ".parquet":
                file = pq.ParquetFile(handle)
                _require_smiles(place, file.schema_arrow.names)
                wanted = [name for name in file.schema_arrow.names if name.strip().lower() in COLUMNS]
                yield from file.iter_batches(columns=wanted)
                return
            if suffix(place) not in DELIMITERS:
                raise UsageError(f"{place}: expected a table, .csv, .tsv or .parquet, with a column smiles")
            header = _header(place)
            yield from pa.csv.open_csv(
                handle,
                read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
                parse_options=pa.csv.ParseOptions(delimiter=DELIMITERS[suffix(place)]),
                convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
            )
    except RunError as error:
        raise UsageError(str(error)) from None
    except pa.ArrowInvalid as error:
        raise UsageError(f"{place}: {str(error).splitlines()[0]}") from None


def _header(place: str) -> list[str]:
    """The names of a text table's columns, of which one is smiles."""
    with storage.open_bytes(place) as handle:
        options = pa.csv.ParseOptions(delimiter=DELIMITERS[suffix(place)])
        names: list[str] = pa.csv.open_csv(handle, parse_options=options).schema.names
    _require_smiles(place, names)
    return names


def _require_smiles(place: str, names: Sequence[str]) -> None:
    if not any(name.strip().lower() == "smiles" for name in names):
        raise UsageError(f"{place}: no column smiles; its columns are {', '.join(names)}")


def _texts(column: pa.Array) -> list[str | None]:
    """The values as text; None where there is none, or nothing but blanks."""
    return [text.strip() or None if text is not None else None for text in column.cast(pa.string()).to_pylist()]
