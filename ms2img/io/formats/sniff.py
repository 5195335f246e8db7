"""Which format a run's file has: by its content, never by its name."""

from __future__ import annotations

import re
from itertools import islice

from ms2img.errors import Code, RunError
from ms2img.io.formats import msdial_alignment, msdial_peaklist, msp, mzml, mzxml, quant
from ms2img.io.text import open_text

SNIFF_LINES = 500
SNIFF_LINE_CHARS = 1 << 20  # an alignment of thousands of runs has long header lines

_FORMAT_OF_ROOT = dict.fromkeys(mzml.ROOTS, "mzml") | dict.fromkeys(mzxml.ROOTS, "mzxml")
_ROOT = re.compile(r"<(?:[\w.-]+:)?(mzML|indexedmzML|mzXML|msRun)[\s>/]")


def sniff(path: str) -> str:
    """The format of a run's file, gzip or not, by its first lines: one of `ms2img.io.sheet.FORMATS`.

    Raises `RunError`: as `open_text`, and UNKNOWN_FORMAT.
    """
    first = ""
    with open_text(path) as handle:
        for line in islice(iter(lambda: handle.readline(SNIFF_LINE_CHARS), ""), SNIFF_LINES):
            first = first or line.strip()
            if first.startswith("<"):
                root = _ROOT.search(line)
                if root is not None:
                    return _FORMAT_OF_ROOT[root[1]]
                continue
            cell = line.partition("\t")[0].strip()
            if line.strip() == "BEGIN IONS":
                return "mgf"
            if cell == msdial_alignment.FIRST_CELL:
                return "msdial-alignment"
            if cell in msdial_peaklist.FIRST_CELLS and first == line.strip():
                return "msdial-peaklist"
            if msp.normalised_key(line) == msp.COUNT_KEY:
                return "msp"
    raise RunError(Code.UNKNOWN_FORMAT, _hint(first), path=path)


def _hint(first: str) -> str:
    if first.startswith(quant.ID_COLUMN):
        return "this is a feature table; name it in the sheet's `quant_path`, and its MGF in `path`"
    if first.startswith("<"):
        return "this looks like XML, but is neither mzML nor mzXML"
    return (
        "expected mzML, mzXML, MGF ('BEGIN IONS'), MSP ('Num Peaks:'), an MS-DIAL alignment ('Alignment ID') or peak "
        "list ('PeakID')"
    )
