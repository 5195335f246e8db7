"""Options of the commands of ``ms2img massformer`` that train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ms2img.places import Writes
from pipelines.seeds.options import SeedOptions

if TYPE_CHECKING:
    from ms2img.learn.fit_config import FitConfig


class FitOptions(SeedOptions):
    """How a spectrum model is trained; what is not given is the preset's."""

    batch_size: int | None = Field(None, ge=1, description="spectra a step [default: the preset's]")
    learning_rate: float | None = Field(None, gt=0, description="peak step size of AdamW [default: the preset's]")
    weight_decay: float | None = Field(None, ge=0, description="decoupled, of AdamW [default: the preset's]")
    schedule: Literal["constant", "plateau", "polynomial"] | None = Field(
        None, description="of the learning rate over epochs: the paper's is plateau, the released code's polynomial"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better validation cosine [default: the preset's]"
    )
    name: str | None = Field(
        None, min_length=1, description="of the library in the registry [default: the names of its sources]"
    )
    work: Annotated[str | None, Writes(unset="work_place")] = Field(
        None, description="folder of states and results of seeds, local or s3:// [default: LIBRARY.training]"
    )

    def fit_config(self, preset: FitConfig) -> FitConfig:
        """The preset's way of training with what the user changed; the seed is each training's own."""
        asked = ("batch_size", "learning_rate", "weight_decay", "schedule", "patience")
        return self.changed(preset, {name: getattr(self, name) for name in asked})
