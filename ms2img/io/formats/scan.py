"""One scan of a raw run, as mzML and mzXML both describe it, with its arrays still encoded until somebody asks."""

from __future__ import annotations

import binascii
import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ms2img.errors import Code, RunError

Floats = npt.NDArray[np.float64]

MAX_ARRAY_BYTES = 1 << 26  # ours: 8 million numbers; profile scans of time-of-flight instruments have up to 1 million
# Ours: measured values shrink to a half; a profile of nothing but zeros shrinks a thousandfold, but is not so long.
MAX_RATIO, RATIO_FROM_BYTES = 200, 1 << 24
MAX_TEXT_CHARS = MAX_ARRAY_BYTES // 3 * 4 + 4  # the same as base64

_WHITESPACE = str.maketrans("", "", " \t\r\n")


@dataclass(slots=True)
class EncodedArray:
    """Numbers as a file holds them: base64 `text` of values of type `dtype`, zlib-compressed or not."""

    text: str
    dtype: str  # NumPy's, with its byte order: "<f8"
    is_zlib: bool
    length: int  # how many numbers there should be

    def decode(self) -> npt.NDArray[np.generic]:
        """The numbers. Memory follows from what is there, never from what the file says is there.

        Raises, with a sentence for the user, `ValueError` if the text does not hold exactly `length` numbers, and
        `OverflowError` if that is more than `MAX_ARRAY_BYTES`.
        """
        dtype = np.dtype(self.dtype)
        n_bytes = self.length * dtype.itemsize
        if n_bytes > MAX_ARRAY_BYTES:
            raise OverflowError(f"an array of {self.length} numbers; expected at most {MAX_ARRAY_BYTES >> 20} MB")
        content = _bytes_of(self.text)
        if self.is_zlib and content:
            if n_bytes > max(RATIO_FROM_BYTES, MAX_RATIO * len(content)):
                raise OverflowError(f"an array that would inflate more than {MAX_RATIO}-fold")
            content = _inflated(content, limit=n_bytes + 1)
        if len(content) != n_bytes:
            held = f"more than {n_bytes}" if len(content) > n_bytes else str(len(content))
            raise ValueError(f"an array holds {held} bytes; the file promises {self.length} of {dtype.itemsize} bytes")
        return np.frombuffer(content, dtype)


def _bytes_of(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # line breaks are legal; rare, so asked second
        pass
    try:
        return binascii.a2b_base64(text.translate(_WHITESPACE), strict_mode=True)
    except ValueError as error:
        raise ValueError(f"an array is not base64: {str(error).lower()}") from None


def _inflated(content: bytes, *, limit: int) -> bytes:
    """At most `limit` bytes: a bomb is not inflated further than the array's own length."""
    inflate = zlib.decompressobj()
    try:
        inflated = inflate.decompress(content, limit)
    except zlib.error as error:
        raise ValueError(f"an array is not zlib data: {error}") from None
    if not inflate.eof and len(inflated) < limit:
        raise ValueError("an array's zlib data is cut off")
    return inflated


@dataclass(slots=True)
class Precursor:
    """What a scan says it was made of; None where it says nothing. m/z in Da / charge."""

    mz: float | None = None
    intensity: float | None = None  # the file's unit
    charge: int | None = None  # without sign
    collision_energy: str | None = None  # with the unit, as stated
    isolation_width: float | None = None  # m/z from end to end


@dataclass(slots=True)
class Scan:
    """One scan.

    `arrays` are m/z and intensity, or one array of pairs (mzXML), or none at all for a scan without peaks.
    """

    id: str
    path: str
    ms_level: int
    polarity: str | None = None  # "positive" | "negative"
    rt_seconds: float | None = None
    is_profile: bool = False  # said to be so; what says nothing is taken as centroids
    precursor: Precursor | None = None
    arrays: tuple[EncodedArray, ...] = ()
    _peaks: tuple[Floats, Floats] | None = field(default=None, repr=False)
    _is_sorted: bool = field(default=False, repr=False)

    @property
    def position(self) -> str:
        """How an error names this scan."""
        return self.id if "scan" in self.id else f"scan {self.id}"

    def peaks(self) -> tuple[Floats, Floats]:
        """m/z and intensity, float64 [n] each, in the file's order.

        Raises `RunError` MALFORMED for what is not base64, not zlib, or not as long as the file says; TOO_LARGE.
        """
        if self._peaks is None:
            try:
                self._peaks = self._decoded()
            except ValueError as error:
                raise RunError(Code.MALFORMED, str(error), path=self.path, position=self.position) from None
            except OverflowError as error:
                raise RunError(Code.TOO_LARGE, str(error), path=self.path, position=self.position) from None
            self.arrays = ()
        return self._peaks

    def highest(self, mz: float, tolerance: float) -> float:
        """The highest intensity of the peaks within `tolerance` of `mz`, 0 where there is none. Raises as `peaks`."""
        peak_mz, intensity = self.peaks()
        if not self._is_sorted:
            if (np.diff(peak_mz) < 0).any():
                order = np.argsort(peak_mz, kind="stable")
                peak_mz, intensity = self._peaks = peak_mz[order], intensity[order]
            self._is_sorted = True
        first, last = np.searchsorted(peak_mz, mz - tolerance), np.searchsorted(peak_mz, mz + tolerance, side="right")
        return float(intensity[first:last].max()) if last > first else 0.0

    def _decoded(self) -> tuple[Floats, Floats]:
        if not any(array.length or array.text for array in self.arrays):
            return np.empty(0), np.empty(0)
        arrays = [array.decode().astype(np.float64) for array in self.arrays]
        mz, intensity = arrays if len(arrays) == 2 else (arrays[0][::2], arrays[0][1::2])
        if len(mz) != len(intensity):
            raise ValueError(f"{len(mz)} m/z, but {len(intensity)} intensities")
        return mz, intensity
