"""A file of every epoch that sweeps train, in whatever processes: ``sitecustomize`` of a folder for PYTHONPATH."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

#: Python runs this first of all in every process; it waits for `tune.worker` and has each trial write its epochs.
CUSTOMISE = """
import importlib.util, os, sys, time

class Waiting:
    def find_spec(self, name, path=None, target=None):
        if name != "tune.worker":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def counting(module):
            execute(module)
            begin = module.TrialRun.__init__
            def counted(run, cohort, ledger, number, *given, on_epoch, **more):
                def write(fold, row):
                    with open(os.environ["COUNTED_EPOCHS"], "a") as file:
                        file.write(f"{number} {fold} {int(row['epoch'])} {os.getpid()} {time.monotonic()}\\n")
                    on_epoch(fold, row)
                begin(run, cohort, ledger, number, *given, on_epoch=write, **more)
            module.TrialRun.__init__ = counted
        spec.loader.exec_module = counting
        return spec

sys.meta_path.insert(0, Waiting())
"""


@dataclass(frozen=True)
class Epoch:
    """One epoch as it was trained; `at`: of a clock that all processes share, seconds."""

    trial: int
    fold: int
    number: int
    process: int
    at: float


def counting(folder: Path) -> dict[str, str]:
    """Variables for a process whose epochs, and those of all below it, are to be counted."""
    (folder / "sitecustomize.py").write_text(CUSTOMISE)
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "COUNTED_EPOCHS": str(folder / "epochs.txt")}


def counted(folder: Path) -> list[Epoch]:
    """Every epoch that was trained, in order."""
    lines = [line.split() for line in (folder / "epochs.txt").read_text().splitlines()]
    return [Epoch(*map(int, line[:4]), float(line[4])) for line in lines]


def lost_seconds(epochs: list[Epoch]) -> float:
    """The most that the death of a process cost a fold: from the first to the last but one epoch trained once more.

    The last one does not count: the process may have died while it was being saved.
    """
    last = {(epoch.trial, epoch.fold, epoch.number): epoch for epoch in epochs}
    lost: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    for epoch in epochs:
        if last[epoch.trial, epoch.fold, epoch.number] is not epoch:
            lost[epoch.trial, epoch.fold, epoch.process].append(epoch.at)
    return max((max(times[:-1]) - times[0] for times in lost.values() if len(times) > 1), default=0.0)
