"""``ms2img deepion embed``, step by step: model, blocks of images on Ray, UMAP, folder.

Finished blocks lie in OUT until ``embedding.json`` is written: the same command goes on from them. UMAP places all ions
in relation to each other, so that it runs in one process: the driver's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ms2img.deepion.embed import DIMENSIONS, METRICS, reduced
from ms2img.deepion.embedding_folder import IONS, MANIFEST_NAME, PLANE, Embedding, read_embedding, write_embedding
from ms2img.deepion.image_numbers import read_numbers
from ms2img.deepion.image_rows import ImageRows
from ms2img.errors import UsageError
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.location import absolute
from ms2img.io.storage import Folder, folder, require_access
from pipelines.deepion.embed_work import PREFIX, Block, blocks_of, embed_block, read_block
from pipelines.progress import Steps
from pipelines.shipped_model import ShippedModel

if TYPE_CHECKING:
    from ms2img.deepion.predictor import EmbeddingPredictor
    from pipelines.deepion.embed import EmbedConfig

LEAST = 4  # ions that UMAP can place, see `ms2img.deepion.embed.reduced`
#: What an embedding in OUT must have in common with the one that is asked for.
SAME = ("images_fingerprint", "model_version", "seed", "metric")


@dataclass(frozen=True, eq=False)
class EmbedSummary:
    """What the folder holds. `was_embedded`: it held it before, and nothing was done."""

    embedding: Embedding
    output: str
    was_embedded: bool
    seconds: float


def embed(config: EmbedConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None) -> EmbedSummary:
    """Embed a folder of ion images; equal images, model and options are nothing to do.

    `notice` is told where the images are unlike those that the model was trained on. Raises `UsageError` before any
    work: no such model or images, too few of them, an OUT that holds something else or is being written.
    """
    from ms2img.tracking import flavor
    from ms2img.tracking.pull import pulled

    started = time.monotonic()
    require_access([config.images, config.out])
    images, out = ImageRows(config.images), folder(config.out)
    ions = read_numbers(config.images)
    if len(ions.mz) < LEAST:
        raise UsageError(f"{config.images}: {len(ions.mz)} ion images; UMAP needs {LEAST} or more to place them")
    with pulled(config.model) as (bundle, source):
        predictor: EmbeddingPredictor = flavor.load_bundle(bundle, system="deepion")
        facts = _facts(config, images, predictor, source.uri)
        if found := _embedded(out, facts):
            return EmbedSummary(found, out.location, True, time.monotonic() - started)
        for difference in predictor.unlike(images.mask.shape, images.facts.settings):
            notice(f"{config.images}: {difference}")
        with Lease(out, notice) as lease:
            vectors = _vectors(config, len(ions.mz), images, predictor, bundle, out, quiet=quiet)
            with Steps(2, "UMAP", quiet=quiet) as progress:
                spaces = []
                for dimensions in (DIMENSIONS, PLANE):
                    spaces.append(reduced(vectors, seed=config.seed, dimensions=dimensions, metric=facts["metric"]))
                    progress.advance(note=f"({dimensions} dimensions)")
            embedding = Embedding(
                **ions._asdict(),
                vectors=vectors,
                reduced=spaces[0],
                plane=spaces[1],
                **facts,
            )
            lease.require()
            write_embedding(config.out, embedding)
            out.delete(out.names(PREFIX))
    return EmbedSummary(read_embedding(config.out), out.location, False, time.monotonic() - started)


def _facts(config: EmbedConfig, images: ImageRows, predictor: EmbeddingPredictor, uri: str) -> dict[str, Any]:
    """What is true of the whole embedding; see `Embedding`."""
    return {
        "images": absolute(config.images),
        "images_fingerprint": images.fingerprint,
        "model": uri,
        "model_version": predictor.model_version,
        "mode": predictor.mode,
        "preset": predictor.preset,
        "seed": config.seed,
        "metric": config.metric or METRICS.get(predictor.preset, METRICS["paper"]),
        "polarity": images.facts.polarity,
        "is_simulated": images.facts.is_simulated or predictor.is_simulated,
    }


def _embedded(out: Folder, facts: Mapping[str, Any]) -> Embedding | None:
    """The embedding in a folder that is the one asked for; None where there is none yet.

    Raises `UsageError` for another one, and for a folder that is neither empty nor ours.
    """
    if out.read(MANIFEST_NAME) is None:
        foreign = next((name for name in out.names() if not name.startswith((IONS, PREFIX, LEASE_NAME))), None)
        if foreign is not None:
            raise UsageError(f"{out.location}: not empty and no embedding (it has {foreign}); give OUT another folder")
        return None
    found = read_embedding(out.location)
    for name in SAME:
        if getattr(found, name) != facts[name]:
            raise UsageError(
                f"{out.location}: embedded with {name}={getattr(found, name)}, now asked for {name}={facts[name]}; "
                "give OUT another folder"
            )
    return found


def _vectors(
    config: EmbedConfig,
    n_ions: int,
    images: ImageRows,
    predictor: EmbeddingPredictor,
    bundle: Path,
    out: Folder,
    *,
    quiet: bool,
) -> np.ndarray:
    """The encoder's vectors of all ions, float32 [n, d]; blocks that are finished are not embedded again."""
    device = "cuda" if config.num_gpus else "cpu"
    blocks = blocks_of(n_ions, images.fingerprint, predictor.model_version, device)
    finished = out.names(PREFIX)
    left = [block for block in blocks if block.name not in finished]
    with Steps(n_ions, "embed", quiet=quiet) as progress:
        progress.advance(n_ions - sum(len(block.rows) for block in left))
        if left:
            for count in _on_ray(config, left, images.fingerprint, predictor.model_version, bundle, out, device):
                progress.advance(count)
    return np.concatenate([read_block(out, block) for block in blocks])


def _on_ray(
    config: EmbedConfig,
    blocks: Sequence[Block],
    fingerprint: str,
    version: str,
    bundle: Path,
    out: Folder,
    device: str,
) -> Iterator[int]:
    """Embed and keep blocks on workers; yields how many images of each, as they are finished."""
    from cluster.connect import connected
    from ms2img.deepion.bundle import FILE_NAMES
    from pipelines.conversion.cluster_work import on_workers
    from pipelines.prediction.on_ray import require_gpus

    with connected(writes=[out.location]):
        if config.num_gpus:
            require_gpus(config.num_gpus, is_private=not os.environ.get("RAY_ADDRESS"))
        work = partial(
            embed_block,
            images=absolute(config.images),
            fingerprint=fingerprint,
            out=out.location,
            model=ShippedModel.of(bundle, version, FILE_NAMES),
            device=device,
        )
        yield from on_workers(blocks, work, num_gpus=config.num_gpus)
