"""The job server of a Ray cluster, asked through Ray's own client; what it refuses is told in one line."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.job_errors import UnreachableError, told
from cluster.placement import driver_placement
from cluster.secrets import has_password
from ms2img.errors import UsageError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, and to answer
MINIMUM_RAY = (2, 50)  # as the extra "cluster" asks for
#: Loggers of Ray's client that tell of uploads and retries; what matters of it we say ourselves.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging",
    "ray._private.authentication.http_token_authentication",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a job asks for besides its command. `memory` in bytes; None: nothing is set aside for the command itself."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: int | None = None


class JobServer:
    """A job server that has answered; make one with `connect`."""

    def __init__(self, address: str, client: Any) -> None:
        self.address = address
        self._client = client

    @classmethod
    def connect(cls, address: str | None = None) -> JobServer:
        """The job server at `address`, else at ``RAY_API_SERVER_ADDRESS``.

        Raises `UsageError`: no address, nobody listens, no Ray there, a Ray too old, a missing or wrong token.
        """
        address = _checked(address or os.environ.get("RAY_API_SERVER_ADDRESS", ""))
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray's client lets it win over its argument
        _prepare_token()
        try:
            import ray.job_submission
        except ImportError:
            raise UsageError("this command needs Ray: pip install 'ms2img[cluster]'") from None
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)

        class Client(ray.job_submission.JobSubmissionClient):
            """Ray's client, which would wait for ever for an answer."""

            def _do_request(self, *arguments: Any, **options: Any) -> Any:
                return super()._do_request(*arguments, **{"timeout": TIMEOUT_SECONDS, **options})

        try:
            with told(address):
                client = Client(address, verify=os.environ.get("REQUESTS_CA_BUNDLE") or True)
        except UnreachableError as error:
            raise UsageError(str(error)) from None
        _require_version(address, client._server_ray_version)
        return cls(address, client)

    @property
    def ray_version(self) -> str:
        """The version of Ray on the cluster."""
        return str(self._client._server_ray_version)

    def submit(
        self, entrypoint: str, job_id: str, *, folder: Path, variables: Mapping[str, str], hook: str, command: str,
        request: Request,
    ) -> None:  # fmt: skip
        """Send `folder` and start `entrypoint` in it. `hook`: what every worker calls first; `command`: for people.

        Where its driver runs: see `cluster.placement.driver_placement`.
        """
        with told(self.address):
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=job_id,
                runtime_env={
                    "working_dir": str(folder), "env_vars": dict(variables), "worker_process_setup_hook": hook,
                },
                metadata={"ms2img.command": command, "ms2img.version": version("ms2img")},
                **driver_placement(request.num_cpus, request.num_gpus, request.memory),
            )  # fmt: skip

    def job(self, job_id: str) -> JobDetails:
        """What the cluster knows of a job. Raises `UsageError` where it knows none, `UnreachableError`."""
        with told(self.address):
            return self._client.get_job_info(job_id)

    def jobs(self) -> list[JobDetails]:
        """Every submitted job that the cluster knows, the latest first."""
        with told(self.address):
            found = [job for job in self._client.list_jobs() if job.type == "SUBMISSION"]
        return sorted(found, key=lambda job: -(job.start_time or 0))

    def log(self, job_id: str) -> str:
        """What a job has printed so far."""
        with told(self.address):
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> bool:
        """Ask a job to end; False where it had ended already."""
        with told(self.address):
            return bool(self._client.stop_job(job_id))

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        """What a job prints, from its first line on, until it ends or the connection does."""
        with told(self.address):
            async for text in self._client.tail_job_logs(job_id):
                yield text


def _checked(address: str) -> str:
    """An address with its scheme. Raises `UsageError` for none, and for one of another kind of server."""
    if not address:
        raise UsageError(
            "no cluster is named: give --address, or set RAY_API_SERVER_ADDRESS or dashboard in the profile"
        )
    if has_password(address):
        raise UsageError(
            "the cluster's address has a password in it; a token is named by its file, RAY_AUTH_TOKEN_PATH"
        )
    if "://" not in address:
        address = f"http://{address}"
    if not address.startswith(("http://", "https://")):
        raise UsageError(f"{address}: is no job server's address; expected that of the dashboard, http://HOST:8265")
    return address.rstrip("/")


def _prepare_token() -> None:
    """Let Ray send the token that the environment names. It reads the mode once, when it is imported."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not (path or os.environ.get("RAY_AUTH_TOKEN")):
        return
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if path and not os.environ.get("RAY_AUTH_TOKEN"):
        try:
            if not Path(path).read_text(encoding="utf-8").strip():
                raise UsageError(f"{path}: the file of the cluster's token is empty")
        except OSError as error:
            raise UsageError(f"{path}: cannot read the cluster's token: {error.strerror}") from None


def _require_version(address: str, found: str) -> None:
    """Refuse a cluster whose Ray is older than what this package works with."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if numbers < MINIMUM_RAY:
        least = ".".join(map(str, MINIMUM_RAY))
        raise UsageError(f"{address}: Ray {found} is too old; the cluster needs {least} or newer")
