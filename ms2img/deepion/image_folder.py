"""Ion images on disk: parts that several workers may write, and ``images.json``, whose writing is the commit.

A part's name holds a hash of its content: a folder that is written again stays whole for its readers until the new
``images.json`` is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.deepion.tables import PIXELS, ion_images_schema
from ms2img.errors import UsageError
from ms2img.io.dataset.images import pixels
from ms2img.io.dataset.shards import checksum
from ms2img.io.storage import Folder, join

IMAGES, PIXELS_NAME, MANIFEST_NAME = "images/", "pixels", "images.json"
FORMAT = 2  # of the folder; raised by hand when a reader of the old one would misread it
PART_BYTES = 64 * 2**20  # of pixels a part (ours): a part fits any worker, a set has few files
_PART, _PIXELS = re.compile(f"{IMAGES}part-[^/]+"), re.compile(f"{PIXELS_NAME}-[^/]+")  # names in the folder
ROW_GROUP = 64  # rows (ours): what a reader of one ion takes from the store


@dataclass(frozen=True)
class Facts:
    """What is true of all ions of a set; the fields are those of `ms2img.deepion.images.IonImages`."""

    pixel_size_um: tuple[float, float] | None = None
    source: str = ""
    polarity: str | None = None
    is_simulated: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Facts:
        """The inverse of `asdict`, for values that went through JSON."""
        size = values["pixel_size_um"]
        return cls(**values | {"pixel_size_um": None if size is None else tuple(size)})


@dataclass(frozen=True)
class Part:
    """A written part: its name in the folder, checksum, rows, and a hash of each row's m/z, intensity and image."""

    name: str
    checksum: str
    n_rows: int
    digest: str


@dataclass(frozen=True)
class Found:
    """What a folder holds: arrays as in `ms2img.deepion.images.IonImages`."""

    mz: np.ndarray
    presence: np.ndarray
    intensity: np.ndarray
    images: np.ndarray
    mask: np.ndarray
    tic: np.ndarray | None
    facts: Facts
    fingerprint: str


def parts_of(n_ions: int, n_pixels: int) -> list[slice]:
    """The rows of each part: at most `PART_BYTES` of pixels, at least one row."""
    most = max(1, PART_BYTES // (4 * n_pixels))
    return [slice(start, min(start + most, n_ions)) for start in range(0, n_ions, most)]


def write_part(
    out: Folder,
    number: int,
    mz: np.ndarray,
    presence: np.ndarray,
    intensity: np.ndarray,
    images: np.ndarray,
    source: str,
) -> Part:
    """Write some ions, sorted by m/z; no reader sees them before `commit`. images: float32 [n, H, W]."""
    schema = ion_images_schema(*images.shape[1:])
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(images, dtype=np.float32))
    table = pa.Table.from_arrays(
        [
            *(pa.array(numbers, pa.float64()) for numbers in (mz, presence, intensity)),
            column,
            pa.array([source] * len(mz)),
        ],
        schema=schema,
    )
    content = _encoded(table)
    name = f"{IMAGES}part-{number:05d}-{checksum(content)[:16]}.parquet"
    out.write(name, content)
    rows = b"".join(_row_digest(*row) for row in zip(mz, intensity, images, strict=True))
    return Part(name, checksum(content), len(mz), rows.hex())


def commit(
    out: Folder,
    parts: Sequence[Part],
    mask: np.ndarray,
    tic: np.ndarray | None,
    facts: Facts,
    made: Mapping[str, Any] | None = None,
) -> str:
    """Write the pixels, then ``images.json``: from now on the folder holds these parts, in this order, alone.

    made: what the images follow from, besides the settings: see `ms2img.deepion.prepare.made_of`.
    Returns the fingerprint: equal m/z, intensities, images and mask, equal fingerprint, whatever the parts. Raises
    `ValueError` for no ions.
    """
    if not sum(part.n_rows for part in parts):
        raise ValueError("no ion images to write")
    content = _encoded(_pixel_table(mask, tic))
    pixels_name = f"{PIXELS_NAME}-{checksum(content)[:16]}.parquet"
    out.write(pixels_name, content)
    rows = bytes.fromhex("".join(part.digest for part in parts))
    fingerprint = hashlib.blake2b(rows + np.packbits(mask).tobytes(), digest_size=8).hexdigest()
    files = {part.name: part.checksum for part in parts} | {pixels_name: checksum(content)}
    manifest = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "shape": list(mask.shape),
        "n_ions": sum(part.n_rows for part in parts),
        "files": files,
        "facts": asdict(facts),
        "made": dict(made or {}),
    }
    out.write(MANIFEST_NAME, json.dumps(manifest, indent=2).encode())
    written = [*out.names(f"{IMAGES}part-"), *out.names(f"{PIXELS_NAME}-")]
    out.delete(name for name in written if name.endswith(".parquet") and name not in files)
    return fingerprint


def read_folder(source: Folder) -> Found:
    """What a committed folder holds. Raises `UsageError`: see `ms2img.deepion.images.read_images`."""
    manifest = read_manifest(source)
    *parts, _ = manifest["files"].items()
    rows = pa.concat_tables([_table(source, name, digest) for name, digest in parts])
    mask, tic = read_pixels(source, manifest)
    return Found(
        mz=rows["mz"].to_numpy(),
        presence=rows["presence"].to_numpy(),
        intensity=rows["intensity"].to_numpy(),
        images=pixels(rows["image"]),
        mask=mask,
        tic=tic,
        facts=Facts.of(manifest["facts"]),
        fingerprint=manifest["fingerprint"],
    )


def read_pixels(source: Folder, manifest: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """The mask, bool [H, W], and the total ion counts, float64 [H, W] or None, of the folder that `manifest` is of."""
    *_, (name, digest) = manifest["files"].items()
    measured = _table(source, name, digest)
    shape = tuple(manifest["shape"])
    y, x = measured["y"].to_numpy(), measured["x"].to_numpy()
    mask = np.zeros(shape, dtype=bool)
    mask[y, x] = True
    if measured["tic"].null_count:
        return mask, None
    tic = np.zeros(shape)
    tic[y, x] = measured["tic"].to_numpy()
    return mask, tic


def read_manifest(source: Folder) -> dict[str, Any]:
    """What ``images.json`` says. Raises `UsageError`: see `ms2img.deepion.images.read_images`."""
    content = source.read(MANIFEST_NAME)
    if content is None:
        raise UsageError(f"{source.location}: no ion images; make some with 'ms2img deepion prepare FILE.imzML OUT'")
    where = join(source.location, MANIFEST_NAME)
    try:
        manifest: dict[str, Any] = json.loads(content)
        found = manifest["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"{where}: not the description of ion images") from None
    if found != FORMAT:
        raise UsageError(f"{where}: ion images of format {found}; this version reads format {FORMAT}")
    if not _is_whole(manifest):
        raise UsageError(f"{where}: not the description of ion images")
    return manifest


def _is_whole(manifest: dict[str, Any]) -> bool:
    """Whether a description has all that readers take from it, and names no file but those of its folder."""
    try:
        *parts, measured = manifest["files"].keys()
        height, width = manifest["shape"]
        Facts.of(manifest["facts"])
        return (
            isinstance(manifest["fingerprint"], str)
            and all(isinstance(side, int) and side > 0 for side in (height, width))
            and bool(parts)
            and all(_PART.fullmatch(name) for name in parts)
            and _PIXELS.fullmatch(measured) is not None
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def _table(source: Folder, name: str, digest: str) -> pa.Table:
    content = source.read(name)
    if content is None or checksum(content) != digest:
        what = "is missing" if content is None else "was changed since"
        raise UsageError(f"{join(source.location, name)}: {what}; prepare the ion images again")
    return pq.read_table(io.BytesIO(content))


def _pixel_table(mask: np.ndarray, tic: np.ndarray | None) -> pa.Table:
    y, x = np.nonzero(mask)
    counts = pa.nulls(len(y), pa.float64()) if tic is None else pa.array(tic[y, x], pa.float64())
    return pa.Table.from_arrays([pa.array(x, pa.int32()), pa.array(y, pa.int32()), counts], schema=PIXELS)


def _row_digest(mz: float, intensity: float, image: np.ndarray) -> bytes:
    found = hashlib.blake2b(np.array([mz, intensity], np.float64).tobytes(), digest_size=8)
    found.update(np.ascontiguousarray(image, dtype=np.float32).data)
    return found.digest()


def _encoded(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP if "image" in table.schema.names else None)
    return sink.getvalue()
