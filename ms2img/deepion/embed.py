"""Ion images to vectors: the encoder's 512 numbers, and the 20 of them that UMAP makes (DeepION, Eqs. 8 and 9)."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from ms2img.deepion.resnet import ResNet18
from ms2img.errors import UsageError
from ms2img.learn.hardware import resolve_device, resolve_precision
from ms2img.learn.objective import autocast

DIMENSIONS = 20  # DeepION, section 3.2
NEIGHBOURS = 15  # umap-learn's default; the paper names none
#: Between representations while UMAP reduces them: the released code's, and umap-learn's default where the paper is
#: silent.
METRICS = {"paper": "euclidean", "released": "cosine"}


def representations(
    encoder: ResNet18, images: np.ndarray, *, batch_size: int = 64, device: str = "cpu", precision: str = "float32"
) -> NDArray[np.float32]:
    """What the encoder makes of ion images, float [n, H, W] in 0-1, unchanged: [n, 8 x base].

    The encoder is moved to `device` and put into evaluation mode. `FloatingPointError` when an answer is not finite.
    """
    where = resolve_device(device)
    dtype = resolve_precision(precision, where)
    encoder.to(where).eval()
    made = [np.empty((0, encoder.width), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            part = torch.tensor(images[start : start + batch_size], dtype=torch.float32, device=where)
            with autocast(where, dtype):
                answer = encoder(part.unsqueeze(1))
            made.append(answer.float().cpu().numpy())
    vectors = np.concatenate(made)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise FloatingPointError(f"the representation of image {row} is not finite; is the image?")
    return vectors


def reduced(
    vectors: np.ndarray, *, seed: int, dimensions: int = DIMENSIONS, metric: str = METRICS["paper"]
) -> NDArray[np.float32]:
    """UMAP of vectors [n, d], each dimension of it scaled to 0-1 over the n: [n, dimensions].

    Equal seeds give equal vectors on the same machine. UMAP places all vectors in relation to each other, so that
    what is to be compared must be reduced together. `UsageError` for less than four vectors.
    """
    n = len(vectors)
    if n < 4:
        raise UsageError(f"{n} ion images: UMAP needs four or more to place them by their neighbours")
    import umap

    # A spectral start takes as many eigenvectors as there are dimensions, and there are n of them at most.
    start = "spectral" if n > 2 * dimensions + 2 else "random"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value", category=UserWarning)  # a seed means one thread
        placed = umap.UMAP(
            n_components=dimensions,
            n_neighbors=min(NEIGHBOURS, n - 1),
            metric=metric,
            init=start,
            random_state=seed,
        ).fit_transform(np.asarray(vectors, np.float32))
    return min_max(placed)


def min_max(vectors: np.ndarray) -> NDArray[np.float32]:
    """Each column of [n, d] scaled to 0-1 (Eq. 9); a constant one is 0."""
    low = vectors.min(axis=0)
    span = vectors.max(axis=0) - low
    scaled = np.divide(vectors - low, span, out=np.zeros_like(vectors), where=span > 0)
    return scaled.astype(np.float32)
