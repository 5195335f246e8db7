"""``ms2img massformer train``: a prepared library to a trained, tracked and registered spectrum model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ms2img.massformer.library.adducts import adduct_names
from ms2img.places import Reads
from pipelines.command import Output, Result, mean_and_sd
from pipelines.lists import joined, listed
from pipelines.massformer.options import FitOptions

if TYPE_CHECKING:
    from ms2img.massformer.model import ModelConfig
    from ms2img.massformer.selection import DataSettings
    from ms2img.massformer.spectrum import SpectrumConfig
    from pipelines.massformer.training_job import TrainSummary

ALL = "all"


class DataOptions(FitOptions):
    """What is trained on."""

    library: Annotated[str, Reads()] = Field(
        description="prepared library: the OUT folder of ms2img massformer prepare (local or s3://)"
    )
    split: Literal["scaffold", "inchikey"] = Field(
        "scaffold",
        description="what stays together in the 70/10/20 split: Murcko scaffolds (the paper), or molecules",
    )
    split_seed: int = Field(0, ge=0, description="seed of the split")
    held_out: Annotated[str, Reads(names=r"[^/.]*")] = Field(
        "",
        description="a laboratory of the library, or the folder of a second one, kept for testing: molecules that "
        "share a scaffold (by --split) with it are not trained on",
    )
    cell: Literal["HCD", "CID", "all"] = Field("HCD", description="collision cell of the spectra")
    adducts: str = Field("[M+H]+", description="adducts of the spectra, with commas between; or all")
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="share of the training part's molecules that is used, for learning curves"
    )

    @field_validator("adducts", mode="before")
    @classmethod
    def _joined_adducts(cls, value: Any) -> Any:
        return joined(value)

    @field_validator("adducts")
    @classmethod
    def _adducts_are_adducts(cls, value: str) -> str:
        return value if value == ALL else adduct_names(value)

    def work_place(self) -> str:
        """Where states and results are kept when --work does not say."""
        return f"{self.library.rstrip('/')}.training"

    def data_settings(self) -> DataSettings:
        """The part that decides on the data; the name of a held-out library is set when it has been read."""
        from ms2img.massformer.selection import DataSettings

        return DataSettings(
            cell=None if self.cell == ALL else self.cell,
            adducts=() if self.adducts == ALL else tuple(listed(self.adducts)),
            split=self.split,
            split_seed=self.split_seed,
            held_out=self.held_out,
            train_fraction=self.train_fraction,
        )


class TrainConfig(DataOptions):
    """Options of ``ms2img massformer train``."""

    model: Literal["massformer", "wln", "fp", "cnn"] = Field(
        "massformer", description="the molecule's encoder: graph transformer, WLN, fingerprints or a CNN over SELFIES"
    )
    preset: Literal["paper", "released", "small"] = Field(
        "small", description="sizes and training: the paper's, its released code's, or ours for two CPU cores"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="dropout of the encoder [default: the preset's]")
    head_dropout: float | None = Field(None, ge=0, lt=1, description="dropout of the head [default: the preset's]")
    bin_width: float = Field(1.0, gt=0, description="width of a bin of m/z, Da")
    mz_max: float = Field(1000.0, gt=0, description="m/z where bins end, Da")
    transform: Literal["log", "sqrt", "none"] = Field(
        "log", description="of intensities, before cosine and loss: the paper's is log"
    )

    def network_config(self) -> ModelConfig:
        """The preset's model with what the user changed."""
        from dataclasses import replace

        from ms2img.massformer.presets import PRESETS

        given = {name: getattr(self, name) for name in ("dropout", "head_dropout") if getattr(self, name) is not None}
        return replace(PRESETS[self.model, self.preset], **given)

    def spectrum_config(self) -> SpectrumConfig:
        """How spectra are binned."""
        from ms2img.massformer.spectrum import SpectrumConfig

        return SpectrumConfig(bin_width=self.bin_width, mz_max=self.mz_max, transform=self.transform)


def train_command(config: TrainConfig, output: Output) -> Result:
    """Train a spectrum model on a prepared library over several seeds, and register the best by validation cosine."""
    from pipelines.massformer.training_job import train

    return told(train(config, quiet=output.quiet, notice=output.warn), output)


def told(summary: TrainSummary, output: Output) -> Result:
    """What a training leaves behind, for a person and as values."""
    data, model = summary.data, summary.registration
    output.say(
        f"{data.library}: {data.n_molecules} molecules and {len(data.train)} spectra trained on, "
        f"{len(data.validation)} spectra to validate; split by {data.settings.split}"
        f"{', SIMULATED data' if data.simulated else ''}"
    )
    cosine = mean_and_sd(summary.cosine_mean, summary.cosine_sd)
    output.say(
        f"validation cosine per molecule {cosine} over {len(summary.seeds)} seeds; the best is seed {summary.best}"
    )
    output.say(f"registered {model.uri} (run {summary.run_id}); {model.decision}")
    output.say(f"Next: ms2img massformer evaluate {model.uri} {summary.library} evaluation")
    return Result(
        {
            "run_id": summary.run_id,
            "model": model.uri,
            "champion": model.champion,
            "simulated": data.simulated,
            "molecules": data.n_molecules,
            "spectra": len(data.train),
            "split": data.fingerprints["folds"],
            "cosine_mean": summary.cosine_mean,
            "cosine_sd": summary.cosine_sd,
            "seeds": [each.to_dict() for each in summary.seeds],
            "best_seed": summary.best,
            "seconds": round(summary.seconds, 1),
        }
    )
