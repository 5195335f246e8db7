"""mzML (HUPO-PSI 1.0 and 1.1, with or without its index): scan by scan, no index needed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ms2img.errors import Code, RunError
from ms2img.io.formats.cv_params import ParamReader, Params
from ms2img.io.formats.scan import EncodedArray, Precursor, Scan
from ms2img.io.formats.xml_scans import Attributes, End, Start, one_line

ROOTS = ("mzML", "indexedmzML")

# Accessions of the PSI-MS and unit ontologies.
_MS_LEVEL = "MS:1000511"
_MS1_SPECTRUM = "MS:1000579"
_POLARITY = {"MS:1000130": "positive", "MS:1000129": "negative"}
_PROFILE = "MS:1000128"
_START_TIME = "MS:1000016"
_SECONDS = {"UO:0000010": 1.0, "UO:0000031": 60.0, "UO:0000028": 1e-3, "MS:1000039": 1.0, "MS:1000038": 60.0}
_SELECTED_MZ = ("MS:1000744", "MS:1000040")  # the second: mzML 1.0
_PEAK_INTENSITY = "MS:1000042"
_CHARGE = "MS:1000041"
_ENERGY = ("MS:1000045", "MS:1000138")  # absolute, else normalised
_TARGET, _LOWER, _UPPER = "MS:1000827", "MS:1000828", "MS:1000829"
_MZ_ARRAY, _INTENSITY_ARRAY = "MS:1000514", "MS:1000515"
_DTYPE = {"MS:1000523": "<f8", "MS:1000521": "<f4", "MS:1000522": "<i8", "MS:1000519": "<i4"}
_UNCOMPRESSED, _ZLIB = "MS:1000576", "MS:1000574"
_REFUSED = {
    "MS:1002312": "numpress",
    "MS:1002313": "numpress",
    "MS:1002314": "numpress",
    "MS:1002746": "numpress",
    "MS:1002747": "numpress",
    "MS:1002748": "numpress",
}
_WANTED = frozenset(
    {
        _MS_LEVEL, _MS1_SPECTRUM, *_POLARITY, _PROFILE, _START_TIME, *_SELECTED_MZ, _PEAK_INTENSITY, _CHARGE, *_ENERGY,
        _TARGET, _LOWER, _UPPER, _MZ_ARRAY, _INTENSITY_ARRAY, *_DTYPE, _UNCOMPRESSED, _ZLIB, *_REFUSED,
    }
)  # fmt: skip


def read_scans(path: str) -> Iterator[Scan]:
    """Every mass spectrum of an mzML file, in its order. Raises `RunError`: as `ScanReader.read`, and BAD_VALUE."""
    return _MzmlReader(path).read()


class _MzmlReader(ParamReader):
    """What is open at the moment is kept as parameters; a scan is made of them when its element ends."""

    roots = ROOTS
    format_name = "mzML"
    wanted = _WANTED

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._spectrum: Params = {}
        self._attributes: Attributes = {}
        self._n_spectra = 0
        self._precursor: Params | None = None
        self._array: Params = {}
        self._array_length = ""
        self._text_of_array = ""
        self._arrays: dict[str, tuple[Params, str, str]] = {}  # accession of m/z or intensity -> params, length, text

    def starts(self) -> dict[str, Start]:
        return super().starts() | {
            "spectrum": self._start_spectrum,
            "precursor": self._start_precursor,
            "product": self._outside,
            "binaryDataArray": self._start_array,
            "binary": self._start_binary,
        }

    def ends(self) -> dict[str, End]:
        return super().ends() | {
            "spectrum": self._end_spectrum,
            "precursor": self._back,
            "product": self._back,
            "binary": self._end_binary,
            "binaryDataArray": self._end_array,
        }

    def _back(self) -> None:
        self.params = self._spectrum

    def _outside(self, attributes: Attributes) -> None:
        self.params = None

    def _start_spectrum(self, attributes: Attributes) -> None:
        self._n_spectra += 1
        self.params = self._spectrum = {}
        self._attributes, self._precursor, self._arrays = attributes, None, {}

    def _start_precursor(self, attributes: Attributes) -> None:
        # The first is the last step: of an MS3 scan the others are where its precursor came from.
        self.params = {}
        if self._precursor is None:
            self._precursor = self.params

    def _start_array(self, attributes: Attributes) -> None:
        self.params = self._array = {}
        self._array_length = attributes.get("arrayLength", "")
        self._text_of_array = ""

    def _start_binary(self, attributes: Attributes) -> None:
        if self._attributes:
            self.collect()

    def _end_binary(self) -> None:
        self._text_of_array = self.collected()

    def _end_array(self) -> None:
        for accession in (_MZ_ARRAY, _INTENSITY_ARRAY):
            if accession in self._array:
                self._arrays.setdefault(accession, (self._array, self._array_length, self._text_of_array))
        self._text_of_array = ""
        self._back()

    def _end_spectrum(self) -> None:
        scan_id = one_line(self._attributes.get("id", "")) or str(self._n_spectra)
        try:
            scan = self._scan(scan_id)
        except ValueError as error:
            raise self.refuse(Code.BAD_VALUE, str(error), position=scan_id) from None
        self.params, self._attributes, self._arrays = None, {}, {}
        if scan is not None:
            self.emit(scan)

    def _scan(self, scan_id: str) -> Scan | None:
        params = self._spectrum
        if _MS_LEVEL in params:
            ms_level = _integer(params[_MS_LEVEL], "ms level")
        elif _MS1_SPECTRUM in params:
            ms_level = 1
        else:
            return None  # the spectrum of another detector, UV for one
        start = params.get(_START_TIME)
        unit = _SECONDS.get(start.get("unitAccession", "")) if start else None  # without a unit it says nothing
        return Scan(
            id=scan_id,
            path=self.path,
            ms_level=ms_level,
            polarity=next((sign for accession, sign in _POLARITY.items() if accession in params), None),
            rt_seconds=_number(start, "scan start time") * unit if start and unit else None,
            is_profile=_PROFILE in params,
            precursor=_precursor(self._precursor) if self._precursor is not None and ms_level > 1 else None,
            arrays=self._encoded(scan_id) if ms_level <= 2 else (),
        )

    def _encoded(self, scan_id: str) -> tuple[EncodedArray, ...]:
        default = self._attributes.get("defaultArrayLength", "0")
        if not self._arrays and default == "0":
            return ()
        if len(self._arrays) < 2:
            missing = "m/z" if _MZ_ARRAY not in self._arrays else "intensity"
            raise self.refuse(Code.MALFORMED, f"no {missing} array, but {default[:20]} peaks promised", scan_id)
        encoded = []
        for accession in (_MZ_ARRAY, _INTENSITY_ARRAY):
            params, length, text = self._arrays[accession]
            dtype = next((name for number, name in _DTYPE.items() if number in params), None)
            is_zlib = _ZLIB in params
            if dtype is None or not (is_zlib or _UNCOMPRESSED in params) or not params.keys().isdisjoint(_REFUSED):
                raise self._unreadable_array(params, scan_id)
            encoded.append(EncodedArray(text, dtype, is_zlib, _length(length or default)))
        return tuple(encoded)

    def _unreadable_array(self, params: Params, scan_id: str) -> RunError:
        how = next((name for number, name in _REFUSED.items() if number in params), "an unknown encoding")
        message = f"an array in {how}; export with 32 or 64 bit floats, uncompressed or zlib"
        return self.refuse(Code.UNKNOWN_FORMAT, message, scan_id)


def _precursor(params: Params) -> Precursor:
    mz = next((_number(params[key], "selected ion m/z") for key in _SELECTED_MZ if key in params), None)
    if not mz and _TARGET in params:
        mz = _number(params[_TARGET], "isolation window target m/z")
    energy = next((params[key] for key in _ENERGY if key in params), None)
    offsets = [_number(params[key], "isolation window offset") for key in (_LOWER, _UPPER) if key in params]
    return Precursor(
        mz=mz,
        intensity=_number(params[_PEAK_INTENSITY], "peak intensity") if _PEAK_INTENSITY in params else None,
        charge=_integer(params[_CHARGE], "charge state") if _CHARGE in params else None,
        collision_energy=f"{energy.get('value', '')} {energy.get('unitName', '')}".strip() or None if energy else None,
        isolation_width=sum(offsets) if offsets else None,
    )


def _number(attributes: Attributes, what: str) -> float:
    value = attributes.get("value", "")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{what} '{value[:40]}' is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number:g}; expected a finite number")
    return number


def _integer(attributes: Attributes, what: str) -> int:
    return int(_number(attributes, what))


def _length(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(f"array length '{text[:40]}' is no count")
    return int(text)
