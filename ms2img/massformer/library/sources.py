"""What the LIBRARY arguments name: record files, MSP and MGF files and archives, and how the work is parted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ms2img.errors import RunError, UsageError
from ms2img.io.location import absolute, file_name, join
from ms2img.io.storage import FileStatus, folder, is_folder, require_access, status
from ms2img.massformer.library.archives import ARCHIVES, archive_kind

Kind = Literal["massbank", "msp", "mgf", "archive"]
#: File endings and what they hold; each may be followed by ".gz". Files of other names are passed over.
ENDINGS: Mapping[str, Kind] = {".txt": "massbank", ".msp": "msp", ".mgf": "mgf"}
FILES_A_PIECE = 500  # record files that one task reads (ours): a second or two
#: A shared file smaller than this is one task (ours): reading it all for a part of it would not pay.
SHARED_BYTES = 1 << 22


@dataclass(frozen=True)
class Source:
    """One file to read. `library`: what its records' library is called."""

    place: str
    kind: Kind
    library: str
    status: FileStatus


@dataclass(frozen=True)
class Piece:
    """What one task reads: these files; of their records (counted through), every `of`-th bundle from `index` on."""

    sources: tuple[Source, ...]
    index: int = 0
    of: int = 1


@dataclass(frozen=True)
class Inputs:
    """All that is read. `identity`: a hash of names, sizes and versions of the files, by the argument they are of."""

    sources: tuple[Source, ...]
    identity: Mapping[str, str] = field(default_factory=dict)


def find_inputs(places: Sequence[str]) -> Inputs:
    """Look at every LIBRARY; nothing is read.

    Raises `UsageError`, one line: a place that is not there or cannot be listed, one without a single library file, two
    arguments that name one place.
    """
    if len({absolute(place) for place in places}) < len(places):
        raise UsageError(f"{', '.join(places)}: one library is named twice")
    require_access(places)
    sources: list[Source] = []
    identity: dict[str, str] = {}
    for place in places:
        found = _in_folder(place) if is_folder(place) else [_file(place)]
        hashed = hashlib.blake2b(digest_size=8)
        for source in found:
            below = source.place.removeprefix(place)
            hashed.update(f"{below}\0{source.status.size}\0{source.status.version}\n".encode())
        identity[absolute(place)] = hashed.hexdigest()
        sources += found
    return Inputs(tuple(sources), identity)


def pieces(sources: Sequence[Source], cores: int) -> list[Piece]:
    """The work in parts: small files by the hundred, large ones and archives in as many parts as there are cores.

    A part of a shared file reads through all of it, which is cheap, and parses its own records alone, which is not.
    """
    shared = [each for each in sources if each.kind == "archive" or each.status.size > SHARED_BYTES]
    own = [each for each in sources if each.kind != "archive" and each.status.size <= SHARED_BYTES]
    parts: list[Piece] = []
    for source in shared:
        parts += [Piece((source,), index, cores) for index in range(cores)]
    for first in range(0, len(own), FILES_A_PIECE):
        parts.append(Piece(tuple(own[first : first + FILES_A_PIECE])))
    return parts


def kind_of(name: str) -> Kind | None:
    """What a file of this name holds; None for a name that says nothing."""
    if archive_kind(name) is not None:
        return "archive"
    plain = name.lower().removesuffix(".gz")
    return next((kind for ending, kind in ENDINGS.items() if plain.endswith(ending)), None)


def library_name(place: str) -> str:
    """``massbank-ft-msms`` of ``s3://bucket/massbank-ft-msms.tar.xz``."""
    name = file_name(absolute(place))
    for ending in (*ARCHIVES, ".gz", *ENDINGS):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name or "library"


def _file(place: str) -> Source:
    kind = kind_of(file_name(place))
    if kind is None:
        known = ", ".join((*ENDINGS, *ARCHIVES))
        raise UsageError(f"{place}: not a library by its name: expected a folder, or a file ending in {known}")
    try:
        return Source(place, kind, library_name(place), status(place))
    except RunError as error:
        raise UsageError(str(error)) from None


def _in_folder(place: str) -> list[Source]:
    """The library files anywhere below a folder; hidden ones and empty ones are passed over."""
    found = []
    for name, state in folder(place).names().items():
        kind = kind_of(name)
        if kind is not None and state.size and not any(part.startswith(".") for part in name.split("/")):
            found.append(Source(join(place, *name.split("/")), kind, library_name(place), state))
    if not found:
        known = ", ".join((*ENDINGS, *ARCHIVES))
        raise UsageError(f"{place}: no library file in this folder: expected files ending in {known}")
    return found
