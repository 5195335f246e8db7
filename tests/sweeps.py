"""A tiny study to sweep, sweeps of it in processes of their own, and what must not depend on what happened to them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from conversions import below, running
from image_sets import commit

from ms2img.io.storage import folder
from ms2img.ms2toimg.crossvalidate import run_fold
from pipelines.sweep_config import SweepConfig
from pipelines.sweep_plan import SweepPlan
from tune.ledger import Ledger
from tune.search import run_search
from tune.settings import Search
from tune.worker import Cohort

FOLDS = 2
SPACE = """
base: paper
parameters:
  conv_layers: {choice: [1]}
  filters: {int: [2, 6], step: 2}
  dense_layers: {choice: [1, 2]}
  units: {int: [4, 16], step: 4}
  dropout: {float: [0.1, 0.5], step: 0.1}
  learning_rate: {log: [1.0e-3, 1.0e-1]}
"""


def study(path: Path) -> dict[str, str]:
    """Images of 48 runs of 24 accessions whose grey goes with the assay, loosely; the options that name them."""
    path.mkdir()
    draw = np.random.default_rng(7)
    rows, samples = ["sample_id,path,accession,activity"], {}
    for accession in range(24):
        active = accession % 2
        for replicate in range(2):
            name = f"a{accession:02}r{replicate}"
            samples[name] = int(np.clip(100 + 40 * active + draw.normal(0, 35), 0, 255))
            rows.append(f"{name},{name}.mgf,a{accession:02},{active + draw.uniform(0, 0.2):.3f}")
    (path / "samples.csv").write_text("\n".join(rows) + "\n")
    (path / "space.yaml").write_text(SPACE)
    commit(path / "images", samples, [samples])
    return {
        "images": str(path / "images"),
        "samples": str(path / "samples.csv"),
        "space": str(path / "space.yaml"),
        "assay": "activity",
    }


def config(options: Mapping[str, str], out: object, **more: Any) -> SweepConfig:
    return SweepConfig(
        **{**options, "out": str(out), "folds": FOLDS, "trials": 6, "epochs": 4, "precision": "float32", **more}
    )


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []
        self.epochs: list[tuple[int, int, float]] = []
        self.results: dict[int, object] = {}
        self.notes: list[str] = []

    def started(self, trial, worker) -> None:
        self.begun.append((trial.number, worker))

    def epoch(self, number, fold, row) -> None:
        self.epochs.append((number, fold, row["epoch"]))

    def ended(self, result) -> None:
        self.results[result.number] = result

    def note(self, text) -> None:
        self.notes.append(text)

    def most_at_once(self) -> int:
        """How many trials ran at a time, by the times of the ledger: of a next one one may hear before the end."""
        results = self.results.values()
        return max(sum(other.started <= each.started < other.ended for other in results) for each in results)


def searched(plan: SweepPlan, out: Path | str, trials=None, *, concurrent: int = 2, heard: Heard | None = None):
    """The trials alone, without a tracking store and a refit; what was heard, and the workers."""
    heard = heard or Heard()
    search = Search(
        cpus_per_trial=1,
        gpus_per_trial=0,
        concurrent=concurrent,
        scheduler=plan.config.scheduler,
        epochs=plan.epochs,
        checkpoint_seconds=1,
    )
    cohort = Cohort(plan.cohort.images, plan.cohort.labels.target, plan.tasks)
    ledger = Ledger(folder(str(out)), heard.note)
    spent = run_search(trials or plan.random_trials(None), cohort, ledger, search, heard)
    return heard, spent


def sweeping(
    options: Mapping[str, str], out: object, *more: str, **variables: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    """``ms2img sweep``; without RAY_ADDRESS among `variables`, with a Ray of its own."""
    given = [f"--{name}={value}" for name, value in options.items() if name != "images"]
    given += [f"--out={out}", f"--folds={FOLDS}", "--precision=float32", "--quiet", "--json", *more]
    return running(["sweep", options["images"], *given], variables)


def trial_workers(pid: int) -> list[int]:
    """Processes that hold a trial, below this one."""
    return [each for each in below(pid) if b"ray::_Inner" in _command(each)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def statuses(out: Path) -> dict[int, str | None]:
    """Status of every trial that was begun, as the files tell."""
    return {
        told["number"]: told["status"]
        for told in (json.loads(path.read_text()) for path in sorted(out.glob("trials/*/trial.json")))
    }


def plain_loop(config: SweepConfig) -> dict[int, Any]:
    """What `results` must give, by the function that ``ms2img train`` calls too: no Ray, no ledger, no rungs."""
    plan = SweepPlan.make(config)
    found: dict[int, Any] = {}
    for trial in plan.random_trials(None):
        folds = []
        for task in plan.trial_tasks(trial):
            done, _ = run_fold(plan.cohort.images, plan.cohort.labels.target, task)
            folds.append((done.fold, done.history, done.best_epoch, done.probability.tolist()))
        found[trial.number] = (trial.values, "finished", trial.n_weights, folds)
    return found


def results(out: object) -> dict[int, Any]:
    """What must be equal to the last bit: values, histories and predictions of every trial."""
    ledger = Ledger(folder(str(out)))
    found = [ledger.result(entry, FOLDS) for entry in ledger.entries(FOLDS, again=False).values()]
    return {
        result.number: (
            result.values,
            result.status,
            result.n_weights,
            [(fold.fold, fold.history, fold.best_epoch, fold.probability.tolist()) for fold in result.folds],
        )
        for result in found
    }
