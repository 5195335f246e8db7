"""A tiny study to sweep, sweeps of it in processes of their own, and what must not depend on what happened to them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from conversions import below, outside_ray
from image_sets import commit

from ms2img.io.storage import folder
from ms2img.ms2toimg.crossvalidate import run_fold
from pipelines.sweep_config import SweepConfig
from pipelines.sweep_plan import SweepPlan
from tune.ledger import Ledger

COMMAND = [sys.executable, "-c", "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"]
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


@contextmanager
def sweeping(options: Mapping[str, str], out: object, *more: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """``ms2img sweep``; without RAY_ADDRESS among `variables`, with a Ray of its own. What is left of it is killed."""
    given = [f"--{name}={value}" for name, value in options.items() if name != "images"]
    given += [f"--out={out}", f"--folds={FOLDS}", "--precision=float32", "--quiet", "--json", *more]
    process = subprocess.Popen(
        [*COMMAND, "sweep", options["images"], *given],
        env={**outside_ray(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        left = below(process.pid)
        if process.poll() is None:
            process.kill()
        process.communicate()
        for pid in left:
            subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


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
