"""``ms2img simulate``: write a simulated study, to try everything else on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from ms2img.ms2toimg.simulation.config import ASSAYS, SimulationConfig
from ms2img.places import Writes
from pipelines.command import Output, Result
from pipelines.progress import Steps


class SimulateConfig(SimulationConfig):
    """Options of ``ms2img simulate``."""

    out: Annotated[str, Writes()] = Field(description="folder to write: runs, samples.csv, README.txt (local or s3://)")

    def simulation(self) -> SimulationConfig:
        """The part that decides the study's content."""
        return SimulationConfig(**{name: getattr(self, name) for name in SimulationConfig.model_fields})


def simulate(config: SimulateConfig, output: Output) -> Result:
    """Write a simulated natural-product study: runs of real molecules in made-up plants, and four assays."""
    from ms2img.ms2toimg.simulation.store import store_study

    simulation = config.simulation()
    with Steps(0, "simulate", quiet=output.quiet) as progress:

        def advance(done: int, total: int) -> None:
            progress.total = total
            progress.advance(done - progress.done)

        summary = store_study(config.out, simulation, advance)
    done = "unchanged" if summary.unchanged else "written"
    output.say(
        f"SIMULATED study {done}: {summary.accessions} accessions, {summary.runs} runs, {summary.spectra} "
        f"MS/MS spectra -> {summary.sheet} (assays {', '.join(ASSAYS)})"
    )
    return Result(asdict(summary))
