"""The files of ``ms2img explain``: pairs as they come, each run a row group; what names them when all is done."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ms2img.io.storage import Folder
from ms2img.ms2toimg.explain.pairs import COLUMNS

TOP_CSV, PAIRS_PARQUET, RUNS_CSV, CONFIG_YAML = "top.csv", "pairs.parquet", "runs.csv", "config.yaml"
#: Columns of ``runs.csv``, one row a run.
RUN_COLUMNS = (
    "sample_id",
    "path",
    "probability",
    "label",
    "threshold",
    "probability_without_top",
    "logit",
    "black_logit",
    "explained",
    "rest",
    "complete",
    "n_pairs",
    "picture",
    "model",
    "model_version",
    "simulated",
    "error",
)
#: Types of the columns of pairs that are no float64.
TYPES = {
    "rank": pa.int64(),
    "charge": pa.int8(),
    "adduct": pa.string(),
    "n_spectra": pa.int64(),
    "spectrum_id": pa.string(),
}
#: Of ``pairs.parquet``: one row a pair, runs in the order in which they were read.
PAIRS = pa.schema([("sample_id", pa.string()), *((name, TYPES.get(name, pa.float64())) for name in COLUMNS)])


@dataclass(frozen=True, eq=False)
class Explained:
    """One run of the job: its row of ``runs.csv`` and, unless it failed, its first ``--top`` pairs, best first."""

    row: dict[str, Any]
    top: pd.DataFrame | None


class ExplanationTables:
    """Writes the tables below a folder; all pairs of one run at a time are in memory.

    Pairs wait in a temporary file on this machine, which is gone at the end of the context. No table is in the folder
    before `commit`.
    """

    def __init__(self, out: Folder) -> None:
        self._out = out
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._file = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="ms2img-")), PAIRS_PARQUET)
        self._pairs = self._open.enter_context(pq.ParquetWriter(self._file, PAIRS))
        return self

    def __exit__(self, *of_error: object) -> None:
        self._open.close()

    def add(self, sample_id: str, pairs: pd.DataFrame) -> None:
        """Take up the pairs of one run, columns `COLUMNS`."""
        table = pairs.assign(sample_id=sample_id)
        self._pairs.write_table(pa.Table.from_pandas(table, PAIRS, preserve_index=False))

    def commit(self, runs: Sequence[Explained], config: Mapping[str, Any]) -> None:
        """Write the tables and the resolved config; each file appears at once, ``runs.csv`` last."""
        self._pairs.close()
        with pa.memory_map(str(self._file)) as file:
            self._out.write(PAIRS_PARQUET, file.read_buffer())
        tops = [each.top.assign(sample_id=each.row["sample_id"]) for each in runs if each.top is not None]
        columns = ["sample_id", *COLUMNS]
        top = pd.concat(tops, ignore_index=True)[columns] if tops else pd.DataFrame(columns=columns)
        self._out.write(TOP_CSV, top.to_csv(index=False, lineterminator="\n").encode())
        self._out.write(CONFIG_YAML, yaml.safe_dump(dict(config), sort_keys=False).encode())
        table = pd.DataFrame([each.row for each in runs], columns=list(RUN_COLUMNS)).astype({"n_pairs": "Int64"})
        self._out.write(RUNS_CSV, table.to_csv(index=False, lineterminator="\n").encode())
