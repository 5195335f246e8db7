"""The loss of two views (DeepION, Eq. 10), and a watch on what it must not do: make all embeddings the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from ms2img.deepion.batches import ViewBatch
from ms2img.deepion.siamese import Answer, Siamese
from ms2img.errors import JobError
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.objective import autocast
from ms2img.learn.reporter import Reporter, Silent

#: Ours: embeddings whose spread is below this point one way to within .6 degrees; ResNet18 starts at about .15.
COLLAPSED = 0.01
SPREAD = "embedding_spread"


class CollapseError(JobError):
    """The embeddings of different images have become the same: nothing can be told apart by them."""


class SiameseObjective:
    """Mean negative cosine of each view's prediction and the other's target, over a batch; from -1 to 1.

    BYOL's own loss is 4 x (1 + this): the same minimum, and Adam's steps do not depend on the factor. Models are
    `Siamese`, or that within a `DistributedDataParallel`.
    """

    measures = ()

    def losses(self, model: nn.Module, batch: ViewBatch, precision: torch.dtype) -> tuple[Tensor, ...]:
        """Eq. 10, after a step of the target."""
        bare = model.module if isinstance(model, DistributedDataParallel) else model
        cast("Siamese", bare).follow()
        with autocast(batch.first.device, precision):
            answer = model(batch.first, batch.second)
        return (agreement_loss(answer),)

    def parts(self, batch: ViewBatch, size: int) -> list[ViewBatch]:
        """The batch whole: the models' batch norms need it so, and the training loop refuses smaller parts."""
        return [batch]

    def validate(self, model: nn.Module, validation: Iterator[ViewBatch], precision: torch.dtype) -> dict[str, float]:
        """``embedding_spread``, see `spread`, of the watched images' embeddings as they would be used.

        While a model trains, batch norms scale even the smallest differences up to the same size: seen there, no
        embedding ever collapses.
        """
        encoder = cast("Siamese", model).encoder
        embeddings = []
        for batch in validation:
            with autocast(batch.first.device, precision):
                embeddings.append(encoder(batch.first).float())
        told = spread(torch.cat(embeddings))
        if dist.is_initialized():
            # Running means are each worker's own. The first one's are kept, and all must end a training together.
            dist.broadcast(told, src=0)
        return {SPREAD: told.item()}


class CollapseWatch:
    """A reporter that hands on to another, and ends the training with `CollapseError` when embeddings are the same."""

    def __init__(self, reporter: Reporter | None = None) -> None:
        self._reporter = reporter or Silent()

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Hand the row on, then look at the spread of its epoch."""
        self._reporter.epoch(metrics)
        told = metrics[SPREAD]
        if told < COLLAPSED:
            raise CollapseError(
                f"epoch {metrics['epoch']:.0f}: the embeddings have collapsed: their spread is {told:.2g}, below "
                f"{COLLAPSED:g}; a larger batch or a lower learning rate may help"
            )

    def checkpoint(self, state: TrainingState) -> None:
        """See `Reporter.checkpoint`."""
        self._reporter.checkpoint(state)

    def should_stop(self) -> bool:
        """See `Reporter.should_stop`."""
        return self._reporter.should_stop()


def agreement_loss(answer: Answer) -> Tensor:
    """Eq. 10: the mean of D(p1, stopgrad(h2)) / 2 + D(p2, stopgrad(h1)) / 2, in float32."""
    first = negative_cosine(answer.first_prediction, answer.second_target)
    second = negative_cosine(answer.second_prediction, answer.first_target)
    return 0.5 * first.mean() + 0.5 * second.mean()


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """D, row by row of [b, d]: [b], from -1 to 1; no gradient flows to the target."""
    return -functional.cosine_similarity(prediction.float(), target.detach().float(), dim=1)


def spread(embeddings: Tensor) -> Tensor:
    """How far rows [b, d] point apart: 0 for one direction, 1 for directions that cancel; a scalar.

    The root of the total variance of the rows scaled to length 1. (SimSiam's measure of collapse, the mean standard
    deviation of a channel, is this over the root of d where all channels vary alike.)
    """
    directions = functional.normalize(embeddings.double(), dim=1)  # a float32's rounding would be 3e-4
    return (directions - directions.mean(dim=0)).square().sum(dim=1).mean().sqrt().float()
