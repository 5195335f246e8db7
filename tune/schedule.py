"""Who is stopped early: rungs in epochs, and Ray Tune's schedulers, told what an interrupted sweep had told them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from tune.ledger import Entry
from tune.trainable import EPOCHS, SCORE

Scheduler = Literal["fifo", "asha", "median"]
REDUCTION = 3  # a rung lets the best third go on (ours)
FIRST_RUNG = 9  # asha's first rung is at this share, 1/9, of the epochs: two halts before the end (ours)
MEDIAN_RUNGS = 8  # rungs of the median rule (ours)
MEDIAN_TRIALS = 4  # trials that must have come as far before one is stopped (ours)


def rungs(scheduler: Scheduler, epochs: int) -> tuple[int, ...]:
    """The epochs at which a trial reports and may be stopped, rising; the last is always `epochs`."""
    if scheduler == "fifo":
        return (epochs,)
    if scheduler == "median":
        step = math.ceil(epochs / MEDIAN_RUNGS)
        return (*range(step, epochs, step), epochs)
    found, rung = [], math.ceil(epochs / FIRST_RUNG)
    while rung < epochs:
        found.append(rung)
        rung *= REDUCTION
    return (*found, epochs)


def make_scheduler(scheduler: Scheduler, epochs: int, told: Sequence[Entry]) -> ResumedScheduler:
    """Ray Tune's scheduler, in the state that the rungs of an earlier run of the sweep had brought it to."""
    inner: TrialScheduler
    if scheduler == "fifo":
        inner = FIFOScheduler()
    elif scheduler == "asha":
        inner = AsyncHyperBandScheduler(
            time_attr=EPOCHS,
            metric=SCORE,
            mode="max",
            max_t=epochs,
            grace_period=rungs(scheduler, epochs)[0],
            reduction_factor=REDUCTION,
        )
    else:
        inner = MedianStoppingRule(
            time_attr=EPOCHS,
            metric=SCORE,
            mode="max",
            grace_period=rungs(scheduler, epochs)[0],
            min_samples_required=MEDIAN_TRIALS,
            min_time_slice=math.inf,  # else it would let trials wait for each other, which needs Tune's checkpoints
            hard_stop=False,  # it then answers PAUSE, and bears that a past trial went on where it would stop it
        )
    return ResumedScheduler(inner, told)


class _Past:
    """Stands for a trial that ended in an earlier run; schedulers ask for its id."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"past{number}"


class ResumedScheduler(FIFOScheduler):
    """A scheduler that begins with what the ledger remembers.

    Rungs of trials that have ended are told before anything else; those of a trial that goes on, when it is added.
    """

    def __init__(self, inner: TrialScheduler, told: Sequence[Entry]) -> None:
        super().__init__()
        self._inner = inner
        self._controller: Any = None
        self._running = {entry.number: entry for entry in told if not entry.has_ended}
        ended = [(rung["at"], entry.number, rung, entry) for entry in told if entry.has_ended for rung in entry.rungs]
        past: dict[int, _Past] = {}
        for _, number, rung, entry in sorted(ended, key=lambda each: each[:2]):
            if number not in past:
                past[number] = _Past(number)
                inner.on_trial_add(None, past[number])
            is_last = rung is entry.rungs[-1]
            if not (is_last and entry.status == "finished"):  # of its end Tune tells a scheduler once, as complete
                inner.on_trial_result(None, past[number], _as_result(rung))
            if is_last:
                inner.on_trial_complete(None, past[number], _as_result(rung))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """See `TrialScheduler`."""
        self._controller = tune_controller
        self._inner.on_trial_add(tune_controller, trial)
        entry = self._running.pop(trial.config["trial"]["number"], None)
        for rung in entry.rungs if entry else ():
            self._inner.on_trial_result(tune_controller, trial, _as_result(rung))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """See `TrialScheduler`."""
        answer = str(self._inner.on_trial_result(tune_controller, trial, result))
        return TrialScheduler.STOP if answer == TrialScheduler.PAUSE else answer

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """See `TrialScheduler`; of a failed trial, which has no score, the schedulers are not told."""
        if SCORE in result:
            self._inner.on_trial_complete(tune_controller, trial, result)

    def let_go(self) -> None:
        """Kill Tune's workers and give back their room: Tune, ended by `tune.recorder.Closed`, leaves both behind."""
        if self._controller is not None:
            self._controller._actor_manager.cleanup()

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """See `TrialScheduler`."""
        self._inner.on_trial_remove(tune_controller, trial)


def _as_result(rung: dict[str, float]) -> dict[str, float]:
    return {EPOCHS: rung["epochs"], SCORE: rung["accuracy"]}
