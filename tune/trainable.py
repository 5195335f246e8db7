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
from tune.training import Subject

#: What a step reports. The metric that Ray Tune's schedulers and searchers look at is the first.
SCORE, LOSS, EPOCHS = "score", "loss", "epochs"


@dataclass(frozen=True)
class Job:
    """What all trials of a sweep share.

    `subject`: reference to a `tune.training.Subject`. `board`: handle of a `tune.board.Board`. `location`: of the
    ledger. `rungs`: epochs at which a trial reports; the last one is its end.
    """

    subject: Any
    board: Any
    location: str
    rungs: tuple[int, ...]
    checkpoint_seconds: float


class SweepTrainable(ray.tune.Trainable):
    """Trains the trial that ``config["trial"]`` describes, see `tune.settings.described`.

    A step reports `SCORE`, `LOSS` and `EPOCHS`, its trainings' results as JSON (``folds``), the ``seconds`` they took
    and whether the trial has ``finished``; or why the trial (``failed``) or the whole job (``job_error``) cannot go on.
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
        self._subject: Subject = ray.get(job.subject)
        self._where = f"{socket.gethostname()}:{os.getpid()}"
        self._post("loaded", self._where)
        self._begin(config["trial"])

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """See `ray.tune.Trainable`: the next trial in this worker."""
        self._begin(new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """See `ray.tune.Trainable`."""
        try:
            reached = self._training.reach(self._rungs.pop(0))
        except (FloatingPointError, UsageError) as error:
            return {"failed": str(error), "done": True}
        except JobError as error:
            return {"job_error": str(error), "done": True}
        return {
            SCORE: reached.score,
            LOSS: reached.loss,
            EPOCHS: reached.epochs,
            "folds": reached.results,
            "seconds": reached.seconds,
            "finished": reached.finished,
            "done": reached.finished or not self._rungs,
        }

    def _begin(self, trial: Mapping[str, Any]) -> None:
        import torch

        from ms2img.io.storage import folder
        from tune.ledger import Ledger

        number: int = trial["number"]
        self._post("started", (number, self._where))
        location, form = folder(self._job.location), self._subject.form
        ledger = Ledger(location, lambda text: self._post("note", text), form)
        self._training = self._subject.training(
            trial,
            ledger,
            device="cuda" if trial["gpus"] and torch.cuda.is_available() else "cpu",
            checkpoint_seconds=self._job.checkpoint_seconds,
            on_epoch=lambda fold, row: self._post("epoch", (number, fold, dict(row))),
        )
        entry = ledger.entry(number)
        reached = int(entry.rungs[-1][EPOCHS]) if entry and entry.rungs else 0
        # What the scheduler has been told it is not told again; but for the last rung, at which the trial ends.
        self._rungs = [rung for rung in self._job.rungs if rung > reached] or [self._job.rungs[-1]]

    def _post(self, kind: str, what: Any) -> None:
        self._job.board.post.remote(kind, what)
