"""What is known of each ion of a folder, without its image: for sets whose images memory may not hold."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ms2img.deepion.image_folder import IMAGES, read_manifest
from ms2img.errors import UsageError
from ms2img.io.storage import folder, join


class IonNumbers(NamedTuple):
    """Each float64 [n], rows sorted by m/z; see `ms2img.deepion.images.IonImages`."""

    mz: NDArray[np.float64]
    presence: NDArray[np.float64]
    intensity: NDArray[np.float64]


def read_numbers(place: str | Path) -> IonNumbers:
    """The numbers of every ion of a folder, local or ``s3://``; its images stay unread.

    Raises `UsageError`, one line, for a folder that holds no ion images, and for a part that is gone or damaged.
    """
    source = folder(str(place))
    tables = []
    for name in read_manifest(source)["files"]:
        if not name.startswith(IMAGES):
            continue
        try:
            with source.open(name) as stream:
                tables.append(pq.read_table(stream, columns=list(IonNumbers._fields)))
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else "was changed since"
            raise UsageError(f"{join(source.location, name)}: {what}; prepare the ion images again") from None
    whole = pa.concat_tables(tables)
    return IonNumbers(*(whole[name].to_numpy() for name in IonNumbers._fields))
