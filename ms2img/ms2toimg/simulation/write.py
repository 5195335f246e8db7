"""The study's files beside the aligned table: one MGF a run, the sample sheet, a README that says simulated."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from ms2img.ms2toimg.simulation.acquisition import Scan
from ms2img.ms2toimg.simulation.assays import FULL_SCALE
from ms2img.ms2toimg.simulation.config import SimulationConfig
from ms2img.ms2toimg.simulation.injections import Injection, accession_name

SHEET_NAME = "samples.csv"
_UNITS = {
    "dpph": "% of DPPH radicals scavenged",
    "tpc": "total phenolics, mg gallic acid equivalents / g extract",
    "tfc": "total flavonoids, mg quercetin equivalents / g extract",
    "elastase": "% inhibition of elastase",
}


def write_mgf(path: Path, sample_id: str, scans: Iterable[Scan]) -> None:
    """One run as MGF; every title says simulated."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        for number, scan in enumerate(scans, start=1):
            file.write(
                f"BEGIN IONS\nTITLE=simulated {sample_id} scan {number}\n"
                f"PEPMASS={scan.precursor_mz:.5f} {scan.precursor_intensity:.1f}\nCHARGE=1-\n"
                f"RTINSECONDS={scan.rt:.2f}\nSCANS={number}\nMSLEVEL=2\n"
            )
            file.writelines(
                f"{mz:.5f} {i:.1f}\n" for mz, i in zip(scan.mz.tolist(), scan.intensity.tolist(), strict=True)
            )
            file.write("END IONS\n\n")


def write_sheet(
    path: Path,
    injections: Sequence[Injection],
    assays: Sequence[dict[str, float]],
    *,
    data_file: str | None,
) -> None:
    """The sample sheet; blanks and pools have no assay values.

    data_file: the one aligned table that holds all runs, None where each run has its own MGF in ``runs/``.
    """
    head = ["sample_id", "path", *(["column"] if data_file else [])]
    head += ["kind", "accession", "replicate", "batch", "injection_order", "simulated", *FULL_SCALE]
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.writer(file, lineterminator="\n")
        sheet.writerow(head)
        for run in injections:
            is_sample = run.kind == "sample"
            where = [data_file, run.sample_id] if data_file else [run_file(run)]
            accession = accession_name(run.accession) if is_sample else ""
            values = [f"{assays[run.accession][name]:.2f}" if is_sample else "" for name in FULL_SCALE]
            sheet.writerow(
                [run.sample_id, *where, run.kind, accession, run.replicate, run.batch, run.order, "true", *values]
            )


def run_file(run: Injection) -> str:
    """Path of a run's MGF relative to the study."""
    return f"runs/{run.sample_id}.mgf"


def readme(config: SimulationConfig, counts: dict[str, int]) -> str:
    """Text of ``README.txt``."""
    options = "\n".join(f"  {name}: {value}" for name, value in config.model_dump().items())
    units = "\n".join(f"  {name}: {unit}" for name, unit in _UNITS.items())
    total = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        "SIMULATED LC-MS/MS STUDY\n\n"
        "No plant, no instrument and no assay is behind these files: ms2img computed them. The molecules are real,\n"
        "their amounts, spectra and activities are a model's. Use them to try the software, never as evidence.\n\n"
        f"Seed {config.seed}: {total}.\n\nOptions\n{options}\n\n"
        f"Assays in {SHEET_NAME}, one value an accession\n{units}\n"
    )
