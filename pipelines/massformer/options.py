"""Options that several commands of ``ms2img massformer`` share, and how lists are written on a command line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.places import Writes

if TYPE_CHECKING:
    from ms2img.learn.fit_config import FitConfig


class FitOptions(Config):
    """How a spectrum model is trained; what is not given is the preset's."""

    seeds: str = Field("0", description="seeds of weights, batch order and dropout, such as 0,1,2; trained in parallel")
    epochs: int | None = Field(None, ge=1, description="epochs at most [default: the preset's]")
    max_minutes: float | None = Field(
        None, gt=0, description="minutes of training of each seed, ended with an epoch; a limit on epochs holds too"
    )
    batch_size: int | None = Field(None, ge=1, description="spectra a step [default: the preset's]")
    learning_rate: float | None = Field(None, gt=0, description="peak step size of AdamW [default: the preset's]")
    weight_decay: float | None = Field(None, ge=0, description="decoupled, of AdamW [default: the preset's]")
    schedule: Literal["constant", "plateau", "polynomial"] | None = Field(
        None, description="of the learning rate over epochs: the paper's is plateau, the released code's polynomial"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better validation cosine [default: the preset's]"
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
    name: str | None = Field(
        None, min_length=1, description="of the library in the registry [default: the names of its sources]"
    )
    work: Annotated[str | None, Writes(unset="work_place")] = Field(
        None, description="folder of states and results of seeds, local or s3:// [default: LIBRARY.training]"
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

    def fit_config(self, preset: FitConfig) -> FitConfig:
        """The preset's way of training with what the user changed; the seed is each training's own."""
        from dataclasses import replace

        asked = ("epochs", "batch_size", "learning_rate", "weight_decay", "schedule", "patience")
        given = {name: getattr(self, name) for name in asked if getattr(self, name) is not None}
        if "epochs" in given:
            given["warmup"] = min(preset.warmup, given["epochs"] - 1)
        return replace(
            preset,
            **given,
            threads=self.cpus_per_worker,
            precision=self.precision,
            device="cuda" if self.gpus_per_worker else "cpu",
        )

    def max_seconds(self) -> float | None:
        """The budget of each seed."""
        return None if self.max_minutes is None else 60 * self.max_minutes


def listed(text: str) -> list[str]:
    """What stands between the commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


def joined(value: Any) -> Any:
    """A list, as YAML has it, as the text of the command line; a number as its text."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def numbers(text: str) -> list[float]:
    """The numbers between the commas; raises `ValueError` for what is none."""
    try:
        found = [float(each) for each in listed(text)]
    except ValueError:
        found = []
    if not found or not all(math.isfinite(each) and each >= 0 for each in found):
        raise ValueError("expected numbers, 0 or more, with commas between, such as 20,40,60")
    return found
