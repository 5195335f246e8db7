"""Ray Train's `TorchTrainer`, without what a fold has no use for. Imports Ray Train: only inside commands."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer

#: Callbacks of Ray Train that start an actor a fold, each a process with seconds of imports: one serves data sets,
#: which folds have none of; the other frees the place of a controller that was killed, as the end of the job does too.
SPARE_CALLBACKS = ("DatasetsCallback", "PlacementGroupCleanerCallback")


class FoldTrainer(TorchTrainer):
    """A `TorchTrainer` that starts two actors less; a quarter of what a fold costs before it trains.

    The method is Ray's own business. Where a version of Ray names things otherwise, nothing is left out.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ not in SPARE_CALLBACKS]
