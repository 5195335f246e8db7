"""A prepared library on disk: three tables, and ``library.json``, whose writing is the commit.

A library folder is written once: whoever has read ``library.json`` may keep the tables for good.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import UsageError
from ms2img.io.schema import require
from ms2img.io.storage import Folder, folder
from ms2img.massformer.library.assemble import Assembled
from ms2img.massformer.library.tables import LIBRARY_SPECTRA, MOLECULES

MOLECULES_NAME, SPECTRA_NAME, REFUSED_NAME = "molecules.parquet", "spectra.parquet", "refused.parquet"
MANIFEST_NAME = "library.json"
FORMAT = 1  # of the folder; raised by hand when a reader of the old one would misread it
#: Raised by hand when the same records would give other tables.
STAGE = 1


@dataclass(frozen=True)
class Manifest:
    """What ``library.json`` says.

    settings: the filters. inputs: what the library was made of. counts: records, molecules, spectra, refused by reason.
    fingerprint: of the tables' content; checksums: of each file. is_simulated: whether any peaks are made up.
    """

    settings: dict[str, Any]
    inputs: dict[str, str]
    counts: dict[str, Any]
    fingerprint: str
    checksums: dict[str, str]
    is_simulated: bool

    @classmethod
    def read(cls, out: Folder) -> Self | None:
        """The manifest of a folder; None before its commit. Raises `UsageError` for a file that is none of ours."""
        content = out.read(MANIFEST_NAME)
        if content is None:
            return None
        try:
            values = json.loads(content)
            found = values.pop("format")
            manifest = cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UsageError(f"{out.location}/{MANIFEST_NAME}: not the description of a prepared library") from None
        if found != FORMAT:
            raise UsageError(f"{out.location}: a library of format {found}; this version reads format {FORMAT}")
        return manifest

    def content(self) -> bytes:
        """The file's bytes."""
        return json.dumps({"format": FORMAT, **self.__dict__}, indent=2, sort_keys=True).encode()


@dataclass(frozen=True)
class Library:
    """A prepared library: tables of schema `MOLECULES` and `LIBRARY_SPECTRA`, the filters they went through.

    `fingerprint`: equal tables, equal fingerprint. `is_simulated`: whether any peaks are made up.
    """

    molecules: pa.Table
    spectra: pa.Table
    settings: dict[str, Any]
    fingerprint: str = ""
    is_simulated: bool = False


def fingerprint_of(molecules: pa.Table, spectra: pa.Table) -> str:
    """A short hash of what the tables say, whatever wrote or read them."""
    found = hashlib.blake2b(digest_size=8)
    for table in (molecules, spectra):
        for column in table.combine_chunks().columns:
            values = column.combine_chunks()
            if pa.types.is_list(values.type):
                found.update(values.value_lengths().to_numpy(zero_copy_only=False).tobytes())
                found.update(values.flatten().to_numpy(zero_copy_only=False).tobytes())
            else:
                found.update(json.dumps(values.to_pylist()).encode())
    return found.hexdigest()


def read_library(place: str) -> Library:
    """The prepared library in a folder, local or ``s3://``.

    Raises `UsageError`, one line, for a folder that holds none, and for one whose files are not those of its manifest.
    """
    source = folder(place)
    manifest = Manifest.read(source)
    if manifest is None:
        raise UsageError(f"{place}: no prepared library; make one with 'ms2img massformer prepare LIBRARY... OUT'")
    return Library(
        require(_table(source, MOLECULES_NAME, manifest), MOLECULES, what=MOLECULES_NAME),
        require(_table(source, SPECTRA_NAME, manifest), LIBRARY_SPECTRA, what=SPECTRA_NAME),
        manifest.settings,
        manifest.fingerprint,
        manifest.is_simulated,
    )


def write_tables(out: Folder, assembled: Assembled) -> dict[str, str]:
    """Write the three tables; their checksums by name. Nothing is committed yet."""
    contents = {
        MOLECULES_NAME: _encoded(assembled.molecules),
        SPECTRA_NAME: _encoded(assembled.spectra),
        REFUSED_NAME: _encoded(assembled.refusals.table()),
    }
    for name, content in contents.items():
        out.write(name, content)
    return {name: _checksum(content) for name, content in contents.items()}


def commit(
    out: Folder,
    assembled: Assembled,
    checksums: Mapping[str, str],
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> Manifest:
    """Write ``library.json``, last: from now on the folder is a library."""
    manifest = Manifest(
        settings=dict(settings),
        inputs=dict(inputs),
        counts={
            "records": assembled.n_records,
            "molecules": assembled.molecules.num_rows,
            "spectra": assembled.spectra.num_rows,
            "refused": dict(assembled.refusals.as_dict()),
        },
        fingerprint=fingerprint_of(assembled.molecules, assembled.spectra),
        checksums=dict(checksums),
        is_simulated=assembled.is_simulated,
    )
    out.write(MANIFEST_NAME, manifest.content())
    return manifest


def write_library(
    place: str, assembled: Assembled, *, settings: Mapping[str, Any], inputs: Mapping[str, str]
) -> Manifest:
    """Write a whole library, committed by its last file. `inputs`: what it was made of, by name."""
    out = folder(place)
    return commit(out, assembled, write_tables(out, assembled), settings=settings, inputs=inputs)


def _encoded(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _table(source: Folder, name: str, manifest: Manifest) -> pa.Table:
    content = source.read(name)
    if content is None or _checksum(content) != manifest.checksums.get(name):
        what = "is missing" if content is None else "was changed since"
        raise UsageError(f"{source.location}/{name}: {what}; prepare the library again, into another folder")
    return pq.read_table(io.BytesIO(content))
