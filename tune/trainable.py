"""The Ray Tune side of a trial: one ``step()`` is one rung, and a worker keeps the images from trial to trial.

Nothing here imports torch before `prepare_environment` has set what torch reads once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.tune

from cluster.placement import for_groups
from ms2img.errors import JobError, UsageError
from ms2img.learn.environment import prepare_environment

#: What a step reports. The metric that Ray Tune's schedulers and searchers look at is the first.
ACCURACY, LOSS, EPOCHS = "validation_accuracy", "validation_loss", "epochs"


@dataclass(frozen=True)
class Job:
    """What all trials of a sweep share.

    `cohort`: reference to a `tune.worker.Cohort`. `board`: handle of a `tune.board.Board`. `location`: of the ledger.
    `rungs`: epochs at which a trial reports; the last one is its end.
    """

    cohort: Any
    board: Any
    location: str
    rungs: tuple[int, ...]
    checkpoint_seconds: float


class SweepTrainable(ray.tune.Trainable):
    """Trains the trial that ``config["trial"]`` describes, see `tune.settings.described`.

    A step reports `ACCURACY` and `LOSS` (means over the folds), `EPOCHS`, the ``folds`` (see `result_to_json`) and the
    ``seconds`` they took; or why the trial (``failed``) or the whole job (``job_error``) cannot go on.
    """

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> Any:
        """See `ray.tune.Trainable`: what Ray sets aside for a trial."""
        asked = {"CPU": config["trial"]["cpus"], "GPU": config["trial"]["gpus"], "memory": config["trial"]["memory"]}
        bundle = {name: amount for name, amount in asked.items() if amount}
        labels = for_groups(cpus=asked["CPU"], gpus=asked["GPU"])
        return ray.tune.PlacementGroupFactory([bundle], **({"bundle_label_selector": [labels]} if labels else {}))

    def setup(self, config: Mapping[str, Any], job: Job | None = None) -> None:
        """See `ray.tune.Trainable`; once a worker, unlike `reset_config`."""
        prepare_environment()
        if job is None:
            raise ValueError("SweepTrainable needs its job: ray.tune.with_parameters(SweepTrainable, job=...)")
        self._job = job
        self._cohort = ray.get(job.cohort)
        self._where = f"{socket.gethostname()}:{os.getpid()}"
        self._post("loaded", self._where)
        self._begin(config["trial"])

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """See `ray.tune.Trainable`: the next trial in this worker."""
        self._begin(new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """See `ray.tune.Trainable`."""
        from statistics import fmean

        from ms2img.ms2toimg.crossvalidate import result_to_json
        from tune.choose import validation_score

        epochs = self._rungs.pop(0)
        try:
            folds = self._run.train_to(epochs)
        except (FloatingPointError, UsageError) as error:
            return {"failed": str(error), "done": True}
        except JobError as error:
            return {"job_error": str(error), "done": True}
        scores = [validation_score(fold) for fold in folds]
        return {
            ACCURACY: fmean(score.accuracy for score in scores),
            LOSS: fmean(score.loss for score in scores),
            EPOCHS: epochs,
            "folds": [result_to_json(fold) for fold in folds],
            "seconds": sum(fold.seconds for fold in folds),
            "done": not self._rungs,
        }

    def _begin(self, trial: Mapping[str, Any]) -> None:
        import torch

        from ms2img.io.storage import folder
        from ms2img.learn.fit_config import FitConfig
        from ms2img.ms2toimg.cnn import CnnConfig
        from tune.ledger import Ledger
        from tune.worker import TrialRun

        number: int = trial["number"]
        self._post("started", (number, self._where))
        ledger = Ledger(folder(self._job.location), lambda text: self._post("note", text))
        device = "cuda" if trial["gpus"] and torch.cuda.is_available() else "cpu"
        self._run = TrialRun(
            self._cohort,
            ledger,
            number,
            trial["values"],
            CnnConfig.from_dict(trial["cnn"]),
            FitConfig.from_dict({**trial["fit"], "device": device}),
            checkpoint_seconds=self._job.checkpoint_seconds,
            on_epoch=lambda fold, row: self._post("epoch", (number, fold, dict(row))),
        )
        entry = ledger.entry(number)
        reached = int(entry.rungs[-1][EPOCHS]) if entry and entry.rungs else 0
        # What the scheduler has been told it is not told again; but for the last rung, at which the trial ends.
        self._rungs = [rung for rung in self._job.rungs if rung > reached] or [self._job.rungs[-1]]

    def _post(self, kind: str, what: Any) -> None:
        self._job.board.post.remote(kind, what)
