"""``ms2img deepion simulate``: a SIMULATED section whose ions are known, to try everything else on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.errors import UsageError
from ms2img.places import Writes
from pipelines.command import Output, Result
from pipelines.deepion.options import height_and_width
from pipelines.progress import Steps

_DEFAULT = PhantomConfig()


class SimulateConfig(Config):
    """Options of ``ms2img deepion simulate``."""

    out: Annotated[str, Writes()] = Field(
        description="new folder, here or s3://: SIMULATED.imzML and .ibd, truth.parquet, phantom.json, README.txt"
    )
    ions: int = Field(_DEFAULT.ions, description="m/z values in all, isotopes and decoys too: 17 to 5000")
    size: str = Field(f"{_DEFAULT.height}x{_DEFAULT.width}", description="of the section, HEIGHTxWIDTH in pixels")
    difficulty: float = Field(
        _DEFAULT.difficulty, ge=0, le=1, description="0 bright and clean, 1 mostly missing; the ions stay the same"
    )
    polarity: Literal["positive", "negative"] = Field("positive", description="of the ions")
    seed: int = Field(_DEFAULT.seed, ge=0, description="of the atlas, the ions and the counts")
    mz_low: float = Field(_DEFAULT.mz_low, description="least m/z")
    mz_high: float = Field(_DEFAULT.mz_high, description="greatest m/z")
    decoys: float = Field(_DEFAULT.decoys, ge=0, description="unrelated ions at an isotope's distance, a molecule")
    mode: Literal["processed", "continuous"] = Field("processed", description="of the imzML file")
    mz_error_ppm: float = Field(
        _DEFAULT.mz_error_ppm, ge=0, description="standard deviation of a peak's m/z in one spectrum, ppm; processed"
    )
    noise_peaks: int = Field(_DEFAULT.noise_peaks, ge=0, description="peaks of chance in each spectrum; processed")
    pixel_um: float = Field(_DEFAULT.pixel_um, gt=0, description="side of a pixel, micrometres")

    @field_validator("size")
    @classmethod
    def _size_is_readable(cls, size: str) -> str:
        height_and_width(size)
        return size

    def phantom(self) -> PhantomConfig:
        """The phantom's own settings; raises `UsageError` for a value out of its range."""
        height, width = height_and_width(self.size)
        return PhantomConfig(height=height, width=width, **self.model_dump(exclude={"out", "size"}))


def simulate_command(config: SimulateConfig, output: Output) -> Result:
    """Write a SIMULATED section as imzML, with what is true of each of its ions: class, molecule, isotope."""
    try:
        from ms2img.deepion.phantom.write import write_phantom
    except ModuleNotFoundError as error:
        raise UsageError(f"a phantom needs {error.name}: pip install 'ms2img[deepion]'") from None
    phantom = config.phantom()
    with Steps(0, "simulate", quiet=output.quiet) as progress:

        def advance(done: int, total: int) -> None:
            progress.total = total
            progress.advance(done - progress.done)

        summary = write_phantom(config.out, phantom, advance)
    done = "unchanged" if summary.unchanged else "written"
    output.say(
        f"SIMULATED section {done}: {summary.ions} ions of {summary.molecules} molecules, {summary.pixels} pixels, "
        f"{summary.missing:.0%} of all values missing -> {summary.folder}"
    )
    output.say(f"Next: ms2img deepion prepare {summary.imzml} IMAGES")
    return Result({**asdict(summary), "imzml": str(summary.imzml), "truth": str(summary.truth), "simulated": True})
