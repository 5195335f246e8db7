"""Options of ``ms2img submit`` and ``ms2img jobs``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ms2img.config import Config

ADDRESS = "job server of the cluster [default: RAY_API_SERVER_ADDRESS, else dashboard in the profile]"


class SubmitConfig(Config):
    """Options of ``ms2img submit``."""

    command: tuple[str, ...] = Field(min_length=1, description="after --: any ms2img command with its options")
    address: str | None = Field(None, description=ADDRESS)
    detach: bool = Field(False, description="do not follow the job; print its id and end")
    num_cpus: float | None = Field(None, gt=0, description="CPUs set aside for the command itself, beside its workers'")
    num_gpus: float | None = Field(None, gt=0, description="GPUs set aside for the command itself")
    memory: int | None = Field(None, ge=1, description="MiB set aside for the command itself")
    submission_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="id of the job [default: COMMAND-ppqqrrss]"
    )
    shared: tuple[str, ...] = Field(
        (), description="folder that every node has at this path (NFS, Lustre); may be given several times"
    )

    @field_validator("shared")
    @classmethod
    def _absolute(cls, shared: tuple[str, ...]) -> tuple[str, ...]:
        for folder in shared:
            if not folder.startswith("/"):
                raise ValueError(f"'{folder}' is no absolute path")
        return shared


class JobsConfig(Config):
    """Options of ``ms2img jobs``."""

    action: Literal["list", "logs", "stop"] = Field(
        "list", description="list: every job of the cluster; logs: what one has printed; stop: end one"
    )
    id: str | None = Field(None, description="id of the job, for logs and stop")
    address: str | None = Field(None, description=ADDRESS)
    follow: bool = Field(False, description="with logs: go on until the job ends; the exit status is the job's")
