"""Ion images from plain arrays: a matrix with a peak list, as DeepION's released code takes them, or a NumPy archive.

The released code (``run.py``) reads a text matrix of one row a pixel and one column an ion, a text file of one m/z a
line, and the shape of the images. A pixel that is 0 in every ion was not measured.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from ms2img.deepion import normalise
from ms2img.deepion.images import IonImages
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.errors import RunError, UsageError
from ms2img.io.local import status

_DELIMITERS = (",", ";", "\t", " ")
_BLOCK_BYTES = 1 << 20  # of text parsed at once; a line must fit


def from_matrix(matrix: Path, peaks: Path, shape: tuple[int, int], settings: PrepareSettings) -> IonImages:
    """The ion images of a matrix file, ``.npy`` or text, [H x W, ions], pixels row by row.

    peaks: a text file of one m/z a line, or ``.npy``. shape: (H, W).

    Raises `UsageError`, one line, for a file that is no such table, a number that is not finite or below 0, sizes that
    do not fit, and where no ion is left.
    """
    values, mz = _array(matrix), _array(peaks).ravel()
    height, width = shape
    if len(values) != height * width:
        raise UsageError(f"{matrix}: {len(values)} rows; a shape of {height} x {width} needs {height * width}")
    if values.shape[1] != len(mz):
        raise UsageError(f"{peaks}: {len(mz)} m/z values; {matrix} has {values.shape[1]} columns")
    return _images(values.T.reshape(len(mz), height, width), mz, matrix, settings)


def from_archive(path: Path, settings: PrepareSettings) -> IonImages:
    """The ion images of a NumPy archive (``.npz``) with `images` [n, H, W] and `mz` [n]. Raises as `from_matrix`."""
    _require_file(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, mz = np.asarray(archive["images"], dtype=np.float64), np.asarray(archive["mz"], dtype=np.float64)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError):
        raise UsageError(f"{path}: expected a NumPy archive with number arrays 'images' and 'mz'") from None
    if images.ndim != 3 or mz.shape != images.shape[:1]:
        raise UsageError(f"{path}: images {images.shape} and mz {mz.shape}; expected (n, H, W) and (n,)")
    return _images(images, mz, path, settings)


def _images(values: np.ndarray, mz: np.ndarray, path: Path, settings: PrepareSettings) -> IonImages:
    """From raw images float64 [n, H, W]; the total ion count is over the ions that are there."""
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise UsageError(f"{path}: an intensity that is not a finite number of 0 or more")
    if not (np.isfinite(mz).all() and (mz > 0).all()):
        raise UsageError(f"{path}: an m/z that is not a finite number above 0")
    order = np.argsort(mz, kind="stable")
    values, mz = values[order], mz[order]
    tic = values.sum(axis=0)
    mask = tic > 0
    measured = values[:, mask]
    seen = normalise.presence(measured)
    common = (seen >= settings.min_presence) & (seen > 0)
    scaled, flat = normalise.scaled(measured[common], tic[mask], settings)
    kept = np.flatnonzero(common)[~flat]
    if not len(kept):
        found = f"{len(mz)} ions, {int((~common).sum())} of them rare, {int(flat.sum())} flat"
        raise UsageError(f"{path}: no ion image is left by min_presence {settings.min_presence:g} ({found})")
    images = np.zeros((len(kept), *mask.shape), dtype=np.float32)
    images[:, mask] = scaled[~flat]
    counts = {"pixels": int(mask.sum()), "rare": int((~common).sum()), "flat": int(flat.sum()), "ions": len(kept)}
    return IonImages(
        mz[kept], images, mask, seen[kept], tic, source=path.name, settings=settings.to_dict(), counts=counts
    )


def _array(path: Path) -> np.ndarray:
    """A table of numbers, float64 [rows, columns], from ``.npy`` or text without a header."""
    _require_file(path)
    try:
        if path.suffix == ".npy":
            found = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
            return found.reshape(len(found), -1) if found.ndim < 2 else found
        return _text_array(path)
    except (ValueError, OSError, EOFError, TypeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"{path}: expected a table of numbers without a header: {reason}") from None


def _text_array(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8", errors="replace") as text:
        first = text.readline().strip()
    names = [str(number) for number in range(len(first.split(_delimiter(first))))]
    block = max(_BLOCK_BYTES, 4 * len(first))
    table = pc.read_csv(
        path,
        read_options=pc.ReadOptions(column_names=names, block_size=block),
        parse_options=pc.ParseOptions(delimiter=_delimiter(first)),
    )
    columns = [column.cast(pa.float64()).to_numpy() for column in table.columns]
    return np.stack(columns, axis=1) if columns else np.empty((0, 0))


def _delimiter(line: str) -> str:
    return next((each for each in _DELIMITERS if each in line), ",")


def _require_file(path: Path) -> None:
    try:
        status(str(path))
    except RunError as error:
        raise UsageError(str(error)) from None
