"""What a study is: the YAML file a person writes, closed and typed, and the options of ``ms2img study``."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ms2img.config import Config, load_yaml
from ms2img.errors import UsageError
from ms2img.io.location import is_remote
from ms2img.ms2toimg.drift_config import Drift
from ms2img.ms2toimg.labels import LabelConfig
from ms2img.ms2toimg.simulation.config import SimulationConfig
from ms2img.places import Reads, Writes
from pipelines.failure_limit import FailureLimit

#: Representation -> the models that can learn from it.
MODELS: dict[str, tuple[str, ...]] = {
    "image": ("cnn-paper", "cnn-small", "forest", "logistic"),
    "cosine": ("forest", "logistic", "boosting", "oplsda", "pca"),
    "entropy": ("forest", "logistic", "boosting", "oplsda", "pca"),
    "aligned": ("forest", "logistic", "boosting", "oplsda", "pca"),
    "memo": ("forest", "logistic"),
}
TABLES = ("cosine", "entropy", "aligned")  # representations that are feature tables
Kind = Literal[
    "mz_ppm",  # calibration error, ppm
    "mz_da",  # calibration error, Da / charge
    "mz_noise_ppm",  # random m/z error, sd in ppm
    "intensity_scale",  # factor on all intensities
    "intensity_tilt",  # response at m/z 1500 over that at m/z 100
    "missing_fragments",  # share
    "retention",  # shift of the recorded times, s
    "retention_sampling",  # drift during the acquisition, s: other precursors are sampled
    "instrument",  # another instrument
]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # of tasks and data sets: they name files
FACTORS = ("intensity_scale", "intensity_tilt")  # kinds whose level is a factor: 1 is unchanged
RESOLUTIONS = ("75x70", "150x140", "300x280")  # MS2toImg, Table 1


class DriftOf(Drift):
    """A drifted copy of another data set: which, and what changes; see ``ms2img drift``."""

    of: str = Field(description="data set that is changed")


class Source(Config):
    """Where runs come from: a sample sheet, a simulated study, or a drifted copy of another data set."""

    samples: Annotated[str | None, Reads("sheet")] = Field(
        None, description="sample sheet, relative to the study's file"
    )
    simulate: SimulationConfig | None = Field(None, description="options of ms2img simulate")
    drift: DriftOf | None = Field(None, description="a drifted copy: its source, and options of ms2img drift")
    allow_outside: bool = Field(False, description="let paths in the sheet climb above its folder by '..'")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("samples", "simulate", "drift") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of samples, simulate and drift, found {' and '.join(given) or 'none'}")
        return self


class Task(LabelConfig):
    """One assay on one data set; `models` replaces the study's for this task."""

    data: str = Field(description="name of the data set")
    models: dict[str, list[str]] | None = Field(None, description="representation: models")

    def label_config(self) -> LabelConfig:
        """The part that decides labels."""
        return LabelConfig(**{name: getattr(self, name) for name in LabelConfig.model_fields})


class Condition(Config):
    """Another data set of the same accessions, on which what was trained is tested too."""

    kind: Kind = Field(description="what differs; 'instrument' has no level")
    level: float | None = Field(None, description="how far it is from the training data, in the unit of its kind")
    data: dict[str, str] = Field(description="data set that was trained on: data set that is tested on")

    @model_validator(mode="after")
    def _has_level(self) -> Self:
        if (self.level is None) != (self.kind == "instrument"):
            expected = "has no level" if self.kind == "instrument" else "needs a level"
            raise ValueError(f"kind '{self.kind}' {expected}")
        if self.kind in FACTORS and self.level is not None and self.level <= 0:
            raise ValueError(f"level {self.level:g} is no factor; expected a number above 0")
        return self


class StudyFile(Config):
    """The whole grid: tasks x representations x resolutions x models x seeds, tested under conditions."""

    name: str = Field(min_length=1, description="title of the report")
    data: dict[str, Source]
    tasks: dict[str, Task]
    models: dict[str, list[str]] = Field(description="representation: models")
    resolutions: list[str] = Field(default=list(RESOLUTIONS), description="image sizes, height x width in pixels")
    seeds: list[int] = Field(default=[0], description="of folds, initial weights and every other chance")
    folds: int = Field(default=5, ge=2, description="folds of the cross-validation over accessions")
    conditions: dict[str, Condition] = Field(default_factory=dict)
    epochs: int | None = Field(default=None, ge=1, description="epochs of every network [default: each preset's]")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="arithmetic of the networks; stated, for machines differ in what they choose",
    )
    features: dict[str, Any] = Field(default_factory=dict, description="options of ms2img features")
    main_task: str | None = Field(default=None, description="the task whose figures open the report")

    @classmethod
    def read(cls, path: str) -> Self:
        """Read and check a study's file; relative sheets are made absolute. Raises `UsageError` naming the key."""
        study = cls.checked(load_yaml(path), source=path)
        study._require_names(path)
        study._require_origins(path)
        here = Path(path).absolute().parent
        return study.model_copy(update={"data": {name: _located(source, here) for name, source in study.data.items()}})

    @field_validator("models")
    @classmethod
    def _known(cls, models: dict[str, list[str]]) -> dict[str, list[str]]:
        return _checked_models(models)

    @field_validator("tasks")
    @classmethod
    def _known_in_tasks(cls, tasks: dict[str, Task]) -> dict[str, Task]:
        for task in tasks.values():
            _checked_models(task.models or {})
        return tasks

    @field_validator("resolutions", "seeds")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError(f"names one twice: {', '.join(map(str, values))}")
        return values

    @field_validator("resolutions")
    @classmethod
    def _sizes(cls, resolutions: list[str]) -> list[str]:
        for each in resolutions:
            height, _, width = each.partition("x")
            if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
                raise ValueError(f"'{each}' is no image size; expected height x width in pixels, such as 150x140")
        return resolutions

    def _require_names(self, path: str) -> None:
        """Every name that refers to a data set or a task must be one."""
        uses: list[tuple[str, str, Collection[str]]] = [
            (f"tasks.{name}.data", task.data, self.data) for name, task in self.tasks.items()
        ]
        for name, source in self.data.items():
            if source.drift is not None:
                uses.append((f"data.{name}.drift.of", source.drift.of, self.data))
        for name, condition in self.conditions.items():
            uses += [(f"conditions.{name}.data", each, self.data) for pair in condition.data.items() for each in pair]
        if self.main_task is not None:
            uses.append(("main_task", self.main_task, self.tasks))
        for what, names in (("data", self.data), ("tasks", self.tasks)):
            for name in names:
                if not re.fullmatch(NAME, name):
                    raise UsageError(f"{path}: {what}: '{name}' names a folder; expected letters, digits, . _ or -")
        for where, used, known in uses:
            if used not in known:
                raise UsageError(f"{path}: {where}: '{used}' is not defined; there are {', '.join(known)}")
        for what, empty in (("tasks", not self.tasks), ("models", not self.models), ("seeds", not self.seeds)):
            if empty:
                raise UsageError(f"{path}: {what}: is empty; expected one or more")

    def _require_origins(self, path: str) -> None:
        """A drifted copy must come from runs in the end, not from itself."""
        for name, source in self.data.items():
            seen = [name]
            while source.drift is not None:
                seen.append(source.drift.of)
                if seen[-1] in seen[:-1]:
                    raise UsageError(f"{path}: data.{name}.drift.of: {' of '.join(seen)}: a copy of itself")
                source = self.data[source.drift.of]

    def models_of(self, task: Task) -> dict[str, list[str]]:
        """Representation -> models of this task."""
        return self.models if task.models is None else task.models


class StudyConfig(FailureLimit):
    """Options of ``ms2img study``; the lists narrow the grid, which stays whole in the report."""

    study: Annotated[str, Reads(described_by=StudyFile)] = Field(description="YAML file that describes the study")
    out: Annotated[str | None, Writes(unset="location")] = Field(
        None, description="folder to write: cells, data sets, report [default: the file's name without .yaml]"
    )
    resume: bool = Field(False, description="go on with the study in --out")
    dry_run: bool = Field(False, description="only print the cells and how long they take")
    task: list[str] = Field(default_factory=list, description="only these tasks")
    representation: list[str] = Field(default_factory=list, description="only these representations")
    resolution: list[str] = Field(default_factory=list, description="only these image sizes")
    model: list[str] = Field(default_factory=list, description="only these models")
    seed: list[int] = Field(default_factory=list, description="only these seeds")
    cpus_per_cell: int = Field(1, ge=1, description="CPU cores, and torch threads, of a cell")
    gpus_per_cell: float = Field(0.0, ge=0, description="GPUs of a cell with a network; a fraction shares one")

    def location(self) -> str:
        """The folder that is written."""
        return self.out or str(Path(self.study).with_suffix(""))


def _located(source: Source, here: Path) -> Source:
    if source.samples is None or is_remote(source.samples):
        return source
    return source.model_copy(update={"samples": str(here / source.samples)})


def _checked_models(models: dict[str, list[str]]) -> dict[str, list[str]]:
    for representation, names in models.items():
        if representation not in MODELS:
            raise ValueError(f"unknown representation '{representation}'; there are {', '.join(MODELS)}")
        if len(set(names)) < len(names):
            raise ValueError(f"'{representation}' names a model twice: {', '.join(names)}")
        for name in names:
            if name not in MODELS[representation]:
                there = ", ".join(MODELS[representation])
                raise ValueError(f"'{name}' does not learn from '{representation}'; there are {there}")
    return models
