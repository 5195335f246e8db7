"""The structural similarity of ion images (SSIM; Wang et al., 2004), between all pairs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

WINDOW = 7  # pixels a side of a window of equal weights: scikit-image's default
_K1, _K2 = 0.01, 0.03  # Wang et al., 2004, section III-B; of intensities from 0 to 1
_PIXELS = 1 << 22  # of pairs at a time: 16 MB a tensor (ours)


def structural_similarity(images: np.ndarray) -> NDArray[np.float64]:
    """Mean SSIM of all pairs of images [n, H, W] in 0-1, over the windows that lie within: [n, n], 1 on the diagonal.

    As scikit-image's with its defaults (windows of 7x7, unbiased variances). `ValueError` for images that are smaller
    than a window.
    """
    if images.ndim != 3 or min(images.shape[1:]) < WINDOW:
        raise ValueError(f"images of shape {images.shape}; expected [n, H, W] of {WINDOW} pixels or more a side")
    values = torch.tensor(images, dtype=torch.float32)
    means = _window_means(values)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variances = unbiased * (_window_means(values.square()) - means.square())
    similarity = np.eye(len(images))
    block = max(1, _PIXELS // values[0].numel())
    for one in range(len(images)):
        for start in range(one + 1, len(images), block):
            others = slice(start, start + block)
            shared = means[one] * means[others]
            covariances = unbiased * (_window_means(values[one] * values[others]) - shared)
            luminance = (2 * shared + _K1**2) / (means[one].square() + means[others].square() + _K1**2)
            structure = (2 * covariances + _K2**2) / (variances[one] + variances[others] + _K2**2)
            alike = (luminance * structure).flatten(1).double().mean(dim=1).numpy()
            similarity[one, others] = similarity[others, one] = alike
    return similarity


def _window_means(images: Tensor) -> Tensor:
    """Means over all windows within images [b, H, W]: [b, H - 6, W - 6]."""
    down = functional.avg_pool2d(images.unsqueeze(1), (WINDOW, 1), stride=1)
    return functional.avg_pool2d(down, (1, WINDOW), stride=1).squeeze(1)
