"""``errors.parquet``: the runs that could not be converted, and which of them are worth another attempt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import Code, RunError
from ms2img.io.schema import ERRORS
from ms2img.io.sheet import Run
from ms2img.io.storage import FileStatus, Folder

ERRORS_NAME = "errors.parquet"
#: What may have passed by the next attempt though the file is the same: always tried again. A defect of ours too.
PASSING = frozenset({Code.NOT_FOUND, Code.UNREADABLE, Code.STORAGE, Code.INTERNAL})


def failure(run: Run, stage: str, error: RunError, fingerprint: str) -> dict[str, Any]:
    """A row of `ERRORS` for a first attempt now."""
    return {
        "sample_id": run.sample_id,
        "path": run.path,
        "stage": stage,
        "code": str(error.code),
        "message": error.message,
        "position": error.position,
        "attempts": 1,
        "time": datetime.now(UTC),
        "fingerprint": fingerprint,
    }


def fingerprint(
    run: Run, statuses: Iterable[FileStatus | None], render_fingerprint: str, stage_version: int, limit: float | None
) -> str:
    """What failed: the run, its files' sizes and versions, how it was to be drawn, and the limit it ran into, if one.

    While this stays equal, another attempt ends as the last one did.
    """
    files = [(status.size, status.version) if status else None for status in statuses]
    parts = [run.sample_id, run.path, run.quant_path, run.column, run.format, files, render_fingerprint, stage_version]
    return hashlib.blake2b(json.dumps([*parts, limit]).encode(), digest_size=16).hexdigest()


def read_failures(out: Folder) -> dict[str, dict[str, Any]]:
    """sample_id -> its row of the last ``errors.parquet``; empty where nothing can be read."""
    content = out.read(ERRORS_NAME)
    if content is None:
        return {}
    try:
        rows = pq.read_table(pa.BufferReader(content), schema=ERRORS).to_pylist()
    except (OSError, pa.ArrowException):
        return {}
    return {row["sample_id"]: row for row in rows}


def write_failures(out: Folder, rows: Iterable[dict[str, Any]]) -> None:
    """Replace ``errors.parquet``: one row a failed run, sorted by sample_id."""
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["sample_id"]), schema=ERRORS)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    out.write(ERRORS_NAME, sink.getvalue())
