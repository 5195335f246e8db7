"""imzML's XML half: where each pixel's spectrum lies in the .ibd file, and how its numbers are stored.

Why not pyimzML's parser: it builds trees of a file that may declare entities, looks for its arrays by the names of
parameter groups, ignores compression, and gives what is left of a truncated .ibd file for a spectrum. Here the tags
stream by (`ms2img.io.formats.xml_scans`), and every offset is checked against the .ibd file before any is used.
pyimzML's reader is the oracle of the tests.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from ms2img.errors import Code
from ms2img.io.formats.cv_params import ParamReader, Params
from ms2img.io.formats.xml_scans import Attributes, End, Start, one_line

# Accessions of the PSI-MS and imaging ontologies.
_CONTINUOUS, _PROCESSED = "IMS:1000030", "IMS:1000031"
_UUID = "IMS:1000080"
_MODE = {"MS:1000127": "centroid", "MS:1000128": "profile"}
_POLARITY = {"MS:1000130": "positive", "MS:1000129": "negative"}
_POSITION = ("IMS:1000050", "IMS:1000051", "IMS:1000052")  # x, y, z
_PIXEL_SIZE = ("IMS:1000046", "IMS:1000047")  # x, y in um
_OFFSET, _LENGTH, _BYTES = "IMS:1000102", "IMS:1000103", "IMS:1000104"
_ARRAYS = ("MS:1000514", "MS:1000515")  # m/z, intensity
_DTYPE = {
    "MS:1000521": "<f4", "MS:1000523": "<f8", "MS:1000519": "<i4", "MS:1000522": "<i8", "IMS:1000141": "<i4",
    "IMS:1000142": "<i8", "IMS:1100000": "<i1", "IMS:1100001": "<i2",
}  # fmt: skip
_UNCOMPRESSED, _ZLIB = "MS:1000576", "MS:1000574"
_WANTED = frozenset(
    {
        _CONTINUOUS, _PROCESSED, _UUID, *_MODE, *_POLARITY, *_POSITION, *_PIXEL_SIZE, _OFFSET, _LENGTH, _BYTES,
        *_ARRAYS, *_DTYPE, _UNCOMPRESSED, _ZLIB,
    }
)  # fmt: skip
#: Of the numbers kept a spectrum: m/z array's offset, length and stored bytes, the intensities', then x, y, z.
COLUMNS = ("mz_offset", "mz_length", "mz_bytes", "offset", "length", "bytes", "x", "y", "z")


@dataclass(frozen=True)
class Encoding:
    """How one of the two arrays is stored: NumPy's name of its numbers, and whether zlib packed them."""

    dtype: str
    is_zlib: bool


@dataclass
class Header:
    """What is said once a file. `None`: not said."""

    mode: str | None = None  # "continuous" | "processed"
    uuid: str | None = None  # 32 hexadecimal digits, lower case
    spectra: str | None = None  # "centroid" | "profile"
    polarity: str | None = None  # "positive" | "negative"
    pixel_size_um: tuple[float, float] | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Index:
    """The spectra of a file, in its order: `numbers` int64 [n, len(COLUMNS)], offsets and sizes in bytes."""

    header: Header
    encodings: tuple[Encoding, Encoding]  # m/z, intensity
    numbers: np.ndarray = field(repr=False)


def read_index(path: str) -> Index:
    """Read the XML half of an imzML file.

    Raises `RunError`: as `ScanReader.read`; MALFORMED for a spectrum without position or arrays, BAD_VALUE for a number
    that is none, UNKNOWN_FORMAT for an array of another type or compression, EMPTY for no spectrum, MIXED_POLARITY.
    """
    return _IndexReader(path).index()


class _IndexReader(ParamReader):
    """Parameters are kept for the element that is open; a row of numbers is made when a spectrum ends."""

    roots = ("mzML", "indexedmzML")
    format_name = "imzML"
    wanted = _WANTED

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._header = Header()
        self._spectrum: Params = {}
        self._array: Params = {}
        self._arrays: dict[str, Params] = {}  # accession of m/z or intensity -> the array's parameters
        self._encodings: tuple[Encoding, Encoding] | None = None
        self._settings: Params = {}
        self._signs: set[str] = set()
        self._id = ""
        self._numbers = array("q")

    def index(self) -> Index:
        """Read to the end; the header, the encodings and a row of numbers a spectrum."""
        for _ in self.read():  # nothing is emitted: rows are kept here
            pass
        if self._encodings is None:
            raise self.refuse(Code.EMPTY, "an imzML file without a spectrum", position="the end")
        self._header.pixel_size_um = self._pixel_size()
        if len(self._signs) > 1:
            message = "spectra of positive and of negative mode, whose ions are not the same; expected a file each"
            raise self.refuse(Code.MIXED_POLARITY, message, position="the end")
        self._header.polarity = next(iter(self._signs), None)
        numbers = np.frombuffer(self._numbers, dtype=np.int64).reshape(-1, len(COLUMNS))
        return Index(self._header, self._encodings, numbers)

    def starts(self) -> dict[str, Start]:
        """See `ScanReader`: what is done where an element begins."""
        return super().starts() | {
            "fileContent": self._start_settings,
            "scanSettings": self._start_settings,
            "run": self._start_run,
            "spectrum": self._start_spectrum,
            "binaryDataArray": self._start_array,
        }

    def ends(self) -> dict[str, End]:
        """See `ScanReader`: what is done where an element ends."""
        return super().ends() | {
            "fileContent": self._end_content,
            "scanSettings": self.leave,
            "spectrum": self._end_spectrum,
            "binaryDataArray": self._end_array,
        }

    def _start_settings(self, attributes: Attributes) -> None:
        self.params = self._settings

    def _start_run(self, attributes: Attributes) -> None:
        self._header.run_id = attributes.get("id")

    def _end_content(self) -> None:
        found = self._settings
        self._header.mode = "continuous" if _CONTINUOUS in found else "processed" if _PROCESSED in found else None
        uuid = "".join(c for c in found.get(_UUID, {}).get("value", "").lower() if c in "0123456789abcdef")
        self._header.uuid = uuid if len(uuid) == 32 else None
        self._header.spectra = _mode(found)
        self.leave()

    def _start_spectrum(self, attributes: Attributes) -> None:
        self._id = f"spectrum {len(self._numbers) // len(COLUMNS) + 1} ({one_line(attributes.get('id', ''))})"
        self.params = self._spectrum = {}
        self._arrays = {}

    def _start_array(self, attributes: Attributes) -> None:
        self.params = self._array = {}

    def _end_array(self) -> None:
        for accession in _ARRAYS:
            if accession in self._array:
                self._arrays.setdefault(accession, self._array)
        self.params = self._spectrum

    def _end_spectrum(self) -> None:
        row: list[int] = []
        for accession, what in zip(_ARRAYS, ("m/z", "intensity"), strict=True):
            params = self._arrays.get(accession)
            if params is None:
                raise self.refuse(Code.MALFORMED, f"no {what} array", position=self._id)
            length = self._integer(params, _LENGTH, f"length of the {what} array")
            size = self._integer(params, _BYTES, "stored bytes") if _BYTES in params else -1
            row += [self._integer(params, _OFFSET, f"offset of the {what} array"), length, size]
        x, y, z = _POSITION
        row += [self._integer(self._spectrum, x, "position x"), self._integer(self._spectrum, y, "position y")]
        row.append(self._integer(self._spectrum, z, "position z") if z in self._spectrum else 1)
        self._numbers.extend(row)
        self._same_encodings(*(self._encoding(self._arrays[accession]) for accession in _ARRAYS))
        self._signs |= {sign for accession, sign in _POLARITY.items() if accession in self._spectrum}
        self._header.spectra = self._header.spectra or _mode(self._spectrum)
        self._last, self.params = self._id, None

    def _same_encodings(self, mz: Encoding, intensity: Encoding) -> None:
        if self._encodings is None:
            self._encodings = (mz, intensity)
        elif self._encodings != (mz, intensity):
            message = "its arrays are stored otherwise than those before; expected one type and compression a file"
            raise self.refuse(Code.UNKNOWN_FORMAT, message, position=self._id)

    def _encoding(self, params: Params) -> Encoding:
        dtype = next((name for accession, name in _DTYPE.items() if accession in params), None)
        if dtype is None:
            message = "an array of unknown type; expected float or integer of 32 or 64 bits, or integer of 8 or 16"
            raise self.refuse(Code.UNKNOWN_FORMAT, message, position=self._id)
        if _ZLIB not in params and _UNCOMPRESSED not in params:
            message = "an array of unknown compression; expected 'no compression' or 'zlib compression'"
            raise self.refuse(Code.UNKNOWN_FORMAT, message, position=self._id)
        return Encoding(dtype, _ZLIB in params)

    def _integer(self, params: Params, accession: str, what: str) -> int:
        if accession not in params:
            raise self.refuse(Code.MALFORMED, f"no {what} ({accession})", position=self._id)
        text = params[accession].get("value", "")
        if not text.strip().removeprefix("-").isdecimal() or len(text) > 18:
            raise self.refuse(Code.BAD_VALUE, f"{what} '{text[:40]}' is no integer of 64 bits", position=self._id)
        return int(text)

    def _pixel_size(self) -> tuple[float, float] | None:
        """In um, as the ontology has it; y as x where it is not said. A size that is no positive number is not said."""
        try:
            x = float(self._settings[_PIXEL_SIZE[0]]["value"])
            y = float(self._settings.get(_PIXEL_SIZE[1], {}).get("value", x))
        except (KeyError, ValueError):
            return None
        return (x, y) if 0 < x < np.inf and 0 < y < np.inf else None


def _mode(params: Params) -> str | None:
    return next((mode for accession, mode in _MODE.items() if accession in params), None)
