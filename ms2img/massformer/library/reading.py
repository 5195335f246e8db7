"""The records of a piece of work, read as they stream by; a bad one is a `Rejected`, so is a bad file of one record.

A file is read line by line and cut into records, so that memory does not depend on its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ms2img.errors import Code, RunError
from ms2img.io.text import open_content
from ms2img.massformer.library.archives import members
from ms2img.massformer.library.entries import MGF_BEGIN, MGF_END, MSP_COUNT, MSP_NAME, key_of, parse_mgf, parse_msp
from ms2img.massformer.library.massbank import END, FIRST_TAG, parse_massbank
from ms2img.massformer.library.reasons import Reason, Rejected
from ms2img.massformer.library.record import LibraryRecord
from ms2img.massformer.library.sources import Kind, Piece, Source, kind_of

LINE_BYTES = 1 << 20  # a line may be this long (ours): peaks in one line are a few thousand characters
RECORD_LINES = 1_100_000  # and a record this many lines (ours): `peaks.MAX_PEAKS` with its header
BUNDLE = 64  # records in a row that one task takes of a shared file (ours)


@dataclass
class _Turn:
    """Which records of a shared file are this piece's: counted through, a bundle after the other goes to the next."""

    index: int
    of: int
    count: int = 0

    def is_mine(self) -> bool:
        """Whether the next record is this piece's; it is counted."""
        self.count += 1
        return (self.count - 1) // BUNDLE % self.of == self.index


def read_piece(piece: Piece, max_unpacked: int) -> Iterator[LibraryRecord | Rejected]:
    """Every record of a piece. `max_unpacked`: bytes that may come out of one archive.

    Raises `RunError` for an archive, an MSP or an MGF file that cannot be read to its end: what was read of it is no
    library.
    """
    for source in piece.sources:
        turn = _Turn(piece.index, piece.of)
        if source.kind == "archive":
            yield from _archived(source, turn, max_unpacked)
            continue
        try:
            with open_content(source.place) as stream:
                yield from _records(stream, source.kind, source, source.place.rpartition("/")[2], turn)
        except RunError as error:
            if source.kind != "massbank":
                raise
            yield Rejected(Reason.MALFORMED, str(error))


def _archived(source: Source, turn: _Turn, max_unpacked: int) -> Iterator[LibraryRecord | Rejected]:
    with members(source.place, max_unpacked) as found:
        for name, stream in found:
            kind = kind_of(name)
            if kind is None or kind == "archive" or name.rpartition("/")[2].startswith("."):
                continue
            if kind != "massbank":
                yield from _records(stream, kind, source, name, turn)
            elif turn.is_mine():  # a file of its own: one that is another's is not even cut into lines
                yield from _records(stream, kind, source, name, _Turn(0, 1))


def _records(
    stream: BinaryIO, kind: Kind, source: Source, name: str, turn: _Turn
) -> Iterator[LibraryRecord | Rejected]:
    """The records of one stream; `name` is that of its file."""
    for number, lines in enumerate(_CUTTERS[kind](_lines(stream, source.place)), 1):
        if not turn.is_mine():
            continue
        place = f"{name}:{number}"
        try:
            if len(lines) > RECORD_LINES:
                raise ValueError(f"more than {RECORD_LINES:,} lines")
            yield _parsed(lines, kind, source.library, place)
        except ValueError as error:
            yield Rejected(Reason.MALFORMED, f"{place}: {error}")


def _parsed(lines: list[str], kind: Kind, library: str, place: str) -> LibraryRecord:
    if kind == "massbank":
        return parse_massbank(lines, library=library)
    parse = parse_msp if kind == "msp" else parse_mgf
    return parse(lines, library=library, place=place)


def _lines(stream: BinaryIO, location: str) -> Iterator[str]:
    r"""The lines of a stream without ``\n``; UTF-8, and what is none of it replaced."""
    number = 0
    while line := stream.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            message = f"a line of over {LINE_BYTES >> 20} MiB: expected lines of text"
            raise RunError(Code.TOO_LARGE, message, path=location, position=f"line {number}")
        text = line.decode("utf-8", "replace")
        yield (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")


def _cut_massbank(lines: Iterable[str]) -> Iterator[list[str]]:
    """Records end with ``//``; a text without an ACCESSION, such as a README, is none."""
    record: list[str] = []
    for line in lines:
        if line.rstrip() == END:
            if record:
                yield record
            record = []
        elif line.strip() and (record or line.startswith(FIRST_TAG)):
            _append(record, line)
    if record:
        yield record


def _cut_msp(lines: Iterable[str]) -> Iterator[list[str]]:
    """A record begins with the first key after peaks, or with a second name: matchms does not write the name first."""
    record: list[str] = []
    has_peaks = has_name = False
    for line in lines:
        if not (text := line.strip()):
            continue
        key = key_of(text) if text[0].isalpha() else None
        if key is not None and (has_peaks or (has_name and key == MSP_NAME)):
            yield record
            record, has_peaks, has_name = [], False, False
        has_name |= key == MSP_NAME
        has_peaks |= key == MSP_COUNT
        _append(record, line)
    if record:
        yield record


def _cut_mgf(lines: Iterable[str]) -> Iterator[list[str]]:
    """A record stands between ``BEGIN IONS`` and ``END IONS``; one without its end is cut at the next."""
    record: list[str] | None = None
    for line in lines:
        text = line.strip()
        if text in (MGF_BEGIN, MGF_END):
            if record is not None:
                yield record if text == MGF_END else [*record, MGF_BEGIN]
            record = [] if text == MGF_BEGIN else None
        elif record is not None and text:
            _append(record, text)
    if record is not None:
        yield [*record, MGF_BEGIN]


def _append(record: list[str], line: str) -> None:
    """Add a line; a record that is too long grows by one line over the limit, which refuses it, and no further."""
    if len(record) <= RECORD_LINES:
        record.append(line)


_CUTTERS: dict[str, Callable[[Iterable[str]], Iterator[list[str]]]] = {
    "massbank": _cut_massbank,
    "msp": _cut_msp,
    "mgf": _cut_mgf,
}
