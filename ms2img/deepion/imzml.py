"""imzML files, continuous and processed: the grid of pixels, and spectra out of the .ibd half.

An `Imzml` is plain data (arrays and a path), so that any worker can read its share of the spectra without the XML half.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ms2img.deepion.faults import as_end
from ms2img.deepion.imzml_index import COLUMNS, Encoding, Header, read_index
from ms2img.deepion.pixel_grid import PixelGrid, grid_of
from ms2img.errors import RunError, UsageError
from ms2img.io import storage
from ms2img.io.location import FileStatus, file_name, join, parent, stem

SIMULATED_RUN = "SIMULATED"  # the id of a phantom's run
UUID_BYTES = 16  # the .ibd half starts with the UUID that the XML half names
ZLIB_RATIO = 1032  # the most that deflate shrinks anything by
_MAX_BYTES = 1 << 60  # of an array: what int64 can still add to an offset
_WRAP = 1 << 32


@dataclass(frozen=True, eq=False)
class Imzml:
    """An imzML file whose offsets were found sound: `numbers` as in `imzml_index.Index`, rows = pixels of `grid`."""

    path: str
    ibd: str
    header: Header
    encodings: tuple[Encoding, Encoding]
    numbers: np.ndarray
    grid: PixelGrid

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def source(self) -> str:
        """The file's name, without its folder."""
        return file_name(self.path)

    @property
    def is_simulated(self) -> bool:
        """Whether the file says that it is a phantom."""
        return self.header.run_id == SIMULATED_RUN


def open_imzml(path: str, *, section: int | None = None) -> Imzml:
    """Read the XML half of an imzML file, local or ``s3://``, and hold it against its .ibd half.

    section: the z of the section to take, needed where a file has several.

    Raises `UsageError`, one line: the file, the spectrum, what would be right. So for a half that is missing, XML that
    is none, halves that belong to different files (their UUIDs differ), an array that lies outside of the .ibd half
    (it was truncated, or an offset is wrong), positions that are no image. `JobError` for a store that is gone.
    """
    try:
        index = read_index(path)
        ibd, found = other_half(path)
        _same_uuid(index.header, path, ibd)
    except RunError as error:
        raise as_end(error) from None
    numbers = index.numbers.copy()
    for column, encoding in zip((0, 3), index.encodings, strict=True):
        numbers[:, column] = unwrapped(numbers[:, column])
        _complete_sizes(numbers, column, encoding, path)
        _require_inside(numbers, column, path, ibd, found.size)
    _require_equal_lengths(numbers, path)
    x, y, z = numbers[:, -3:].T
    rows, grid = grid_of(x, y, z, path, section=section)
    return Imzml(path, ibd, index.header, index.encodings, numbers[rows], grid)


def spectra(imzml: Imzml, rows: Iterable[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """m/z float64 [n] and intensity float64 [n] of each of these spectra, m/z ascending.

    Raises `UsageError` for what cannot be read or unpacked, and for values that are not finite or m/z not above 0;
    `JobError` for a store that is gone.
    """
    try:
        with storage.open_bytes(imzml.ibd) as stream:
            last: tuple[int, np.ndarray] = (-1, np.empty(0))  # continuous files: one m/z array for all spectra
            for row in rows:
                mz_offset, mz_length, mz_bytes, offset, length, n_bytes = imzml.numbers[row, :6].tolist()
                place = _place(imzml.path, row, imzml)
                if mz_offset != last[0] or mz_length != len(last[1]):
                    last = (mz_offset, _read(stream, mz_offset, mz_length, mz_bytes, imzml.encodings[0], place))
                    if not (np.isfinite(last[1]).all() and (last[1] > 0).all()):
                        raise UsageError(f"{place}: an m/z that is not a finite number above 0")
                intensity = _read(stream, offset, length, n_bytes, imzml.encodings[1], place)
                if not np.isfinite(intensity).all():
                    raise UsageError(f"{place}: an intensity that is not a finite number")
                yield _ascending(last[1], intensity)
    except RunError as error:
        raise as_end(error) from None


def _ascending(mz: np.ndarray, intensity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (mz[1:] >= mz[:-1]).all():
        return mz, intensity
    order = np.argsort(mz, kind="stable")
    return mz[order], intensity[order]


def unwrapped(offsets: np.ndarray) -> np.ndarray:
    """Offsets int64 [n] of writers that count bytes in 32 signed bits: each fall below 0 is another 4 GiB.

    Ascending offsets without a negative one come out as they are.
    """
    falls = (offsets[1:] < 0) & (offsets[:-1] >= 0)
    return offsets + _WRAP * np.concatenate(([0], np.cumsum(falls)))


def other_half(path: str) -> tuple[str, FileStatus]:
    """The .ibd file beside an imzML file, in whatever case its ending is written, with its size and version.

    Raises `UsageError` where there is none, `RunError` where the store refuses.
    """
    names = [join(parent(path), stem(path) + ending) for ending in (".ibd", ".IBD", ".Ibd")]
    for name in names:
        try:
            return name, storage.status(name)
        except RunError as error:
            if error.code != "not-found":
                raise
    raise UsageError(f"{path}: its other half, {names[0]}, is missing; an imzML file is a pair, .imzML and .ibd")


def _same_uuid(header: Header, path: str, ibd: str) -> None:
    if header.uuid is None:
        return
    with storage.open_bytes(ibd) as stream:
        found = stream.read(UUID_BYTES).hex()
    if found != header.uuid:
        message = f"belongs to another imzML file: its UUID is {found}, that of {path} is {header.uuid}"
        raise UsageError(f"{ibd}: {message}; put the right pair side by side")


def _complete_sizes(numbers: np.ndarray, column: int, encoding: Encoding, path: str) -> None:
    """Stored bytes follow from the length where nothing is packed, whatever the file says; zlib needs them said."""
    width = np.dtype(encoding.dtype).itemsize
    length, n_bytes = numbers[:, column + 1], numbers[:, column + 2]
    if encoding.is_zlib and (n_bytes < 0).any():
        row = int(np.argmax(n_bytes < 0))
        raise UsageError(f"{_place(path, row)}: a compressed array without its stored bytes (IMS:1000104)")
    most = np.minimum(n_bytes, _MAX_BYTES // ZLIB_RATIO) * ZLIB_RATIO if encoding.is_zlib else _MAX_BYTES
    absurd = np.flatnonzero((length < 0) | (length > most // width))
    if len(absurd):
        row = int(absurd[0])
        raise UsageError(f"{_place(path, row)}: an array of {length[row]} numbers, more or less than there can be")
    if not encoding.is_zlib:
        numbers[:, column + 2] = length * width


def _require_inside(numbers: np.ndarray, column: int, path: str, ibd: str, size: int) -> None:
    start, n_bytes = numbers[:, column], numbers[:, column + 2]
    outside = np.flatnonzero((start < 0) | (n_bytes > size - start))
    if not len(outside):
        return
    row = int(outside[0])
    what = ("m/z", "intensity")[column // 3]
    found = f"its {what} array takes {n_bytes[row]} bytes from offset {start[row]}, {ibd} has {size}"
    remedy = "the .ibd file was truncated, or the offset is wrong; copy the pair again"
    raise UsageError(f"{_place(path, row)}: {found} ({len(outside)} of {len(numbers)} spectra): {remedy}")


def _require_equal_lengths(numbers: np.ndarray, path: str) -> None:
    mz, intensity = numbers[:, COLUMNS.index("mz_length")], numbers[:, COLUMNS.index("length")]
    unequal = np.flatnonzero(mz != intensity)
    if len(unequal):
        row = int(unequal[0])
        raise UsageError(f"{_place(path, row)}: {mz[row]} m/z values, but {intensity[row]} intensities")


def _read(stream: BinaryIO, offset: int, length: int, n_bytes: int, encoding: Encoding, place: str) -> np.ndarray:
    """One array as float64 [length]."""
    stream.seek(offset)
    content = stream.read(n_bytes)
    if len(content) != n_bytes:
        raise UsageError(f"{place}: the .ibd file ends inside this spectrum; it was truncated since it was opened")
    dtype = np.dtype(encoding.dtype)
    if encoding.is_zlib:
        content = _unpacked(content, length * dtype.itemsize, place)
    return np.frombuffer(content, dtype=dtype).astype(np.float64)


def _unpacked(content: bytes, size: int, place: str) -> bytes:
    """zlib's content, of exactly `size` bytes: no more than one byte beyond is ever unpacked."""
    if not size:
        return b""
    try:
        found = zlib.decompressobj().decompress(content, size + 1)
    except zlib.error as error:
        raise UsageError(f"{place}: an array that zlib cannot unpack: {error}") from None
    if len(found) != size:
        what = "more" if len(found) > size else f"{len(found)}"
        raise UsageError(f"{place}: an array of {what} bytes unpacked; its length says {size}")
    return found


def _place(path: str, row: int, imzml: Imzml | None = None) -> str:
    """The file and the spectrum: by its number in the file, or by its pixel once only some are kept."""
    if imzml is None:
        return f"{path}, spectrum {row + 1}"
    x, y = imzml.numbers[row, -3:-1].tolist()
    return f"{path}, spectrum at x {x}, y {y}"
