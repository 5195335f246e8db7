"""Options of ``ms2img baselines``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ms2img.io.read_config import ReadOptions
from ms2img.ms2toimg.baselines import MODELS
from ms2img.ms2toimg.labels import LabelConfig
from ms2img.places import Reads, Writes
from pipelines.failure_limit import FailureLimit


class BaselinesConfig(FailureLimit, ReadOptions, LabelConfig):
    """Options of ``ms2img baselines``."""

    features: Annotated[tuple[str, ...], Reads()] = Field(
        min_length=1, description="feature tables: OUT folders of ms2img features (local or s3://), a column each"
    )
    samples: Annotated[str, Reads("sheet")] = Field(description="sample sheet with the assay column (local or s3://)")
    models: tuple[str, ...] = Field(MODELS, description="models, each with its own --models or parted by commas")
    folds: int = Field(5, ge=2, description="folds of the cross-validation over accessions, those of ms2img train")
    seed: int = Field(0, ge=0, description="seed of folds, forests, boosting and permutations")
    scale: Literal["unit", "pareto"] = Field(
        "unit", description="scaling of a feature for logistic, oplsda and pca; 'unit' is 'standard' of R's ropls"
    )
    permutations: int = Field(200, ge=0, description="permuted labellings of the test of OPLS-DA; 0 leaves it out")
    images: Annotated[str | None, Reads()] = Field(
        None, description="image data set (local or s3://): adds a random forest on its pixels"
    )
    memo: bool = Field(
        False, description="add counts of fragments and losses, without alignment (MEMO), read from the sheet's runs"
    )
    out: Annotated[str, Writes()] = Field(
        "baselines",
        description="folder to write: predictions.parquet, metrics.csv, summary.csv, multivariate.csv, scores.parquet, "
        "config.yaml, with --memo also errors.parquet, failures.csv where a model could not be fitted",
    )
    allow_outside: bool = Field(False, description="let paths in the sheet climb above the sheet's folder by '..'")

    @field_validator("models", mode="before")
    @classmethod
    def _parted(cls, value: object) -> object:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple):
            return value
        return tuple(dict.fromkeys(name.strip() for each in given for name in str(each).split(",")))

    @field_validator("models")
    @classmethod
    def _known(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for name in models:
            if name not in MODELS:
                raise ValueError(f"no model '{name}'; expected some of {', '.join(MODELS)}")
        if not models:
            raise ValueError(f"no model is named; expected some of {', '.join(MODELS)}")
        return models

    @field_validator("features")
    @classmethod
    def _once(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(features)) < len(features):
            raise ValueError("a feature table is named twice")
        return features

    def label_config(self) -> LabelConfig:
        """The part that decides labels."""
        return LabelConfig(**{name: getattr(self, name) for name in LabelConfig.model_fields})

    def read_options(self) -> ReadOptions:
        """The part that decides how --memo reads runs."""
        return ReadOptions(**{name: getattr(self, name) for name in ReadOptions.model_fields})
