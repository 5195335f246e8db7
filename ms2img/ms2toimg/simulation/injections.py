"""The order in which the instrument sees the vials: batches of ten accessions, randomised, with blanks and pools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from ms2img.ms2toimg.simulation.config import SimulationConfig, Stage, stream

ACCESSIONS_A_BATCH = 10


@dataclass(frozen=True)
class Injection:
    """One run. A blank or a pool has accession -1 and its own number as replicate."""

    sample_id: str
    kind: str  # "sample" | "blank" | "qc"
    accession: int
    replicate: int
    batch: int  # from 1
    order: int  # from 1, over the whole study
    position: float  # 0-1 through its batch


def accession_name(index: int) -> str:
    """The sheet's name of an accession, from SIM0001."""
    return f"SIM{index + 1:04d}"


def sequence(config: SimulationConfig) -> list[Injection]:
    """All injections in order: a batch is a blank, a pool, half its samples, a pool, the other half."""
    runs: list[Injection] = []
    blanks, pools = count(1), count(1)
    for batch, first in enumerate(range(0, config.accessions, ACCESSIONS_A_BATCH)):
        vials = list(_vials(config, batch, first))
        half = len(vials) // 2
        plan = [
            ("blank", -1, next(blanks)),
            ("qc", -1, next(pools)),
            *vials[:half],
            ("qc", -1, next(pools)),
            *vials[half:],
        ]
        for place, (kind, accession, replicate) in enumerate(plan):
            name = accession_name(accession) if kind == "sample" else f"SIM-{kind.upper()}"
            runs.append(
                Injection(
                    sample_id=f"{name}-{replicate}",
                    kind=kind,
                    accession=accession,
                    replicate=replicate,
                    batch=batch + 1,
                    order=len(runs) + 1,
                    position=place / len(plan),
                )
            )
    return runs


def _vials(config: SimulationConfig, batch: int, first: int) -> Iterator[tuple[str, int, int]]:
    """The samples of one batch in random order, as (kind, accession, replicate)."""
    accessions = range(first, min(first + ACCESSIONS_A_BATCH, config.accessions))
    vials = [(accession, replicate) for accession in accessions for replicate in range(1, config.replicates + 1)]
    for choice in stream(config.seed, Stage.SEQUENCE, batch).permutation(len(vials)):
        yield ("sample", *vials[choice])
