"""``ms2img jobs``: what was submitted to a cluster; list, logs, stop."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ms2img.errors import JobError, UsageError
from pipelines.command import Output, Result
from pipelines.submission.config import JobsConfig
from pipelines.submission.submit import follow_job

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

    from cluster.job_server import JobServer

STOP_PATIENCE = 120.0  # seconds for a job to end after it was asked to; Ray kills it after 60
COLUMNS = ("id", "status", "exit", "submitted (UTC)", "seconds", "command")


def jobs(config: JobsConfig, output: Output) -> Result:
    """List the jobs of a cluster, show what one has printed, or stop one."""
    from cluster.job_server import JobServer

    if config.action == "list":
        if config.id is not None:
            raise UsageError(f"ms2img jobs list shows every job; for one: ms2img jobs logs {config.id}")
        return _list(JobServer.connect(config.address), output)
    if config.id is None:
        raise UsageError(f"ms2img jobs {config.action}: ID is missing; 'ms2img jobs list' shows them")
    server = JobServer.connect(config.address)
    if config.action == "stop":
        return _stop(server, config.id, output)
    where = f" --address {config.address}" if config.address else ""
    if config.follow:
        how = f"follow it: ms2img jobs logs {config.id} --follow{where}"
        return follow_job(server, config.id, output, how)
    return _logs(server, config.id, output)


def _list(server: JobServer, output: Output) -> Result:
    rows = [_row(job) for job in server.jobs()]
    table = Table(box=None, header_style="bold")
    for heading in COLUMNS:
        table.add_column(heading, overflow="fold")
    for row in rows:
        status = "" if row["exit_status"] is None else str(row["exit_status"])
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        table.add_row(row["submission_id"], row["status"], status, row["submitted"], seconds, row["command"])
    output.show(table if rows else "no job was submitted to this cluster yet")
    return Result({"jobs": rows})


def _logs(server: JobServer, job_id: str, output: Output) -> Result:
    job, text = server.job(job_id), server.log(job_id)
    if not output.json:
        sys.stdout.write(text)
        sys.stdout.flush()
    return Result({**_row(job), "log": text})


def _stop(server: JobServer, job_id: str, output: Output) -> Result:
    """Ask a job to end and wait until it has."""
    from cluster.following import ended

    if not server.stop(job_id):
        row = _row(server.job(job_id))
        output.say(f"{job_id} had ended before: {row['status'].lower()}")
        return Result(row)
    deadline = time.monotonic() + STOP_PATIENCE
    while ended(job := server.job(job_id)) is None:
        if time.monotonic() > deadline:
            raise JobError(f"{job_id} was asked to stop and has not within {STOP_PATIENCE:.0f} s; see ms2img jobs list")
        time.sleep(0.5)
    row = _row(job)
    output.say(f"{job_id} {row['status'].lower()}; the same command goes on from what is done")
    return Result(row)


def _row(job: JobDetails) -> dict[str, Any]:
    """A job for a table and for ``--json``; times in seconds."""
    from cluster.following import ended

    outcome, start, end = ended(job), job.start_time, job.end_time
    return {
        "submission_id": job.submission_id,
        "status": str(job.status.value),
        "exit_status": None if outcome is None else outcome.status,
        "submitted": "" if start is None else datetime.fromtimestamp(start / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": None if start is None else round((end or time.time() * 1000) / 1000 - start / 1000, 1),
        "command": (job.metadata or {}).get("ms2img.command") or job.entrypoint,
    }
