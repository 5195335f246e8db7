"""A cluster to strike: its jobs, what they give undisturbed, and what became of one that was struck."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conversions import wait_for
from fault_jobs import Job, convert_job, study_job, sweep_job, train_job
from fault_proxy import FaultProxy

from cluster.native import Stack

PATIENCE = 400.0  # seconds for a job, on a machine that is busy with other tests
NOTICE = "no conditional writes"  # which every job says to this S3 server
KINDS = ("convert", "train", "sweep", "study")


@dataclass
class Laboratory:
    """A cluster, the proxy before its store, and its jobs with what they give undisturbed."""

    stack: Stack
    proxy: FaultProxy
    folder: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    expected: dict[str, object] = field(default_factory=dict)
    outputs: int = 0

    def job(self, kind: str) -> Job:
        if kind not in self.jobs:
            makers: dict[str, Callable[[], Job]] = {
                "convert": lambda: convert_job(self.stack, self.folder),
                "train": lambda: train_job(self.stack, self.folder),
                "sweep": lambda: sweep_job(self.stack, self.folder),
                "study": lambda: study_job(self.stack, self.folder),
            }
            self.jobs[kind] = makers[kind]()
            out = self.new_output()
            status, told, lines = self.run(self.jobs[kind], out)
            assert status == self.jobs[kind].status, lines
            self.expected[kind] = self.jobs[kind].result(out, told)
            assert self.expected[kind]
        return self.jobs[kind]

    def new_output(self) -> str:
        self.outputs += 1
        return f"out-{self.outputs}"

    def run(self, job: Job, out: str, *more: str) -> tuple[int, str, list[str]]:
        """Undisturbed, to its end: exit status, standard output, lines of standard error."""
        with job.running(self.stack, out, *more) as process:
            told, error = process.communicate(timeout=PATIENCE)
        return process.returncode, told, error.splitlines()

    def struck(
        self, kind: str, strike: Callable[[], None], mend: Callable[[], None], *, seconds: float = PATIENCE
    ) -> str:
        """Run a job, strike it at work, mend; then it has finished or is run again. How it ended, in words."""
        job, out = self.job(kind), self.new_output()
        with job.running(self.stack, out) as process:
            wait_for(lambda: job.is_at_work(out), process, PATIENCE)
            assert process.poll() is None
            strike()
            mend()
            told, error = process.communicate(timeout=seconds)
        lines = error.splitlines()
        assert not any("Traceback" in line for line in lines), lines
        seen = "finished"
        if process.returncode != job.status:
            ours = [line for line in lines if line.startswith("ms2img: ") and NOTICE not in line]
            assert process.returncode == 1, (process.returncode, lines)
            assert len(ours) == 1, lines
            assert not any("internal error" in line for line in ours)
            status, told, lines = self.run(job, out, *job.resume)
            assert status == job.status, lines
            seen = f"said {ours or 'nothing'}, the re-run finished"
        assert job.result(out, told) == self.expected[kind]
        return seen


def lead_to(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's environment leads to the cluster's store and tracking server."""
    for name, value in stack.environment().items():
        if name.startswith(("AWS_", "MLFLOW_")):
            monkeypatch.setenv(name, value)


def tell(fault: str, kind: str, seen: str) -> None:
    """For the reader of ``pytest -rP``, and for docs/reliability.md."""
    print(f"{fault} | {kind} | {seen}")
