"""``ms2img submit``: a command line, sent to a Ray cluster and followed to its end."""

from __future__ import annotations

import secrets
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ms2img.errors import JobError
from pipelines.command import Output, Result
from pipelines.submission.config import SubmitConfig

if TYPE_CHECKING:
    from cluster.following import Ended
    from cluster.job_server import JobServer

ENTRY = "from pipelines.cli import run; run()"
HOOK = "cluster.carried.use_fallbacks"
FOLLOWING_STOPPED = 130


def submit(config: SubmitConfig, output: Output, app: typer.Typer) -> Result:
    """Run any ms2img command on a Ray cluster: follow its log and end with its exit status."""
    from cluster.carried import carried
    from cluster.job_errors import UnreachableError
    from cluster.job_server import JobServer, Request
    from cluster.staging import staged
    from pipelines.submission.command_line import parse
    from pipelines.submission.travel import prepare

    line = parse(config.command, app)
    trip = prepare(line, config.shared)
    variables = carried()
    server = JobServer.connect(config.address)
    _compare_versions(server, output)
    job_id = config.submission_id or f"{line.name.replace(' ', '-')}-{secrets.token_hex(4)}"
    memory = None if config.memory is None else config.memory * 2**20
    try:
        with staged(trip.files) as folder:
            server.submit(
                f"python -c {shlex.quote(ENTRY)} {shlex.join(trip.words)}",
                job_id,
                folder=folder,
                variables=variables,
                hook=HOOK,
                command=shlex.join(["ms2img", *config.command]),
                request=Request(config.num_cpus, config.num_gpus, memory),
            )
    except UnreachableError as error:
        raise JobError(f"{error}; whether it has taken {job_id} is told by: ms2img jobs list") from None
    output.say(f"submitted {job_id} to {server.address}")
    for name in trip.files:
        output.say(f"  travels with it: {Path(name).name}")
    if config.detach:
        output.say(_how_to_go_on(job_id, config.address))
        return Result({"submission_id": job_id, "status": "SUBMITTED", "exit_status": None})
    return follow_job(server, job_id, output, _how_to_go_on(job_id, config.address))


def follow_job(server: JobServer, job_id: str, output: Output, how_to_go_on: str) -> Result:
    """Show a job's log until it ends; its exit status is the result's. Ctrl-C ends the showing, not the job."""
    from cluster.following import follow

    def write(text: str) -> None:
        if not output.quiet:
            stream = sys.stderr if output.json else sys.stdout
            stream.write(text)
            stream.flush()

    try:
        outcome = follow(server, job_id, write, output.warn)
    except KeyboardInterrupt:
        output.warn(f"{job_id} goes on without you\n{how_to_go_on}")
        return Result({"submission_id": job_id, "status": "RUNNING", "exit_status": None}, status=FOLLOWING_STOPPED)
    _tell_end(job_id, outcome, output)
    return Result(
        {"submission_id": job_id, "status": outcome.state, "exit_status": outcome.status}, status=outcome.status
    )


def _tell_end(job_id: str, outcome: Ended, output: Output) -> None:
    if outcome.status == 0:
        output.say(f"{job_id} succeeded")
        return
    reason = f": {outcome.reason}" if outcome.reason else ""
    output.warn(f"{job_id} {outcome.state.lower()} with exit status {outcome.status}{reason}")


def _how_to_go_on(job_id: str, address: str | None) -> str:
    where = f" --address {address}" if address else ""
    return f"follow it: ms2img jobs logs {job_id} --follow{where}\nstop it:   ms2img jobs stop {job_id}{where}"


def _compare_versions(server: JobServer, output: Output) -> None:
    """The job runs on the cluster's Ray; this package was tested with the one here."""
    from importlib.metadata import version

    ours, theirs = version("ray"), server.ray_version
    if ours.split(".")[:2] != theirs.split(".")[:2]:
        output.warn(f"the cluster has Ray {theirs}, this machine {ours}; the job runs on the cluster's")
