"""Shares of the spectra on their way through a scratch folder, local or ``s3://``, where every worker finds them.

Two files a share: its peaks by ascending m/z, in batches of which a reader of some m/z takes no others; then what is
known of it, whose presence says that both are whole.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from ms2img.deepion.peaks import Peaks
from ms2img.deepion.pooling import CellCounts
from ms2img.deepion.tables import PEAKS
from ms2img.errors import JobError
from ms2img.io.storage import Folder

BATCH = 1 << 14  # peaks (ours): 256 KB, what a reader of one m/z takes from a share at least
_FIRST = "first_mz"  # of each batch, float64 in hexadecimal digits, in the schema's metadata


@dataclass(frozen=True, eq=False)
class Share:
    """What is known of some spectra once they are read: their counts, total ion counts float64 [len(rows)], peaks."""

    rows: range
    counts: CellCounts
    tic: np.ndarray
    n_peaks: int


@dataclass(frozen=True)
class Spills:
    """The shares of a file in a scratch folder; `under`: what their names begin with.

    Every method raises `JobError` when the disk is full, the store gone, or a share was removed.
    """

    scratch: Folder
    under: str = ""

    def write(self, share: Share, peaks: Peaks) -> None:
        """Keep a share."""
        firsts = peaks.mz[::BATCH].astype("<f8").tobytes().hex()
        columns = [pa.array(column) for column in (peaks.mz, peaks.intensity, peaks.pixel)]
        table = pa.Table.from_arrays(columns, schema=PEAKS.with_metadata({_FIRST: firsts}))
        sink = pa.BufferOutputStream()
        with ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=BATCH)
        self.scratch.write(self._peaks(share.rows), sink.getvalue())
        known = io.BytesIO()
        np.savez(known, cells=share.counts.cells, counts=share.counts.counts, tic=share.tic, n_peaks=share.n_peaks)
        self.scratch.write(self._known(share.rows), known.getvalue())

    def there(self) -> set[str]:
        """The names of all whole shares: see `name_of`."""
        return set(self.scratch.names(f"{self.under}share-"))

    def name_of(self, rows: range) -> str:
        """What the share of these spectra is called among those that are `there`."""
        return self._known(rows)

    def read(self, rows: range) -> Share:
        """What is known of a share that is there."""
        content = self.scratch.read(self._known(rows))
        if content is None:
            raise self._gone(self._known(rows))
        with np.load(io.BytesIO(content), allow_pickle=False) as known:
            counts = CellCounts(known["cells"], known["counts"])
            return Share(rows, counts, known["tic"], int(known["n_peaks"]))

    def peaks(self, rows: range, low: float, high: float) -> Iterator[Peaks]:
        """The peaks of a share with low <= m/z <= high, ascending, a batch at a time."""
        try:
            with self.scratch.open(self._peaks(rows)) as stream:
                table = ipc.open_file(stream)
                firsts = np.frombuffer(bytes.fromhex(table.schema.metadata[_FIRST.encode()].decode()), "<f8")
                start, stop = np.searchsorted(firsts, low, "left"), np.searchsorted(firsts, high, "right")
                for number in range(max(0, int(start) - 1), int(stop)):
                    columns = table.get_batch(number).columns
                    yield Peaks(*(column.to_numpy() for column in columns)).between(low, high)
        except FileNotFoundError:
            raise self._gone(self._peaks(rows)) from None

    def _gone(self, name: str) -> JobError:
        return JobError(f"{self.scratch.location}/{name}: was removed while it was needed")

    def _peaks(self, rows: range) -> str:
        return f"{self.under}peaks-{rows.start:09d}.arrow"

    def _known(self, rows: range) -> str:
        return f"{self.under}share-{rows.start:09d}.npz"
