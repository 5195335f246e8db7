"""What is compared: the eleven methods of the paper's Table 1, and METASPACE's own measure.

A method makes of ion images either their similarities or vectors. Networks, which learn, are in
`ms2img.deepion.benchmark.networks`; each of theirs is scored twice, as the 20 numbers that UMAP makes of it (the
paper's) and as what the encoder gives, for UMAP may lose or gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion import measures
from ms2img.deepion.embed import reduced
from ms2img.deepion.images import IonImages
from ms2img.deepion.reduction import neighbour_embedding, principal_components
from ms2img.deepion.structure import structural_similarity

#: What a method may make of n ion images: name -> whether it is [n, n] similarities; else it is vectors [n, d].
SIMILARITY, VECTORS, UMAP, ENCODER = "similarity", "vectors", "umap", "encoder"

Floats = NDArray[np.float64]
#: space -> what a method made of the ion images there
Spaces = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Method:
    """A row of the table. `is_seeded`: whether chance has a part in it."""

    name: str
    title: str
    kind: Literal["similarity", "vectors", "network"]
    is_seeded: bool

    @property
    def spaces(self) -> tuple[str, ...]:
        """What it is scored in."""
        return (UMAP, ENCODER) if self.kind == "network" else (self.kind,)


#: In the order of Table 1; METASPACE's measure stands with its kind.
METHODS = {
    each.name: each
    for each in (
        Method("euclidean", "Euclidean", "similarity", is_seeded=False),
        Method("cosine", "cosine", "similarity", is_seeded=False),
        Method("pearson", "Pearson", "similarity", is_seeded=False),
        Method("r2", "R2", "similarity", is_seeded=False),
        Method("ssim", "SSIM", "similarity", is_seeded=False),
        Method("metaspace", "METASPACE", "similarity", is_seeded=False),
        Method("pca", "PCA", "vectors", is_seeded=False),
        Method("tsne", "t-SNE", "vectors", is_seeded=True),
        Method("umap", "UMAP", "vectors", is_seeded=True),
        Method("resnet18", "ResNet18", "network", is_seeded=True),
        Method("simsiam", "SimSiam", "network", is_seeded=True),
        Method("deepion", "DeepION", "network", is_seeded=True),
    )
}

_OF_PIXELS: dict[str, Callable[[np.ndarray], Floats]] = {
    "euclidean": measures.euclidean,
    "cosine": measures.cosine,
    "pearson": measures.pearson,
    "r2": measures.determination,
}
_OF_IMAGES: dict[str, Callable[[np.ndarray], Floats]] = {
    "ssim": structural_similarity,
    "metaspace": measures.median_thresholded_cosine,
}
#: PCA finds the same axes at any seed, up to rounding.
_REDUCTIONS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "pca": lambda rows, seed: principal_components(rows, seed=seed),
    "tsne": lambda rows, seed: neighbour_embedding(rows, seed=seed),
    "umap": lambda rows, seed: reduced(rows, seed=seed),
}


def unlearned(name: str, ions: IonImages, *, seed: int) -> Spaces:
    """What a method without a network makes of ion images: of the measured pixels, or of whole images where
    neighbours count.

    `KeyError` for a network's name. Raises what the method does: `ValueError` for images too small for SSIM,
    `UsageError` for too few to place by their neighbours.
    """
    if name in _OF_IMAGES:
        return {SIMILARITY: _OF_IMAGES[name](ions.images)}
    rows = ions.images[:, ions.mask]
    if name in _OF_PIXELS:
        return {SIMILARITY: _OF_PIXELS[name](rows)}
    return {VECTORS: _REDUCTIONS[name](rows, seed)}
