"""Ion images in, vectors out: what a loaded model does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion.embed import representations
from ms2img.deepion.resnet import ResNet18
from ms2img.errors import UsageError


class EmbeddingPredictor:
    """An encoder, and what is known of how it was trained.

    mode: "col" | "iso". preset: name of views and training. shape: (H, W) of the images trained on; others are embedded
    as well, for the encoder averages over what it sees. prepare: how those images were made. model_version: of the
    bundle.
    """

    def __init__(
        self,
        encoder: ResNet18,
        *,
        mode: str,
        preset: str,
        shape: tuple[int, int],
        prepare: Mapping[str, Any],
        is_simulated: bool,
        model_version: str,
    ) -> None:
        self.encoder = encoder.eval()
        self.mode = mode
        self.preset = preset
        self.shape = shape
        self.prepare = dict(prepare)
        self.is_simulated = is_simulated
        self.model_version = model_version

    def embed(
        self, images: np.ndarray, *, device: str = "cpu", precision: str = "float32", batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Representations of ion images, float [n, H, W] in 0-1 as `ms2img.deepion.normalise` leaves them: [n, d].

        d is 512 for ResNet18. An image's answer does not depend on those beside it, but for rounding. Raises
        `UsageError` for anything but such images.
        """
        if images.ndim != 3 or not np.issubdtype(images.dtype, np.floating):
            raise UsageError(f"ion images: {images.dtype} {images.shape}; expected floating point [n, H, W]")
        if images.size and not (images.min() >= 0 and images.max() <= 1):  # so written, not a number is refused
            raise UsageError("ion images: a value that is not from 0 to 1")
        return representations(self.encoder, images, batch_size=batch_size, device=device, precision=precision)

    def unlike(self, shape: tuple[int, int], prepare: Mapping[str, Any]) -> list[str]:
        """In what images differ from those trained on, in words: their size, and how they were made."""
        said = [] if shape == self.shape else [f"{_size(shape)} pixels, trained on {_size(self.shape)}"]
        for name in sorted({*prepare, *self.prepare}):
            ours, theirs = prepare.get(name), self.prepare.get(name)
            if ours != theirs:
                said.append(f"{name} {ours}, trained on {theirs}")
        return said


def _size(shape: tuple[int, int]) -> str:
    return "x".join(map(str, shape))
