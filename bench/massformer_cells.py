"""What the MassFormer grid consists of: its YAML file, and the runs that follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from pydantic import Field

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.massformer.selection import DataSettings
from ms2img.massformer.spectrum import SpectrumConfig


class GridFile(Config):
    """The file of a grid: every model x split x collision cell x seed, each trained for equally long."""

    library: str = Field(description="OUT folder of ms2img massformer prepare")
    out: str = Field(description="folder of the ledger, the models and the tables")
    models: tuple[Literal["massformer", "wln", "cnn", "fp"], ...] = ("massformer", "wln", "cnn", "fp")
    preset: Literal["paper", "released", "small"] = Field("small", description="sizes and settings of all models")
    splits: tuple[Literal["scaffold", "inchikey"], ...] = ("scaffold", "inchikey")
    cells: tuple[Literal["HCD", "CID"], ...] = ("HCD", "CID")
    adducts: tuple[str, ...] = ("[M+H]+",)
    held_out: str = Field("", description="laboratory that is the second library")
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), description="of weights and batch order; the split stays")
    split_seed: int = 0
    minutes: float = Field(gt=0, description="training budget of a run, the same for every model")
    clock: Literal["wall", "cpu"] = Field(
        "wall", description="what measures it; 'cpu' counts the processor's time, so that other work takes nothing away"
    )
    epochs: int = Field(1000, ge=1, description="cap: with 'minutes' the time decides")
    curve: tuple[float, ...] = Field(
        (), description="shares of the training molecules for the learning curve, on the first split and cell"
    )
    bin_width: float = Field(1.0, gt=0, description="Da")
    mz_max: float = Field(1000.0, gt=0, description="Da")
    transform: Literal["log", "sqrt", "none"] = "log"
    ranking: bool = True
    threads: int = Field(2, ge=1, description="CPU threads of a run")
    device: str = Field("auto", description="cpu, cuda, or auto")

    def spectrum(self) -> SpectrumConfig:
        """How peak lists are binned."""
        return SpectrumConfig(bin_width=self.bin_width, mz_max=self.mz_max, transform=self.transform)


@dataclass(frozen=True)
class Run:
    """One training and its evaluation."""

    model: str
    split: str
    cell: str
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        """Its identity within the grid, and its files' name."""
        return f"{self.model}_{self.split}_{self.cell}_{100 * self.fraction:g}_seed{self.seed}"

    def settings(self, grid: GridFile) -> DataSettings:
        """What it is trained on."""
        return DataSettings(
            cell=self.cell,
            adducts=grid.adducts,
            split=self.split,
            split_seed=grid.split_seed,
            held_out=grid.held_out,
            train_fraction=self.fraction,
        )


def runs_of(grid: GridFile) -> list[Run]:
    """Every run: those that share data side by side, whole rounds of models before the next seed."""
    return list(_runs(grid))


def _runs(grid: GridFile) -> Iterator[Run]:
    for seed, split, cell in product(grid.seeds, grid.splits, grid.cells):
        for model in grid.models:
            yield Run(model, split, cell, 1.0, seed)
    for fraction, seed in product(grid.curve, grid.seeds):
        for model in grid.models:
            yield Run(model, grid.splits[0], grid.cells[0], fraction, seed)


def chosen(runs: Sequence[Run], only: Sequence[str]) -> list[Run]:
    """The runs that all of ``key=value,key=value`` ask for; several values of one key add up.

    Raises `UsageError` for a key or a value that no run has.
    """
    wanted: dict[str, set[str]] = {}
    for part in (each for text in only for each in text.split(",") if each.strip()):
        key, _, value = (each.strip() for each in part.partition("="))
        known = {_shown(run, key) for run in runs} if key in Run.__dataclass_fields__ else set()
        if value not in known:
            there = ", ".join(sorted(known)) or f"keys {', '.join(Run.__dataclass_fields__)}"
            raise UsageError(f"--only {part}: there is no such run; expected one of {there}")
        wanted.setdefault(key, set()).add(value)
    return [run for run in runs if all(_shown(run, key) in values for key, values in wanted.items())]


def _shown(run: Run, key: str) -> str:
    value = getattr(run, key)
    return f"{value:g}" if isinstance(value, float) else str(value)
