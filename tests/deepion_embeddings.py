"""A SIMULATED section as the searches in an embedding find it on disk: ion images, an embedding of them, the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ms2img.deepion.embed import min_max
from ms2img.deepion.embedding_folder import Embedding, read_embedding, write_embedding
from ms2img.deepion.images import IonImages, write_images
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.images import ion_images
from ms2img.deepion.phantom.section import make_phantom
from ms2img.deepion.phantom.truth import write_truth
from ms2img.deepion.reduction import principal_components


@dataclass(frozen=True)
class Section:
    """Folders of ion images and embedding, and the file of the truth."""

    images: Path
    embedding: Path
    truth: Path

    @cached_property
    def read(self) -> Embedding:
        return read_embedding(self.embedding)


def made(out: Path, *, ions: int = 40, size: int = 16, **facts: Any) -> Section:
    """A phantom of `ions`; the pixels stand for what an encoder would make of them, their main axes for UMAP."""
    phantom = make_phantom(PhantomConfig(ions=ions, height=size, width=size, difficulty=0.2))
    found, _ = ion_images(phantom)
    found = replace(found, **facts)
    section = Section(out / "images", out / "embedding", out / "truth.parquet")
    fingerprint = write_images(section.images, found)
    write_truth(section.truth, phantom.truth)
    write_embedding(section.embedding, embedded(found, str(section.images), fingerprint))
    return section


def embedded(found: IonImages, images: str, fingerprint: str, mode: str = "iso") -> Embedding:
    vectors = found.images.reshape(len(found), -1)
    axes = min_max(principal_components(vectors, seed=0))
    return Embedding(
        mz=found.mz,
        presence=found.presence,
        intensity=found.intensity,
        vectors=vectors,
        reduced=axes,
        plane=np.ascontiguousarray(axes[:, :2]),
        images=images,
        images_fingerprint=fingerprint,
        model="models:/deepion-SIMULATED-iso@champion",
        model_version="0123456789abcdef",
        mode=mode,
        preset="small",
        seed=0,
        metric="euclidean",
        polarity=found.polarity,
        is_simulated=found.is_simulated,
    )
