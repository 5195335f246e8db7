"""Peak lines as libraries write them: ``m/z intensity``, a note behind; several in a line parted by semicolons."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable

#: Peaks of one record (ours): profile spectra of a library have some ten thousand.
MAX_PEAKS = 1_000_000

_NOTE = re.compile(r'"[^"]*"')
_BETWEEN = re.compile(r"[\s,:]+")


def parse_peaks(lines: Iterable[str]) -> tuple[array[float], array[float]]:
    """m/z (Da / charge) and intensity of the peak lines, in their order.

    Raises `ValueError`, one line, for a line that is no peak, and for more than `MAX_PEAKS`.
    """
    mz, intensity = array("d"), array("d")
    for line in lines:
        for peak in _NOTE.sub("", line).split(";") if ";" in line or '"' in line else (line,):
            numbers = _BETWEEN.split(peak.strip("() \t\r\n"), maxsplit=2)
            if numbers == [""]:
                continue
            try:
                mz.append(float(numbers[0]))
                intensity.append(float(numbers[1]))
            except (ValueError, IndexError):
                raise ValueError(f"'{peak.strip()[:40]}' is not a peak 'm/z intensity'") from None
        if len(mz) > MAX_PEAKS:
            raise ValueError(f"more than {MAX_PEAKS:,} peaks")
    return mz, intensity
