"""Options of every command that trains over several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from ms2img.config import Config
from pipelines.lists import joined, listed

if TYPE_CHECKING:
    from ms2img.learn.fit_config import FitConfig
    from pipelines.seeds.on_ray import SeedResources


class SeedOptions(Config):
    """How seeds are trained; what is not given is the preset's."""

    seeds: str = Field("0", description="seeds of all that is random in a training, such as 0,1,2; trained in parallel")
    epochs: int | None = Field(None, ge=1, description="epochs at most [default: the preset's]")
    max_minutes: float | None = Field(
        None, gt=0, description="minutes of training of each seed, ended with an epoch; a limit on epochs holds too"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic; 'auto' is bfloat16 where the hardware multiplies it natively"
    )
    workers_per_seed: int = Field(
        1, ge=1, description="workers that share each batch of a seed; with more than one, seeds take turns"
    )
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores, and torch threads, of a worker")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs of a worker; a fraction shares one")
    checkpoint_seconds: float = Field(
        60.0, gt=0, description="seconds between the states that an interrupted training goes on from"
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return joined(value)

    @field_validator("seeds")
    @classmethod
    def _seeds_are_numbers(cls, value: str) -> str:
        found = listed(value)
        if not found or not all(each.isdecimal() for each in found) or len(set(found)) < len(found):
            raise ValueError("expected different numbers with commas between, such as 0,1,2")
        return value

    def seed_numbers(self) -> list[int]:
        """The seeds in the order given."""
        return [int(each) for each in listed(self.seeds)]

    def changed(self, preset: FitConfig, given: Mapping[str, Any]) -> FitConfig:
        """The preset's way of training with what the user changed; the seed is each training's own.

        given: further values of the system's own options; None for one that was not given.
        """
        from dataclasses import replace

        asked = {name: value for name, value in {"epochs": self.epochs, **given}.items() if value is not None}
        if "epochs" in asked:
            asked["warmup"] = min(preset.warmup, asked["epochs"] - 1)
        return replace(
            preset,
            **asked,
            threads=self.cpus_per_worker,
            precision=self.precision,
            device="cuda" if self.gpus_per_worker else "cpu",
        )

    def max_seconds(self) -> float | None:
        """The budget of each seed."""
        return None if self.max_minutes is None else 60 * self.max_minutes

    def resources(self) -> SeedResources:
        """What a seed takes."""
        from pipelines.seeds.on_ray import SeedResources

        return SeedResources(self.workers_per_seed, self.cpus_per_worker, self.gpus_per_worker)
