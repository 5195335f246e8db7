"""mzXML (2.x and 3.x): scan by scan, whether MS/MS scans follow their survey scan or are nested in it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from ms2img.errors import Code
from ms2img.io.formats.scan import EncodedArray, Precursor, Scan
from ms2img.io.formats.xml_scans import Attributes, End, ScanReader, Start, one_line

ROOTS = ("mzXML", "msRun")

_POLARITY = {"+": "positive", "-": "negative"}
_DTYPE = {"32": ">f4", "64": ">f8"}  # "network" byte order is the only one the format has
_PAIRS = ("m/z-int", "")  # version 2 called it pairOrder
_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d*)?|\.\d+)S)?")  # xs:duration below a day


def read_scans(path: str) -> Iterator[Scan]:
    """Every scan of an mzXML file, in its order. Raises `RunError`: as `ScanReader.read`, and BAD_VALUE."""
    return _MzxmlReader(path).read()


class _MzxmlReader(ScanReader):
    """A scan is finished at its end, or before that where the scans made from it begin."""

    roots = ROOTS
    format_name = "mzXML"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._is_profile = False  # where a scan does not say
        self._scan: Attributes | None = None  # the scan that is open and not yet handed over
        self._n_scans = 0
        self._precursor: tuple[Attributes, str] | None = None
        self._precursor_attributes: Attributes = {}
        self._peaks: tuple[Attributes, str] | None = None
        self._peaks_attributes: Attributes = {}

    def starts(self) -> dict[str, Start]:
        return {
            "dataProcessing": self._data_processing,
            "scan": self._start_scan,
            "precursorMz": self._start_precursor,
            "peaks": self._start_peaks,
        }

    def ends(self) -> dict[str, End]:
        return {"scan": self._finish, "precursorMz": self._end_precursor, "peaks": self._end_peaks}

    def _data_processing(self, attributes: Attributes) -> None:
        # One step that centroided is enough; the others need not say so again.
        said = attributes.get("centroided")
        if said is not None:
            self._is_profile = said in ("0", "false")

    def _start_scan(self, attributes: Attributes) -> None:
        self._finish()
        self._n_scans += 1
        self._scan, self._precursor, self._peaks = attributes, None, None

    def _start_precursor(self, attributes: Attributes) -> None:
        if self._scan is not None:
            self._precursor_attributes = attributes
            self.collect()

    def _end_precursor(self) -> None:
        text = self.collected()
        if self._precursor is None:  # of several, the first
            self._precursor = self._precursor_attributes, text

    def _start_peaks(self, attributes: Attributes) -> None:
        if self._scan is not None:
            self._peaks_attributes = attributes
            self.collect()

    def _end_peaks(self) -> None:
        text = self.collected()
        if self._peaks is None:
            self._peaks = self._peaks_attributes, text

    def _finish(self) -> None:
        if self._scan is None:
            return
        attributes, self._scan = self._scan, None
        scan_id = one_line(attributes.get("num", "")) or str(self._n_scans)
        try:
            scan = self._made(scan_id, attributes)
        except ValueError as error:
            raise self.refuse(Code.BAD_VALUE, str(error), position=f"scan {scan_id}") from None
        self._precursor = self._peaks = None
        self.emit(scan)

    def _made(self, scan_id: str, attributes: Attributes) -> Scan:
        ms_level = int(_number(attributes.get("msLevel", "1"), "msLevel"))
        centroided = attributes.get("centroided")
        return Scan(
            id=scan_id,
            path=self.path,
            ms_level=ms_level,
            polarity=_POLARITY.get(attributes.get("polarity", "")),
            rt_seconds=_seconds(attributes.get("retentionTime", "")),
            is_profile=self._is_profile if centroided is None else centroided in ("0", "false"),
            precursor=self._precursor_of(attributes) if ms_level > 1 else None,
            arrays=self._encoded(scan_id, attributes) if ms_level <= 2 else (),
        )

    def _precursor_of(self, attributes: Attributes) -> Precursor | None:
        if self._precursor is None:
            return None
        stated, text = self._precursor
        width, charge, intensity = (
            stated.get(name) for name in ("windowWideness", "precursorCharge", "precursorIntensity")
        )
        return Precursor(
            mz=_number(text.strip(), "precursorMz") if text.strip() else None,
            intensity=_number(intensity, "precursorIntensity") if intensity else None,
            charge=int(_number(charge, "precursorCharge")) if charge else None,
            collision_energy=attributes.get("collisionEnergy") or None,
            isolation_width=_number(width, "windowWideness") if width else None,
        )

    def _encoded(self, scan_id: str, attributes: Attributes) -> tuple[EncodedArray, ...]:
        count = attributes.get("peaksCount", "0")
        if not count.isdecimal() or len(count) > 18:
            raise ValueError(f"peaksCount '{count[:40]}' is no count")
        if self._peaks is None or count == "0":  # some writers put one pair of zeros into a scan without peaks
            return ()
        stated, text = self._peaks
        dtype = _DTYPE.get(stated.get("precision", "32"))
        compression = stated.get("compressionType", "none")
        content = stated.get("contentType", stated.get("pairOrder", ""))
        if dtype is None or compression not in ("none", "zlib") or content not in _PAIRS:
            how = f"{compression}, precision {stated.get('precision')}, content '{content}'"
            message = f"peaks as {how[:80]}; expected m/z-int pairs of 32 or 64 bit, uncompressed or zlib"
            raise self.refuse(Code.UNKNOWN_FORMAT, message, f"scan {scan_id}")
        return (EncodedArray(text, dtype, compression == "zlib", 2 * int(count)),)


def _seconds(duration: str) -> float | None:
    """``PT434.072S`` as 434.072; None where there is none."""
    if not duration:
        return None
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError(f"retentionTime '{duration[:40]}' is no duration like PT12.5S")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{what} '{text[:40]}' is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number:g}; expected a finite number")
    return number
