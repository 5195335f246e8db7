"""The cells of a study: which there are, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ms2img.errors import UsageError
from pipelines.study.config import StudyConfig, StudyFile


@dataclass(frozen=True)
class Cell:
    """One cross-validation: a model on a representation of a task's runs, at one seed."""

    task: str
    representation: str
    resolution: str  # "75x70"; "" where there are no images
    model: str
    seed: int

    @property
    def name(self) -> str:
        """The cell's name: its identity within the study, and its folder."""
        parts = [self.task, self.representation, self.resolution, self.model, f"seed{self.seed}"]
        return "_".join(part for part in parts if part)

    @property
    def is_network(self) -> bool:
        """Whether the model is a network of ours, which may use a GPU."""
        return self.model.startswith("cnn-")


def cells_of(study: StudyFile) -> list[Cell]:
    """Every cell of the grid, the tasks in the order of the file."""
    return list(_cells(study))


def _cells(study: StudyFile) -> Iterator[Cell]:
    for name, task in study.tasks.items():
        for representation, models in study.models_of(task).items():
            for resolution in study.resolutions if representation == "image" else [""]:
                for model in models:
                    for seed in study.seeds:
                        yield Cell(name, representation, resolution, model, seed)


def chosen(cells: Sequence[Cell], config: StudyConfig) -> list[Cell]:
    """The cells that the options ask for. A size narrows images only: tables have none.

    Raises `UsageError` for a name that no cell has, and where nothing is left.
    """
    wanted: dict[str, list[Any]] = {
        "task": config.task,
        "representation": config.representation,
        "resolution": config.resolution,
        "model": config.model,
        "seed": config.seed,
    }
    for field, names in wanted.items():
        known = {getattr(cell, field) for cell in cells} - {""}
        for name in names:
            if name not in known:
                there = ", ".join(map(str, sorted(known)))
                raise UsageError(f"--{field} {name}: the study has no such {field}; there are {there}")
    left = [
        cell
        for cell in cells
        if all(not names or getattr(cell, field) in (*names, "") for field, names in wanted.items())
    ]
    if not left:
        raise UsageError(f"{config.study}: no cell is left by these options")
    return left
