"""The room that machines have for the trials of a sweep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from cluster.placement import role_for, role_of
from ms2img.errors import UsageError

GPU_SHARE = 0.25  # of a GPU a trial takes where there is one (ours): a trial alone leaves most of it idle
RAY_SHARE = 0.7  # of a machine's free memory that Ray gives to workers, the rest is its object store's


class Share(Protocol):
    """The options that say what a trial takes and how many may run at a time."""

    @property
    def cpus_per_trial(self) -> int:
        """CPU cores of a trial."""

    @property
    def gpus_per_trial(self) -> float | None:
        """GPUs of a trial; None: `GPU_SHARE` where there are any."""

    @property
    def concurrent(self) -> int | None:
        """Trials at a time; None: as many as there is room for."""


@dataclass(frozen=True)
class Node:
    """A machine's room for trials; `memory` in bytes, `role` as `cluster.placement` has it."""

    cpus: int
    gpus: float
    memory: int
    role: str | None = None

    @classmethod
    def connected(cls) -> list[Self]:
        """The machines of the Ray we are connected to."""
        import ray

        alive = [(node["Resources"], role_of(node)) for node in ray.nodes() if node["Alive"]]
        return [
            cls(int(has.get("CPU", 0)), float(has.get("GPU", 0)), int(has.get("memory", 0)), role)
            for has, role in alive
            if has.get("CPU", 0) >= 1
        ]

    @classmethod
    def this_machine(cls) -> Self:
        """This machine, as a private Ray would see it (but for GPUs, which Ray finds)."""
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(len(os.sched_getaffinity(0)), 0.0, int(RAY_SHARE * free))


def gpus_per_trial(share: Share, nodes: Sequence[Node]) -> float:
    """As asked for; else a share of a GPU where there is one."""
    if share.gpus_per_trial is not None:
        return share.gpus_per_trial
    return GPU_SHARE if any(node.gpus for node in nodes) else 0.0


def slots(share: Share, nodes: Sequence[Node]) -> int:
    """Trials at a time by cores, GPUs and ``--concurrent``. `UsageError` when not even one has room."""
    cpus, gpus = share.cpus_per_trial, gpus_per_trial(share, nodes)
    room = sum(
        min(node.cpus // cpus, int(node.gpus / gpus + 1e-9) if gpus else node.cpus) for node in used(share, nodes)
    )
    if not room:
        has = " + ".join(f"{node.cpus} CPUs, {node.gpus:g} GPUs" for node in nodes)
        raise UsageError(
            f"a trial takes {cpus} CPUs, {gpus:g} GPUs, but the Ray cluster has {has}; "
            "lower --cpus-per-trial or --gpus-per-trial"
        )
    return min(room, share.concurrent or room)


def used(share: Share, nodes: Sequence[Node]) -> Sequence[Node]:
    """The machines that `cluster.placement.for_groups` gives the trials: those of their role, else all."""
    cpus, gpus = share.cpus_per_trial, gpus_per_trial(share, nodes)
    ours = [node for node in nodes if node.role == role_for(gpus)]
    return ours if any(node.cpus >= cpus and node.gpus >= gpus for node in ours) else nodes
