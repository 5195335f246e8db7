"""What a training is to make small, and what is told of it: the part of the loop that knows what a batch holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ms2img.learn.batches import Batch
from ms2img.learn.metrics import binary_metrics

BatchT = TypeVar("BatchT")


class Objective(Protocol[BatchT]):
    """What `ms2img.learn.fit.fit` asks of an objective; a batch is whatever its `Batches` yield."""

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what is told of the training part beside its loss, as ``train_<name>``."""

    def losses(self, model: nn.Module, batch: BatchT, precision: torch.dtype) -> tuple[Tensor, ...]:
        """The mean loss over a batch's examples, in float32 and with its gradient; then a mean for each measure."""

    def parts(self, batch: BatchT, size: int) -> list[BatchT]:
        """The batch in parts of at most `size` examples, weighted so that their losses add up to the whole batch's."""

    def validate(self, model: nn.Module, validation: Iterator[BatchT], precision: torch.dtype) -> dict[str, float]:
        """What is told of the validation part; empty where there is none.

        ``validation_loss`` among it decides on the epoch. Raises `FloatingPointError` for what is not finite.
        """


class BinaryObjective:
    """Binary cross-entropy of one logit an image, or [members, b] of an ensemble while it trains."""

    measures = ("accuracy",)

    def losses(self, model: nn.Module, batch: Batch, precision: torch.dtype) -> tuple[Tensor, ...]:
        """Mean cross-entropy, and the share called rightly; over all members of a model."""
        with autocast(batch.images.device, precision):
            logits = model(batch.images)
        targets = batch.targets.expand_as(logits)
        right = ((logits.detach() >= 0) == (targets > 0.5)).float().mean()
        return functional.binary_cross_entropy_with_logits(logits.float(), targets), right

    def parts(self, batch: Batch, size: int) -> list[Batch]:
        """See `Objective.parts`."""
        n = len(batch.images)
        return [
            Batch(images, targets, batch.size, batch.weight * len(images) / n)
            for images, targets in zip(torch.split(batch.images, size), torch.split(batch.targets, size), strict=True)
        ]

    def validate(self, model: nn.Module, validation: Iterator[Batch], precision: torch.dtype) -> dict[str, float]:
        """Loss, accuracy and AUC."""
        logits, targets = [], []
        for batch in validation:
            with autocast(batch.images.device, precision):
                logits.append(model(batch.images).float())
            targets.append(batch.targets)
        if not logits:
            return {}
        logit, target = torch.cat(logits), torch.cat(targets)
        loss = float(functional.binary_cross_entropy_with_logits(logit, target))
        probability = torch.sigmoid(logit).cpu().numpy()
        if not np.isfinite(probability).all():
            raise FloatingPointError("the validation predictions are not finite; a lower learning rate may help")
        metrics = binary_metrics(target.cpu().numpy(), probability)
        return {"validation_loss": loss, "validation_accuracy": metrics.accuracy, "validation_auc": metrics.roc_auc}


def autocast(device: torch.device, precision: torch.dtype) -> Any:
    """Matrix products and convolutions of the block in `precision`."""
    return torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32)
