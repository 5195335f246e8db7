"""``OUT.parts/``: the answers of finished parts, a file each, named by the part's key, until the table is written."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import Code
from ms2img.io.dataset.failures import PASSING
from ms2img.io.storage import Folder, is_remote
from ms2img.ms2toimg.predict_rows import Answer
from pipelines.prediction.plan import Part

SUFFIX = ".parts"
PART = pa.schema([("probability", pa.float64()), ("error", pa.string())])
#: Errors that may have passed by the next attempt; a part with one of these is done again.
AGAIN = PASSING | {Code.TIME_LIMIT, Code.MEMORY_LIMIT, Code.CRASHED}
READERS = 16  # threads (ours): on an object store every file is a round trip or two
_NAME = re.compile(r"[0-9a-f]{32}\.parquet")


def write_part(out: Folder, key: str, answers: Sequence[Answer]) -> None:
    """Keep the answers to a part's runs, in their order. Raises `JobError` as `Folder.write`."""
    probability, error = ([answer[field] for answer in answers] for field in (0, 1))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"probability": probability, "error": error}, schema=PART), sink)
    out.write(f"{key}.parquet", sink.getvalue())


def read_parts(out: Folder, parts: Iterable[Part]) -> dict[str, list[Answer]]:
    """The answers of the parts that an earlier job has finished, by key; those to be done again are left out."""
    present = out.names()
    wanted = [part for part in parts if f"{part.key}.parquet" in present]
    with ThreadPoolExecutor(READERS) as readers:
        found = zip(wanted, readers.map(lambda part: _read(out, part), wanted), strict=True)
    return {part.key: answers for part, answers in found if answers is not None}


def clear(out: Folder) -> None:
    """Remove the files of all parts; what is not ours stays."""
    out.delete(name for name in out.names() if _NAME.fullmatch(name))


def remove_empty(location: str) -> None:
    """Remove a local folder if nothing is in it; an object store has none."""
    if not is_remote(location):
        with contextlib.suppress(OSError):
            Path(location).rmdir()


def _read(out: Folder, part: Part) -> list[Answer] | None:
    content = out.read(f"{part.key}.parquet")
    if content is None:
        return None
    try:
        table = pq.read_table(pa.BufferReader(content), schema=PART)
    except (OSError, pa.ArrowException):
        return None
    answers: list[Answer] = list(zip(*(table[name].to_pylist() for name in PART.names), strict=True))
    is_whole = len(answers) == len(part.rows)
    return answers if is_whole and not any(error.partition(":")[0] in AGAIN for _, error in answers) else None
