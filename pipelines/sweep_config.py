"""Options of ``ms2img sweep``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ms2img.ms2toimg.labels import LabelConfig
from ms2img.places import Reads, Writes
from pipelines.sweep_nodes import GPU_SHARE

#: Options that another start of the same sweep may change: where things lie and how many trials run at a time. All
#: others, threads included, bear on the numbers.
FREE = ("images", "samples", "allow_outside", "out", "resume", "dry_run", "concurrent", "checkpoint_seconds")


class SweepConfig(LabelConfig):
    """Options of ``ms2img sweep``."""

    images: Annotated[str, Reads()] = Field(
        description="image data set: the OUT folder of ms2img convert (local or s3://)"
    )
    samples: Annotated[str, Reads("sheet")] = Field(description="sample sheet with the assay column (local or s3://)")
    trials: int = Field(120, ge=1, description="trials: choices of hyper-parameters; 120 is MS2toImg's")
    space: Annotated[str, Reads(names="paper|wide")] = Field(
        "paper", description="search space: 'paper' (MS2toImg's), 'wide' (ours) or a YAML file"
    )
    searcher: Literal["random", "optuna"] = Field(
        "random", description="'random' draws every trial by itself, 'optuna' by what the ones before it gave"
    )
    scheduler: Literal["fifo", "asha", "median"] = Field(
        "fifo", description="'fifo' trains every trial to the end; 'asha' and 'median' stop the weak ones early"
    )
    folds: int = Field(5, ge=2, description="folds of the cross-validation over accessions, of every trial")
    epochs: int | None = Field(None, ge=1, description="epochs of a fold [default: those of the space's preset]")
    concurrent: int | None = Field(None, ge=1, description="trials at a time [default: as many as there is room for]")
    cpus_per_trial: int = Field(1, ge=1, description="CPU cores, and torch threads, of a trial")
    gpus_per_trial: float | None = Field(
        None, ge=0, description=f"GPUs of a trial; a fraction shares one [default: {GPU_SHARE} where there are any]"
    )
    seed: int = Field(0, ge=0, description="seed of the trials' values, folds, initial weights, batches and dropout")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic; 'auto' is bfloat16 where the hardware multiplies it natively"
    )
    out: Annotated[str | None, Writes(unset="ledger_location")] = Field(
        None, description="folder that keeps the sweep (local or s3://) [default: sweep-<assay> in this folder]"
    )
    checkpoint_seconds: float = Field(60.0, gt=0, description="seconds of training that an interruption may cost")
    resume: bool = Field(False, description="go on with the sweep in --out")
    dry_run: bool = Field(False, description="show the plan and end: trials, memory, estimated hours")
    allow_outside: bool = Field(False, description="let paths in the sheet climb above the sheet's folder by '..'")

    def label_config(self) -> LabelConfig:
        """The part that decides labels."""
        return LabelConfig(**{name: getattr(self, name) for name in LabelConfig.model_fields})

    def ledger_location(self) -> str:
        """Where the sweep is kept."""
        return self.out or f"sweep-{self.assay}"

    def identity(self) -> dict[str, Any]:
        """The options that a sweep cannot change once it has begun."""
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in FREE}
