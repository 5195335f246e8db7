"""What an image data set says of its runs besides the pixels: what was drawn and dropped, and which runs failed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import UsageError
from ms2img.io.dataset.manifest import require_manifest
from ms2img.io.schema import ERRORS
from ms2img.io.storage import folder, join

COUNTS = ("n_spectra", "n_without_msms", "n_below_cut", "n_fragments", "n_impossible", "n_outside")
ERRORS_NAME = "errors.parquet"


def load_counts(out: str | Path) -> pd.DataFrame:
    """`COUNTS` and ``ms2_source`` of every image below `out`, indexed by sample_id, sorted; no pixel is read.

    Raises `UsageError` when `out` is no image data set or a committed shard is gone or unreadable.
    """
    store = folder(str(out))
    manifest = require_manifest(store)
    tables = []
    for shard in manifest.shards:
        try:
            with store.open(shard) as stream:
                tables.append(pq.read_table(stream, columns=["sample_id", *COUNTS, "ms2_source"]))
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            where = join(store.location, shard)
            raise UsageError(f"{where}: the manifest names it, but it cannot be read: {reason}") from None
    if not tables:
        raise UsageError(f"{out}: the data set is empty ({manifest.n_errors} runs failed: see {ERRORS_NAME})")
    return pa.concat_tables(tables).to_pandas().set_index("sample_id").sort_index()


def load_errors(out: str | Path) -> pd.DataFrame:
    """The rows of ``errors.parquet`` below `out`, indexed by sample_id; empty where there is no such file.

    Raises `UsageError` when the file is there and cannot be read.
    """
    try:
        with folder(str(out)).open(ERRORS_NAME) as stream:
            table = pq.read_table(stream)
    except FileNotFoundError:
        table = ERRORS.empty_table()
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{out}/{ERRORS_NAME}: cannot be read: {str(error).splitlines()[0]}") from None
    return table.to_pandas().set_index("sample_id")
