"""The library that a prediction writes: part after part into a file beside it, shown by one rename at the end."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.io import storage
from ms2img.io.location import file_name, parent
from ms2img.massformer.predicted import PREDICTED
from pipelines.massformer.predict_work import PartResult

REFUSED_COLUMNS = ("row", "id", "smiles", "code", "message")
EXAMPLES = 5  # refused rows that are kept for the terminal


class LibraryFile:
    """A library and the table of refused molecules beside it; a context manager. Nothing is shown before `commit`."""

    def __init__(self, out: str, refused: str, kind: str) -> None:
        self._out, self._refused, self._kind = out, refused, kind
        self._scratch = tempfile.TemporaryDirectory(prefix="ms2img-", dir=_beside(out), ignore_cleanup_errors=True)
        self._path = Path(self._scratch.name) / "library"
        self._refused_path = Path(self._scratch.name) / "refused.csv"
        self._parquet = pq.ParquetWriter(self._path, PREDICTED) if kind == "parquet" else None
        self._text = None if self._parquet else self._path.open("wb")
        self._rows = self._refused_path.open("w", encoding="utf-8", newline="")
        self._table = csv.DictWriter(self._rows, REFUSED_COLUMNS, lineterminator="\n")
        self._table.writeheader()
        self.molecules = self.spectra = self.refused = 0
        self.examples: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()
        self._scratch.cleanup()

    def append(self, part: PartResult) -> None:
        """The next part."""
        if self._parquet is not None:
            self._parquet.write_table(pq.read_table(io.BytesIO(part.content), schema=PREDICTED))
        elif self._text is not None:
            self._text.write(part.content)
        self._table.writerows(part.refused)
        self.molecules += part.molecules
        self.spectra += part.spectra
        self.refused += len(part.refused)
        self.examples += part.refused[: EXAMPLES - len(self.examples)]

    def commit(self) -> None:
        """Show both files; where nothing was refused, a table of an earlier run goes."""
        self._close()
        folder = storage.folder(parent(self._refused))
        if self.refused:
            folder.write(file_name(self._refused), _mapped(self._refused_path))
        else:
            folder.delete([file_name(self._refused)])
        folder.write(file_name(self._out), _mapped(self._path))

    def _close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
        if self._text is not None:
            self._text.close()
        self._rows.close()


def _beside(out: str) -> str | None:
    """Where a library may grow: on the disk that it is for, else in the system's own place."""
    folder = Path(parent(out))
    return None if storage.is_remote(out) or not folder.is_dir() else str(folder)


def _mapped(path: Path) -> bytes | pa.Buffer:
    """A file's content without a copy in memory."""
    if not path.stat().st_size:
        return b""
    with pa.memory_map(str(path)) as mapped:
        return mapped.read_buffer()
