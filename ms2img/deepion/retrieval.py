"""Whether an encoder tells ions apart: ours, to compare versions of a model by; no figure of the paper.

Two views of every image are drawn, the same for every encoder. An ion counts as retrieved when, among the first views
of all ions, its own is nearest to its second. Computed on the images that an encoder was trained on, this says that it
has learnt to see through noise. It says nothing of biology: co-localised ions are to lie close, and take each other's
place.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
from numpy.typing import NDArray

from ms2img.deepion.augment import MsiViews
from ms2img.deepion.draws import Draws
from ms2img.deepion.embed import representations
from ms2img.deepion.presets import msi_views_of
from ms2img.deepion.resnet import ResNet18

PRESET = "paper"  # whose views they are, whatever the encoder was trained on
_SEED, _EPOCH = 0, 0  # of the views; a training counts its epochs from 1
_VIEWED = 512  # images whose views are in memory at a time (ours)
_COMPARED = 256  # ions compared with all others at a time (ours): 50 MB for 50,000


def retrieved(
    encoder: ResNet18, images: np.ndarray, mode: str, *, device: str = "cpu", precision: str = "float32"
) -> NDArray[np.bool_]:
    """Whether each ion is retrieved, bool [n], of images float [n, H, W] in 0-1; `mode`: "col" | "iso".

    Nearness is the cosine of representations, which the training is about. The encoder is moved to `device`.
    """
    views = msi_views_of(mode, PRESET)
    first, second = (
        _directions(encoder, images, views, number, device=device, precision=precision) for number in (0, 1)
    )
    found = np.zeros(len(images), dtype=bool)
    for start in range(0, len(images), _COMPARED):
        rows = np.arange(start, min(start + _COMPARED, len(images)))
        cosines = second[rows] @ first.T
        own = cosines[np.arange(len(rows)), rows]
        cosines[np.arange(len(rows)), rows] = -np.inf
        found[rows] = own > cosines.max(axis=1)  # where all are the same, none is told apart
    return found


def fingerprint(mode: str) -> str:
    """A hash of the views: figures of equal ones compare."""
    told = [PRESET, mode, _SEED, msi_views_of(mode, PRESET).to_dict()]
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()


def _directions(
    encoder: ResNet18, images: np.ndarray, views: MsiViews, number: int, *, device: str, precision: str
) -> NDArray[np.float32]:
    """Representations of one view of every image, of length 1: [n, d].

    Views are drawn on the CPU, whose streams of random numbers are the same everywhere.
    """
    made = [np.empty((0, encoder.width), np.float32)]
    for start in range(0, len(images), _VIEWED):
        some = torch.tensor(images[start : start + _VIEWED], dtype=torch.float32).unsqueeze(1)
        rows = np.arange(start, start + len(some))
        draws = Draws.of(rows, seed=_SEED, epoch=_EPOCH, view=number, device=some.device)
        seen = views.view(some, draws).squeeze(1).numpy()
        made.append(representations(encoder, seen, device=device, precision=precision))
    vectors = np.concatenate(made)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
