"""Ion images from plain arrays: a matrix with a peak list, as DeepION's released code takes them, or a NumPy archive.

The released code (``run.py``) reads a text matrix of one row a pixel and one column an ion, a text file of one m/z a
line, and the shape of the images. A pixel that is 0 in every ion was not measured. Files are local or ``s3://``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from ms2img.deepion import normalise
from ms2img.deepion.faults import as_end
from ms2img.deepion.images import IonImages
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.errors import RunError, UsageError
from ms2img.io.location import file_name, suffix
from ms2img.io.storage import open_bytes

_DELIMITERS = (",", ";", "\t", " ")
_BLOCK_BYTES = 1 << 20  # of text parsed at once; a line must fit


def from_matrix(
    matrix: str | Path,
    peaks: str | Path,
    shape: tuple[int, int],
    settings: PrepareSettings,
    *,
    is_simulated: bool = False,
) -> IonImages:
    """The ion images of a matrix file, ``.npy`` or text, [H x W, ions], pixels row by row.

    peaks: a text file of one m/z a line, or ``.npy``. shape: (H, W).

    Raises `UsageError`, one line, for a file that is no such table, a number that is not finite or below 0, sizes that
    do not fit, and where no ion is left.
    """
    values, mz = _array(str(matrix)), _array(str(peaks)).ravel()
    height, width = shape
    if len(values) != height * width:
        raise UsageError(f"{matrix}: {len(values)} rows; a shape of {height} x {width} needs {height * width}")
    if values.shape[1] != len(mz):
        raise UsageError(f"{peaks}: {len(mz)} m/z values; {matrix} has {values.shape[1]} columns")
    return _images(values.T.reshape(len(mz), height, width), mz, str(matrix), settings, is_simulated)


def from_archive(path: str | Path, settings: PrepareSettings, *, is_simulated: bool = False) -> IonImages:
    """The ion images of a NumPy archive (``.npz``) with `images` [n, H, W] and `mz` [n]. Raises as `from_matrix`."""
    try:
        with open_bytes(str(path)) as stream, np.load(stream, allow_pickle=False) as archive:
            images, mz = np.asarray(archive["images"], dtype=np.float64), np.asarray(archive["mz"], dtype=np.float64)
    except RunError as error:
        raise as_end(error) from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError, AttributeError):
        raise UsageError(f"{path}: expected a NumPy archive with number arrays 'images' and 'mz'") from None
    if images.ndim != 3 or mz.shape != images.shape[:1]:
        raise UsageError(f"{path}: images {images.shape} and mz {mz.shape}; expected (n, H, W) and (n,)")
    return _images(images, mz, str(path), settings, is_simulated)


def _images(values: np.ndarray, mz: np.ndarray, path: str, settings: PrepareSettings, is_simulated: bool) -> IonImages:
    """From raw images float64 [n, H, W]; the total ion count is over the ions that are there."""
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise UsageError(f"{path}: an intensity that is not a finite number of 0 or more")
    if not (np.isfinite(mz).all() and (mz > 0).all()):
        raise UsageError(f"{path}: an m/z that is not a finite number above 0")
    order = np.argsort(mz, kind="stable")
    values, mz = values[order], mz[order]
    tic = values.sum(axis=0)
    mask = tic > 0
    kept = normalise.kept(values[:, mask], tic[mask], settings)
    n_ions = len(kept.rows)
    if not n_ions:
        found = f"{len(mz)} ions, {kept.n_rare} of them rare, {kept.n_flat} flat"
        raise UsageError(f"{path}: no ion image is left by min_presence {settings.min_presence:g} ({found})")
    images = np.zeros((n_ions, *mask.shape), dtype=np.float32)
    images[:, mask] = kept.values
    return IonImages(
        mz[kept.rows],
        images,
        mask,
        kept.presence,
        kept.intensity,
        tic,
        source=file_name(path),
        is_simulated=is_simulated,
        settings=settings.to_dict(),
        counts={"pixels": int(mask.sum()), "rare": kept.n_rare, "flat": kept.n_flat, "ions": n_ions},
    )


def _array(path: str) -> np.ndarray:
    """A table of numbers, float64 [rows, columns], from ``.npy`` or text without a header."""
    try:
        with open_bytes(path) as stream:
            if suffix(path) != ".npy":
                return _text_array(stream)
            found = np.asarray(np.load(stream, allow_pickle=False), dtype=np.float64)
            return found.reshape(len(found), -1) if found.ndim < 2 else found
    except RunError as error:
        raise as_end(error) from None
    except (ValueError, OSError, EOFError, TypeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"{path}: expected a table of numbers without a header: {reason}") from None


def _text_array(stream: BinaryIO) -> np.ndarray:
    first = stream.readline().decode("utf-8", "replace").strip()
    stream.seek(0)
    names = [str(number) for number in range(len(first.split(_delimiter(first))))]
    block = max(_BLOCK_BYTES, 4 * len(first))
    table = pc.read_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pc.ReadOptions(column_names=names, block_size=block),
        parse_options=pc.ParseOptions(delimiter=_delimiter(first)),
    )
    columns = [column.cast(pa.float64()).to_numpy() for column in table.columns]
    return np.stack(columns, axis=1) if columns else np.empty((0, 0))


def _delimiter(line: str) -> str:
    return next((each for each in _DELIMITERS if each in line), ",")
