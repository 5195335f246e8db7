"""Some ion images of a folder, without the others: for a page of pictures, or a worker, of a set beyond any memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.deepion.image_folder import IMAGES, Facts, read_manifest, read_pixels
from ms2img.errors import UsageError
from ms2img.io.dataset.images import pixels
from ms2img.io.storage import Folder, folder, join


class ImageRows:
    """A folder of ion images (see `ms2img.deepion.images`) that is read a few rows at a time.

    mask: bool [H, W], the measured pixels. facts: what is true of all ions. fingerprint: of the whole set.

    Raises `UsageError`, one line, for a folder that holds no ion images. What the parts hold is checked where they are
    no Parquet files any more: a checksum would read them whole.
    """

    def __init__(self, place: str | Path) -> None:
        self._source: Folder = folder(str(place))
        manifest: dict[str, Any] = read_manifest(self._source)
        self.mask, _ = read_pixels(self._source, manifest)
        self.facts = Facts.of(manifest["facts"])
        self.fingerprint: str = manifest["fingerprint"]
        self._parts = [name for name in manifest["files"] if name.startswith(IMAGES)]
        self._rows_in: dict[str, int] = {}  # of the parts opened so far

    @property
    def location(self) -> str:
        """Where the folder lies."""
        return self._source.location

    def read(self, rows: Sequence[int]) -> np.ndarray:
        """The images of some rows, numbered by rising m/z: float32 [len(rows), H, W], in the order asked.

        One row group of a part is in memory beside them. Raises `UsageError` for a part that is gone or damaged, and
        `ValueError` for a row that is not there.
        """
        wanted = np.unique(np.asarray(rows, np.int64))
        if len(wanted) and wanted[0] < 0:
            raise ValueError(f"row {wanted[0]}; expected 0 or more")
        found = np.empty((len(wanted), *self.mask.shape), np.float32)
        first = 0
        for name in self._parts:
            known = self._rows_in.get(name)
            if known is None or bool(((wanted >= first) & (wanted < first + known)).any()):
                self._fill(found, wanted, name, first)
            first += self._rows_in[name]
            if not len(wanted) or wanted[-1] < first:
                return found[np.searchsorted(wanted, np.asarray(rows, np.int64))]
        raise ValueError(f"row {wanted[-1]} asked of {first} ion images")

    def _fill(self, found: np.ndarray, wanted: np.ndarray, name: str, first: int) -> None:
        """Put the images of a part, whose first row is `first`, at their places in `found` [len(wanted), H, W]."""
        try:
            with self._source.open(name) as stream:
                part = pq.ParquetFile(stream)
                self._rows_in[name] = part.metadata.num_rows
                for group in range(part.num_row_groups):
                    after = first + part.metadata.row_group(group).num_rows
                    here = (wanted >= first) & (wanted < after)
                    if here.any():
                        images = pixels(part.read_row_group(group, columns=["image"])["image"])
                        found[here] = images[wanted[here] - first]
                    first = after
        except (OSError, pa.ArrowInvalid) as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else "was changed since"
            raise UsageError(f"{join(self.location, name)}: {what}; prepare the ion images again") from None
