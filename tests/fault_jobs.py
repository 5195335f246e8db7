"""Small jobs of the four kinds on a native cluster: how each is begun, when it is at work, and what it must give."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import image_sets
import small_studies
import sweeps
from conversions import running, study
from mlflow import MlflowClient
from native_jobs import committed, job_environment, store

from cluster.native import Stack
from cluster.native.s3 import LAB_BUCKET

LAB = f"s3://{LAB_BUCKET}"


@dataclass(frozen=True)
class Job:
    """A kind of job. `arguments`, `is_at_work`, `result`: of the output (a name in the bucket, or below a folder).

    `status`: its exit status when all went well; `resume`: the option that a second command needs.
    """

    name: str
    arguments: Callable[[str], list[str]]
    is_at_work: Callable[[str], object]
    result: Callable[[str, str], object]
    status: int = 0
    resume: tuple[str, ...] = ()

    @contextmanager
    def running(self, stack: Stack, out: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        """The job as a process of its own."""
        variables = job_environment(stack, MS2IMG_S3_PATIENCE="150")
        with running([*self.arguments(out), "--quiet", "--json", *more], variables) as process:
            yield process


def convert_job(stack: Stack, folder: Path, runs: int = 24) -> Job:
    """From a bucket to a bucket; every eighth run is bad."""
    store(stack).upload(study(folder / "convert", runs).parent, f"{LAB_BUCKET}/study")
    return Job(
        "convert",
        lambda out: ["convert", f"{LAB}/study/samples.csv", f"{LAB}/{out}", "--size=75x70"],
        lambda out: any("/.staging/" in key for key in store(stack).keys(f"{LAB_BUCKET}/{out}")),
        lambda out, told: committed(stack, out),
        status=3,
    )


def train_job(stack: Stack, folder: Path) -> Job:
    """Two folds and the refit on images in the bucket; at work once the tracking server knows of a new run."""
    options = _images(stack, folder)
    client = MlflowClient(stack.environment()["MLFLOW_TRACKING_URI"])

    def runs() -> int:
        experiments = [each.experiment_id for each in client.search_experiments()]
        return sum(run.info.status == "RUNNING" for run in client.search_runs(experiments))

    return Job(
        "train",
        lambda out: [
            "train", options["images"], f"--samples={options['samples']}", "--assay=activity",
            "--folds=2", "--epochs=60", "--precision=float32",
        ],
        lambda out: runs(),
        lambda out, told: {
            key: value
            for key, value in json.loads(told.splitlines()[-1]).items()
            if key not in ("run_id", "model", "champion", "seconds")
        },
    )  # fmt: skip


def sweep_job(stack: Stack, folder: Path) -> Job:
    """Four trials of two folds, its ledger in the bucket."""
    options = _images(stack, folder)
    return Job(
        "sweep",
        lambda out: [
            "sweep", options["images"], f"--samples={options['samples']}", "--assay=activity",
            f"--space={options['space']}", f"--out={LAB}/{out}",
            "--folds=2", "--trials=4", "--epochs=60", "--precision=float32",
        ],
        lambda out: any("/trials/" in key for key in store(stack).keys(f"{LAB_BUCKET}/{out}")),
        lambda out, told: sweeps.results(f"{LAB}/{out}"),
        resume=("--resume",),
    )  # fmt: skip


def study_job(stack: Stack, folder: Path) -> Job:
    """A few cells of a simulated study, its ledger in the bucket."""
    changed: dict[str, Any] = {"models": {"image": ["cnn-paper", "forest"]}, "resolutions": ["15x14"], "epochs": 4}
    file = small_studies.write(folder / "study", **changed)
    return Job(
        "study",
        lambda out: ["study", file, f"--out={LAB}/{out}"],
        lambda out: any("/fold" in key for key in store(stack).keys(f"{LAB_BUCKET}/{out}/cells")),
        lambda out, told: small_studies.outcomes(f"{LAB}/{out}"),
        resume=("--resume",),
    )


def _images(stack: Stack, folder: Path) -> dict[str, str]:
    """A set of small images and its sheet in the bucket, made once."""
    path = folder / "images"
    if not path.exists():
        with patch.object(image_sets, "SIZE", (30, 28)):  # what a network of three convolutions needs
            sweeps.study(path)
        store(stack).upload(path, f"{LAB_BUCKET}/images")
    where = f"{LAB}/images"
    return {"images": f"{where}/images", "samples": f"{where}/samples.csv", "space": str(path / "space.yaml")}
