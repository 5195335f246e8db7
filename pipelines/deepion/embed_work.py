"""Some ion images in a worker: read, embedded, kept. Free of Ray."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np

from ms2img.deepion.image_rows import ImageRows
from ms2img.errors import UsageError
from ms2img.io.storage import Folder, folder
from pipelines.shipped_model import Model, loaded

BLOCK = 512  # images a task (ours): seconds of work at 64x64 pixels, whole row groups of the folder
PREFIX = "block-"


@dataclass(frozen=True)
class Block:
    """Rows of a folder of ion images, and the file that their vectors are kept in."""

    rows: range
    name: str


def blocks_of(n_ions: int, images_fingerprint: str, model_version: str, device: str) -> list[Block]:
    """All ions in blocks; a name is a hash of what the vectors follow from."""
    blocks = []
    for start in range(0, n_ions, BLOCK):
        rows = range(start, min(start + BLOCK, n_ions))
        told = f"{images_fingerprint} {model_version} {device} {rows.start} {rows.stop}"
        blocks.append(Block(rows, f"{PREFIX}{hashlib.blake2b(told.encode(), digest_size=16).hexdigest()}.npy"))
    return blocks


def embed_block(block: Block, *, images: str, fingerprint: str, out: str, model: Model, device: str) -> int:
    """Embed a block and keep its vectors in the folder `out`; how many images.

    fingerprint: of the images when the job began. Raises `UsageError` for images that were changed since, or are none.
    """
    from ms2img.deepion.bundle import load_bundle

    source = ImageRows(images)
    if source.fingerprint != fingerprint:
        raise UsageError(f"{images}: was changed while it was embedded; start the command again")
    predictor = loaded(model, load_bundle)
    try:
        vectors = predictor.embed(source.read(block.rows), device=device)
    except FloatingPointError as error:
        raise UsageError(f"{images}: of rows {block.rows.start} to {block.rows.stop - 1}: {error}") from None
    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    folder(out).write(block.name, content.getvalue())
    return len(vectors)


def read_block(out: Folder, block: Block) -> np.ndarray:
    """The vectors of a finished block, float32 [rows, d]."""
    content = out.read(block.name)
    if content is None:
        raise UsageError(f"{out.location}/{block.name}: is gone; start the command again")
    vectors: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return vectors
