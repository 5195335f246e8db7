"""``ms2img drift``: a copy of a study as a changed instrument would have measured it. SIMULATED, and marked so."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from ms2img.io.read_config import ReadOptions
from ms2img.io.sheet import KINDS
from ms2img.ms2toimg.drift_config import Drift
from ms2img.places import Reads, Writes
from pipelines.command import Output, Result
from pipelines.failure_limit import FailureLimit, warn_of_failures


class DriftConfig(FailureLimit, ReadOptions, Drift):
    """Options of ``ms2img drift``."""

    samples: Annotated[str, Reads("sheet")] = Field(description="sample sheet (CSV, TSV or Parquet), here or s3://")
    out: Annotated[str, Writes()] = Field(
        description="output folder, here or s3://: samples.csv, runs/, errors.parquet, config.yaml"
    )
    kinds: tuple[str, ...] = Field(
        default=("sample",),
        min_length=1,
        description="kinds of the sheet's rows to copy, parted by commas: sample, blank, qc; others are left out",
    )
    allow_outside: bool = Field(
        default=False, description="let paths in the sheet climb above the sheet's folder by '..'"
    )

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        given = tuple(dict.fromkeys(kind.strip() for each in kinds for kind in each.split(",")))
        if not set(given) <= set(KINDS):
            raise ValueError(f"expected one or more of {', '.join(KINDS)}, parted by commas")
        return given

    def read_options(self) -> ReadOptions:
        """The part that decides how runs are read."""
        return ReadOptions(**{name: getattr(self, name) for name in ReadOptions.model_fields})


def drift_command(config: DriftConfig, output: Output) -> Result:
    """Write a SIMULATED copy of a study: its spectra with m/z error, another response, lost fragments, later times."""
    from pipelines.drift_job import drift

    summary = drift(config, quiet=output.quiet, notice=output.warn)
    warn_of_failures(output, summary.errors, config.out)
    output.say(
        f"SIMULATED drift ({config.describe()}): {summary.written} written, {summary.unchanged} unchanged, "
        f"{summary.failed} failed -> {summary.sheet}"
    )
    counts = {"written": summary.written, "unchanged": summary.unchanged, "failed": summary.failed}
    values = {**counts, "samples": summary.sheet, "drift": config.describe(), "simulated": True}
    return Result(values, status=3 if summary.failed > summary.allowed else 0)
