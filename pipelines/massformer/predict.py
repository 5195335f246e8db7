"""``ms2img massformer predict``: molecules to a library of predicted spectra; here, or on Ray."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ms2img.io.location import suffix
from ms2img.massformer.library.adducts import adduct_names
from ms2img.places import MODEL_NAMES, Reads, Writes
from pipelines.command import Output, Result
from pipelines.failure_limit import SHOWN, FailureLimit
from pipelines.lists import joined, numbers

OUT_SUFFIXES = (".msp", ".mgf", ".parquet")


class PredictConfig(FailureLimit):
    """Options of ``ms2img massformer predict``."""

    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS (such as models:/ms2img-massformer-massbank@champion), models:/NAME/VERSION, "
        "a run id, or a model folder"
    )
    molecules: Annotated[str, Reads()] = Field(
        description="CSV, TSV or Parquet table with a column smiles, and where wanted id, adduct and energy; "
        "local or s3://"
    )
    adduct: str = Field("[M+H]+", description="adducts to predict, with commas between, for rows without one")
    energy: str = Field(
        "20,40,60", description="collision energies to predict, with commas between, for rows without one"
    )
    energy_unit: Literal["NCE", "eV"] = Field("NCE", description="unit of all energies")
    instrument_type: str = Field(
        "", description="as in the model's library, such as LC-ESI-QFT [default: as a mean of those]"
    )
    out: Annotated[str, Writes()] = Field(
        "predicted.msp", description="library to write, .msp, .mgf or .parquet, local or s3://"
    )
    cut: float = Field(0.01, ge=0, lt=1, description="least height of a peak, over that of the highest")
    mass: Literal["centre", "defect"] = Field(
        "defect",
        description="m/z of a peak: where organic ions of that nominal mass lie, or the centre of its bin, which a "
        "search at a tolerance below 0.5 Da does not match",
    )
    part_size: int = Field(256, ge=1, description="molecules that are worked on, and with --distributed kept, together")
    distributed: bool = Field(
        False, description="predict on Ray, for many molecules; interrupted, the same command goes on"
    )
    num_gpus: float = Field(
        0.0, ge=0, le=1, description="with --distributed: GPUs of each worker, such as 0.25; 0: CPUs predict"
    )

    @field_validator("energy", "adduct", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return joined(value)

    @field_validator("adduct")
    @classmethod
    def _adducts_are_adducts(cls, value: str) -> str:
        return adduct_names(value)

    @field_validator("energy")
    @classmethod
    def _energies_are_numbers(cls, value: str) -> str:
        numbers(value)
        return value

    @field_validator("out")
    @classmethod
    def _out_has_a_known_suffix(cls, out: str) -> str:
        if suffix(out) not in OUT_SUFFIXES:
            raise ValueError(f"expected a name that ends in {', '.join(OUT_SUFFIXES[:-1])} or {OUT_SUFFIXES[-1]}")
        return out

    def refused_place(self) -> str:
        """The table of molecules that were refused."""
        return f"{self.out}.refused.csv"


def predict_command(config: PredictConfig, output: Output) -> Result:
    """Predict MS/MS spectra of molecules with a trained model; --distributed predicts a million of them on Ray."""
    from pipelines.massformer.predict_job import predict

    summary = predict(config, quiet=output.quiet, notice=output.warn)
    for row in summary.examples[:SHOWN]:
        output.warn(f"row {row['row']}: {row['smiles']}: {row['code']}: {row['message']}")
    if summary.refused > SHOWN:
        output.warn(f"... and {summary.refused - SHOWN} more in {config.refused_place()}")
    output.say(
        f"{summary.spectra} spectra of {summary.molecules} molecules, {summary.refused} refused, by {summary.model} "
        f"-> {config.out}"
    )
    values = {
        "molecules": summary.molecules,
        "spectra": summary.spectra,
        "refused": summary.refused,
        "model": summary.model,
        "model_version": summary.model_version,
        "output": config.out,
        "seconds": round(summary.seconds, 1),
    }
    allowed = config.failures_allowed(summary.molecules + summary.refused)
    return Result(values, status=3 if summary.refused > allowed else 0)
