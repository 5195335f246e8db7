"""The runs of a sheet as counts of words (MEMO), on Ray: a Parquet file a data set, made anew when anything changes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import RunError
from ms2img.io.read import read_runs
from ms2img.io.sheet import Run, Sheet
from ms2img.io.storage import Folder, folder, statuses
from ms2img.ms2toimg.memo import MemoConfig, memo_words
from pipelines.progress import Steps
from pipelines.study.ledger import key_of

RUNS_A_TASK = 16  # (ours) some seconds of work
WORDS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("word", pa.list_(pa.string()), nullable=False),
        pa.field("count", pa.list_(pa.int32()), nullable=False),
    ]
)
KEY, FAILED = b"ms2img.key", b"ms2img.failed"  # of the file's metadata: what it was made of, what could not be read
WORDS_VERSION = 1  # raised by hand when the same runs give other words


@dataclass(frozen=True)
class WordsSummary:
    """What there is: what identifies the file, the samples in it, and the runs that could not be read, with why."""

    fingerprint: str
    sample_ids: tuple[str, ...]
    failed: dict[str, str]


def write_words(sheet: Sheet, out: str, name: str, config: MemoConfig, *, quiet: bool = False) -> WordsSummary:
    """Count the words of every sample of the sheet into file `name` of folder `out`, unless it is current.

    A file in which runs failed is not: they may be readable by now.
    """
    from cluster.connect import connected
    from pipelines.conversion.cluster_work import on_workers

    runs = sorted((run for run in sheet.runs if run.kind == "sample"), key=lambda run: run.sample_id)
    store = folder(out)
    key = _key(runs, config)
    current = read_summary(store, name)
    if current is not None and current[0] == key and not current[1].failed:
        return current[1]
    counts: dict[str, dict[str, int]] = {}
    failed: dict[str, str] = {}
    with connected(writes=[out]), Steps(len(runs), f"words {name.removesuffix('.parquet')}", quiet=quiet) as progress:
        for done in on_workers(_tasks(runs), partial(_count, config=config)):
            for sample, result in done.items():
                if isinstance(result, str):
                    failed[sample] = result
                else:
                    counts[sample] = result
            progress.advance(len(done))
    stream = io.BytesIO()
    metadata = {KEY: key.encode(), FAILED: json.dumps(failed).encode()}
    pq.write_table(_table(counts).replace_schema_metadata(metadata), stream, compression="zstd")
    store.write(name, stream.getvalue())
    return WordsSummary(_fingerprint(key, sorted(counts)), tuple(sorted(counts)), failed)


def read_summary(store: Folder, name: str) -> tuple[str, WordsSummary] | None:
    """The key of a words file, and what is in it; None where there is no such file."""
    try:
        file = pq.ParquetFile(store.open(name))
    except (FileNotFoundError, pa.ArrowException):
        return None
    told = file.metadata.metadata or {}
    if KEY not in told or FAILED not in told:
        return None
    key, samples = told[KEY].decode(), tuple(file.read(["sample_id"])["sample_id"].to_pylist())
    return key, WordsSummary(_fingerprint(key, samples), samples, json.loads(told[FAILED]))


def load_words(store: Folder, name: str) -> dict[str, dict[str, int]]:
    """sample_id -> word -> count."""
    table = pq.read_table(store.open(name))
    rows = zip(*(table[column].to_pylist() for column in WORDS.names), strict=True)
    return {sample: dict(zip(words, counts, strict=True)) for sample, words, counts in rows}


def _fingerprint(key: str, samples: Sequence[str]) -> str:
    """What identifies the file: what it was made of, and which runs could be read."""
    return key_of({"key": key, "samples": list(samples)})


def _key(runs: Sequence[Run], config: MemoConfig) -> str:
    paths = [path for run in runs for path in (run.path, run.quant_path) if path]
    files = {path: str(found) for path, found in statuses(paths).items()}
    rows = [[run.sample_id, files[run.path], files.get(run.quant_path or "", ""), run.column] for run in runs]
    return key_of({"version": WORDS_VERSION, "config": config.model_dump(), "runs": rows})


def _tasks(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that share a file stay together: it is read once."""
    if any(run.column is not None for run in runs):
        by_file: dict[tuple[str, str | None], list[Run]] = {}
        for run in runs:
            by_file.setdefault((run.path, run.quant_path), []).append(run)
        return list(by_file.values())
    return [list(runs[start : start + RUNS_A_TASK]) for start in range(0, len(runs), RUNS_A_TASK)]


def _count(runs: Sequence[Run], config: MemoConfig) -> dict[str, dict[str, int] | str]:
    return {
        run.sample_id: str(found) if isinstance(found, RunError) else memo_words(found.table, config)
        for run, found in read_runs(runs)
    }


def _table(counts: Mapping[str, Mapping[str, int]]) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"sample_id": sample, "word": list(of_run), "count": list(of_run.values())}
        for sample, of_run in sorted(counts.items())
    ]
    return pa.Table.from_pylist(rows, schema=WORDS)
