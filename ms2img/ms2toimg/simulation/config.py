"""What a user can choose about a simulated study, and the random streams that follow from the seed."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import numpy as np
from pydantic import Field

from ms2img.config import Config

ASSAYS = ("dpph", "tpc", "tfc", "elastase")


class SimulationConfig(Config):
    """Size, file format and imperfections of a simulated study; equal configs give equal bytes."""

    accessions: int = Field(default=60, ge=2, le=9999, description="number of accessions (plants)")
    replicates: int = Field(default=3, ge=1, le=99, description="injections of each accession")
    format: Literal["mgf", "msdial"] = Field(
        default="mgf", description="mgf: one file a run; msdial: one aligned table of all runs (MS-DIAL 4 export)"
    )
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="seed of everything random")
    mz_error_ppm: float = Field(default=3.0, ge=0, le=50, description="standard deviation of the m/z error, ppm")
    retention_drift_seconds: float = Field(
        default=20.0, ge=0, le=300, description="retention drift over one batch, seconds"
    )
    intensity_noise: float = Field(
        default=0.3, ge=0, le=2, description="standard deviation of ln intensity between injections, per feature"
    )
    fragment_dropout: float = Field(default=0.15, ge=0, lt=1, description="probability that a fragment is missing, 0-1")
    top_n: int = Field(default=4, ge=1, le=50, description="precursors sampled in one cycle, most intense first")
    assay_noise: float = Field(
        default=0.12, ge=0, le=1, description="standard deviation of one assay reading, share of the assay's range"
    )


class Stage(IntEnum):
    """Names the random streams; the numbers are part of every seed, so they never change."""

    WORLD = 1
    ACCESSION = 2
    REFERENCE = 3
    ASSAY = 4
    SEQUENCE = 5
    INJECTION = 6
    RETENTION = 7
    CONTAMINANTS = 8


def stream(seed: int, stage: Stage, *key: int) -> np.random.Generator:
    """An independent random stream for one thing, so that one accession more leaves the earlier ones as they were."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=(int(stage), *key))))
