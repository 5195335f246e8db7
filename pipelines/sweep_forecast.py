"""``ms2img sweep --dry-run``: the trials, their memory, and how long it will take, without training one."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass

from pipelines.sweep_config import SweepConfig
from pipelines.sweep_nodes import Node, gpus_per_trial, slots
from pipelines.sweep_plan import SweepPlan
from tune.estimate import measure_speed, sweep_seconds, trial_seconds
from tune.trial import Trial


@dataclass(frozen=True)
class Forecast:
    """A sweep that is not run.

    `trials`: all of them; of a search by Optuna random ones of the same space. `slots`: trials at a time. `requests`:
    bytes that Ray would be asked for, `seconds`: of training, both by trial number. `total_seconds`: from first start
    to last end, by the speed of this machine.
    """

    plan: SweepPlan
    trials: list[Trial]
    nodes: list[Node]
    slots: int
    gpus_per_trial: float
    requests: dict[int, int]
    seconds: dict[int, float]
    total_seconds: float


def forecast(config: SweepConfig) -> Forecast:
    """What `pipelines.sweep.sweep` would do, on the cluster that ``RAY_ADDRESS`` names, else on this machine.

    Raises `UsageError` as the sweep would. Takes some seconds: a few small networks are timed here.
    """
    from cluster.connect import connected

    plan = SweepPlan.make(config)
    is_cluster = bool(os.environ.get("RAY_ADDRESS"))
    with connected() if is_cluster else nullcontext():
        nodes = Node.connected() if is_cluster else [Node.this_machine()]
    at_once = slots(config, nodes)
    trials = plan.random_trials(max(node.memory for node in nodes))
    speed = measure_speed(plan.cohort.images, plan.tasks[0].fit)
    height, width = plan.cohort.images.shape[1:]
    folds = [task.fold for task in plan.tasks]
    seconds = {
        trial.number: trial_seconds(trial, speed, folds, height, width) for trial in trials if trial.refused is None
    }
    return Forecast(
        plan=plan,
        trials=trials,
        nodes=nodes,
        slots=at_once,
        gpus_per_trial=gpus_per_trial(config, nodes),
        requests=plan.requests(trials, nodes),
        seconds=seconds,
        total_seconds=sweep_seconds(seconds, at_once) if seconds else 0.0,
    )
