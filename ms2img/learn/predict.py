"""Scoring images with a trained network."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ms2img.learn.batches import EVALUATION_BATCH, as_input
from ms2img.learn.hardware import torch_threads


def predict_probabilities(model: nn.Module, images: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """Probability of being active, float64 [n], of uint8 images [n, H, W].

    In float32 whatever the training's precision, so that what is reported is what the stored model says.
    """
    device = next(model.parameters()).device
    model.eval()
    logits = [np.empty(0, dtype=np.float64)]
    with torch.inference_mode(), torch_threads(threads):
        for start in range(0, len(images), EVALUATION_BATCH):
            part = torch.tensor(images[start : start + EVALUATION_BATCH], device=device)
            logits.append(model(as_input(part)).double().cpu().numpy())
    # The sigmoid in float64 keeps apart what float32 would round to 1.
    return 1 / (1 + np.exp(-np.concatenate(logits)))
