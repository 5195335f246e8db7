"""Options of ``ms2img massformer sweep``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.places import Reads, Writes
from pipelines.lists import joined
from pipelines.sweep_nodes import GPU_SHARE

if TYPE_CHECKING:
    from pipelines.massformer.train import TrainConfig

#: Options that another start of the same sweep may change: where things lie, how many trials run at a time, and how
#: much is spent in all. All others, threads included, bear on the numbers.
FREE = ("library", "out", "resume", "concurrent", "checkpoint_seconds", "trials", "max_hours", "name")
#: Options that ``ms2img massformer train`` has too, and means the same by.
OF_TRAINING = (
    "library", "split", "split_seed", "held_out", "cell", "adducts", "train_fraction",
    "bin_width", "mz_max", "transform", "model", "name",
)  # fmt: skip


class SweepConfig(Config):
    """Options of ``ms2img massformer sweep``."""

    library: Annotated[str, Reads()] = Field(
        description="prepared library: the OUT folder of ms2img massformer prepare (local or s3://)"
    )
    model: Literal["massformer", "wln", "fp", "cnn"] = Field(
        "massformer", description="the molecule's encoder: graph transformer, WLN, fingerprints or a CNN over SELFIES"
    )
    trials: int = Field(100, ge=1, description="trials at most: choices of hyper-parameters; 100 is the paper's")
    max_hours: float | None = Field(
        None, gt=0, description="hours of searching, over all runs of the sweep, after which no new trial is begun"
    )
    trial_minutes: float | None = Field(
        None, gt=0, description="minutes of training of each trial, ended with an epoch; a limit on epochs holds too"
    )
    space: Annotated[str | None, Reads(names="massformer-(massformer|wln|fp|cnn)")] = Field(
        None, description="search space, a YAML file [default: massformer-<model>, the paper's list]"
    )
    preset: Literal["paper", "released", "small"] | None = Field(
        None, description="what is not searched [default: the space's base, which is the paper's preset in ours]"
    )
    searcher: Literal["optuna", "random"] = Field(
        "optuna", description="'optuna' (Bayesian: TPE) tries by what the trials before gave, 'random' by chance"
    )
    scheduler: Literal["fifo", "asha", "median"] = Field(
        "fifo", description="'fifo' trains every trial to its end; 'asha' and 'median' stop the weak ones early"
    )
    epochs: int | None = Field(None, ge=1, description="epochs of a trial at most [default: the preset's]")
    seed: int = Field(0, ge=0, description="seed of the trials' values, initial weights, batch order and dropout")
    split: Literal["scaffold", "inchikey"] = Field(
        "scaffold", description="what stays together in the 70/10/20 split: Murcko scaffolds (the paper), or molecules"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split")
    held_out: Annotated[str, Reads(names=r"[^/.]*")] = Field(
        "", description="a laboratory of the library, or the folder of a second one, kept for testing, see train"
    )
    cell: Literal["HCD", "CID", "all"] = Field("HCD", description="collision cell of the spectra")
    adducts: str = Field("[M+H]+", description="adducts of the spectra, with commas between; or all")
    train_fraction: float = Field(1.0, gt=0, le=1, description="share of the training part's molecules that is used")
    bin_width: float = Field(1.0, gt=0, description="width of a bin of m/z, Da")
    mz_max: float = Field(1000.0, gt=0, description="m/z where bins end, Da")
    transform: Literal["log", "sqrt", "none"] = Field("log", description="of intensities, before cosine and loss")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic; 'auto' is bfloat16 where the hardware multiplies it natively"
    )
    concurrent: int | None = Field(None, ge=1, description="trials at a time [default: as many as there is room for]")
    cpus_per_trial: int = Field(1, ge=1, description="CPU cores, and torch threads, of a trial")
    gpus_per_trial: float | None = Field(
        None, ge=0, description=f"GPUs of a trial; a fraction shares one [default: {GPU_SHARE} where there are any]"
    )
    name: str | None = Field(
        None, min_length=1, description="of the library in the registry [default: the names of its sources]"
    )
    out: Annotated[str | None, Writes(unset="ledger_location")] = Field(
        None, description="folder that keeps the sweep (local or s3://) [default: massformer-sweep-<model> in this one]"
    )
    checkpoint_seconds: float = Field(60.0, gt=0, description="seconds of training that an interruption may cost")
    resume: bool = Field(False, description="go on with the sweep in --out")

    @field_validator("adducts", mode="before")
    @classmethod
    def _joined_adducts(cls, value: Any) -> Any:
        return joined(value)

    def ledger_location(self) -> str:
        """Where the sweep is kept."""
        return self.out or f"massformer-sweep-{self.model}"

    def training(self) -> TrainConfig:
        """The options of the training that the winner is refitted by, as far as they say what is learned from."""
        from pipelines.massformer.train import TrainConfig

        return TrainConfig(**{name: getattr(self, name) for name in OF_TRAINING})

    def max_seconds(self) -> float | None:
        """Of each trial's training."""
        return None if self.trial_minutes is None else 60 * self.trial_minutes

    def identity(self) -> dict[str, Any]:
        """The options that a sweep cannot change once it has begun."""
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in FREE}
