"""``ms2img deepion train``: ion images to a trained, tracked and registered encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ms2img.places import Reads, Writes
from pipelines.command import Output, Result, mean_and_sd
from pipelines.seeds.options import SeedOptions

if TYPE_CHECKING:
    from ms2img.deepion.siamese import SiameseConfig
    from ms2img.learn.fit_config import FitConfig


class TrainConfig(SeedOptions):
    """Options of ``ms2img deepion train``."""

    images: Annotated[str, Reads()] = Field(
        description="folder of ion images: the OUT of ms2img deepion prepare (local or s3://)"
    )
    mode: Literal["col", "iso"] = Field(
        "col", description="what is to lie close: co-localised ions (col), or isotopes of one (iso)"
    )
    preset: Literal["paper", "released", "small"] = Field(
        "small", description="views, model and training: the paper's, its released code's, or ours for two CPU cores"
    )
    weights: Annotated[str | None, Reads()] = Field(
        None,
        description="safetensors file of ResNet18 weights under torchvision's names, such as ImageNet's, that the "
        "encoder starts from (the paper's does) [default: drawn anew]",
    )
    name: str | None = Field(
        None, min_length=1, description="of the images in the registry [default: of the file that they were made of]"
    )
    batch_size: int | None = Field(None, ge=1, description="images a step, of all workers [default: the preset's]")
    learning_rate: float | None = Field(None, gt=0, description="step size of Adam [default: the preset's]")
    work: Annotated[str | None, Writes(unset="work_place")] = Field(
        None, description="folder of states and results of seeds, local or s3:// [default: IMAGES.training]"
    )

    def work_place(self) -> str:
        """Where states and results are kept when --work does not say."""
        return f"{self.images.rstrip('/')}.training"

    def model_config_of_preset(self) -> SiameseConfig:
        """The preset's model."""
        from ms2img.deepion.presets import MODELS

        return MODELS[self.preset]

    def fit_config(self) -> FitConfig:
        """The preset's way of training with what the user changed; the seed is each training's own."""
        from ms2img.deepion.presets import TRAINING

        given = {"batch_size": self.batch_size, "learning_rate": self.learning_rate}
        return self.changed(TRAINING[self.preset], given)


def train_command(config: TrainConfig, output: Output) -> Result:
    """Train an encoder on ion images without labels, over several seeds, and register the one that tells most apart."""
    from pipelines.deepion.training_job import train

    summary = train(config, quiet=output.quiet, notice=output.warn)
    ions, model = summary.ions, summary.registration
    height, width = ions.mask.shape
    output.say(
        f"{summary.name}: {len(ions)} ion images of {height}x{width} pixels trained on, mode {config.mode}, preset "
        f"{config.preset}{', SIMULATED data' if ions.is_simulated else ''}"
    )
    told_apart = mean_and_sd(summary.retrieval_mean, summary.retrieval_sd)
    output.say(
        f"ions told apart in noise {told_apart} over {len(summary.seeds)} seeds; the best is seed {summary.best}"
    )
    output.say(f"registered {model.uri} (run {summary.run_id}); {model.decision}")
    place = "embedding" if config.mode == "col" else f"embedding-{config.mode}"  # one of each model
    output.say(f"Next: ms2img deepion embed {model.uri} {config.images} {place}")
    return Result(
        {
            "run_id": summary.run_id,
            "model": model.uri,
            "champion": model.champion,
            "simulated": ions.is_simulated,
            "ions": len(ions),
            "mode": config.mode,
            "preset": config.preset,
            "retrieval_mean": summary.retrieval_mean,
            "retrieval_sd": summary.retrieval_sd,
            "seeds": [each.to_dict() for each in summary.seeds],
            "best_seed": summary.best,
            "seconds": round(summary.seconds, 1),
        }
    )
