"""The whole study: simulate every run, write it to one folder, and commit that folder by one rename."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ms2img.errors import UsageError
from ms2img.io.location import join
from ms2img.ms2toimg.simulation import assays, write
from ms2img.ms2toimg.simulation.acquisition import acquire
from ms2img.ms2toimg.simulation.alignment import Alignment
from ms2img.ms2toimg.simulation.composition import Floats, World, make_world
from ms2img.ms2toimg.simulation.compounds import Compound, load_compounds
from ms2img.ms2toimg.simulation.config import SimulationConfig, Stage, stream
from ms2img.ms2toimg.simulation.injections import Injection, sequence
from ms2img.ms2toimg.simulation.ions import make_ions

#: Raised by hand when the same config gives other files; a golden hash in the tests guards it.
SIMULATION_VERSION = 1

RECORD = "study.json"
_ALIGNED_TABLE = "alignment.txt"
_CONTAMINANT_SD = 0.8  # ln, between contaminants; their level is that of a typical metabolite
_CONTAMINANT_LEVEL = 0.5  # ln

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StudySummary:
    """What `write_study` left at `output`; `unchanged` if an earlier call with the same config had already."""

    output: str
    sheet: str
    accessions: int
    runs: int
    spectra: int
    unchanged: bool


@dataclass(frozen=True)
class Collection:
    """The accessions of a study: abundances [accessions, compounds] and assay values."""

    world: World
    abundance: Floats
    assays: list[dict[str, float]]


def write_study(out: Path, config: SimulationConfig, progress: Progress | None = None) -> StudySummary:
    """Write runs, ``samples.csv``, ``config.yaml``, ``README.txt`` and ``study.json`` to the folder `out`.

    `progress` is called with (runs done, runs in all). Raises `UsageError` without RDKit, or if `out` holds anything
    but the same study; nothing is written then.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; name a new folder for the simulated study")
    if out.is_dir() and any(out.iterdir()):
        record = (out / RECORD).read_bytes() if (out / RECORD).is_file() else None
        return earlier_study(str(out), config, record, lambda name: (out / name).is_file())
    compounds = load_compounds()
    out.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        folder = workplace / "study"
        folder.mkdir()
        counts = _write(folder, compounds, config, progress)
        folder.replace(out)  # also over an empty folder; in one step
    finally:
        shutil.rmtree(workplace)
    return _summary(str(out), counts, unchanged=False)


def make_collection(compounds: tuple[Compound, ...], config: SimulationConfig) -> Collection:
    """Compose every accession and measure it in the four assays."""
    world = make_world(compounds, config.seed)
    potency = assays.potencies(compounds)
    unit = assays.reference_dose(world, potency)
    abundance = np.stack([world.accession(index) for index in range(config.accessions)])
    values = [
        assays.measure(row, index, world, potency, unit, config.assay_noise) for index, row in enumerate(abundance)
    ]
    return Collection(world, abundance, values)


def contaminants(compounds: Sequence[Compound], seed: int) -> Floats:
    """What solvents and plastics add to every vial: abundances [compounds], 0 for all natural products."""
    level = stream(seed, Stage.CONTAMINANTS).normal(_CONTAMINANT_LEVEL, _CONTAMINANT_SD, len(compounds))
    return np.where([compound.is_contaminant for compound in compounds], np.exp(level), 0.0)


def vial(injection: Injection, collection: Collection, background: Floats) -> Floats:
    """Abundances [compounds] in the vial of one injection; a pool is the mean of all accessions."""
    if injection.kind == "blank":
        return background
    if injection.kind == "qc":
        return background + collection.abundance.mean(axis=0)
    return background + collection.abundance[injection.accession]


def _write(
    folder: Path, compounds: tuple[Compound, ...], config: SimulationConfig, progress: Progress | None
) -> dict[str, int]:
    injections = sequence(config)
    collection = make_collection(compounds, config)
    background = contaminants(compounds, config.seed)
    ions = make_ions(compounds, config.seed)
    aligned = Alignment(ions) if config.format == "msdial" else None
    if aligned is None:
        (folder / "runs").mkdir()
    n_spectra = 0
    for done, injection in enumerate(injections, start=1):
        acquired = acquire(vial(injection, collection, background), injection, ions, config)
        n_spectra += len(acquired.scans)
        if aligned is not None:
            aligned.add(injection, acquired)
        else:
            write.write_mgf(folder / write.run_file(injection), injection.sample_id, acquired.scans)
        if progress is not None:
            progress(done, len(injections))
    data_file = None
    if aligned is not None:
        data_file = _ALIGNED_TABLE
        aligned.write(folder / data_file)
    write.write_sheet(folder / write.SHEET_NAME, injections, collection.assays, data_file=data_file)
    counts = {"accessions": config.accessions, "runs": len(injections), "spectra": n_spectra}
    kinds = Counter(f"runs of kind {injection.kind}" for injection in injections)
    (folder / "README.txt").write_text(write.readme(config, {**counts, **kinds}), encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(), sort_keys=False), encoding="utf-8")
    record = {"simulated": True, **_identity(config), "counts": counts}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return counts


def _identity(config: SimulationConfig) -> dict[str, Any]:
    return {"simulation_version": SIMULATION_VERSION, "config": config.model_dump()}


def earlier_study(
    out: str, config: SimulationConfig, record: bytes | None, is_there: Callable[[str], bool]
) -> StudySummary:
    """The study already at `out`, by its record and what is there; `UsageError` if it is something else."""
    try:
        told = json.loads(record or b"")
        found, counts = {**told["config"], "simulation_version": told["simulation_version"]}, told["counts"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{out}: is not empty and holds no simulated study; name a new folder") from None
    wanted = {**config.model_dump(), "simulation_version": SIMULATION_VERSION}
    for key, value in wanted.items():
        if found.get(key) != value:
            raise UsageError(
                f"{out}: holds a simulated study with {key} {found.get(key)!r}, not {value!r}; name a new folder"
            )
    missing = next((name for name in sorted(data_files(config)) if not is_there(name)), None)
    if missing is not None:
        raise UsageError(f"{out}: {missing} of the simulated study is gone; remove the folder and simulate again")
    return _summary(out, counts, unchanged=True)


def data_files(config: SimulationConfig) -> set[str]:
    """The names of the sheet and of all that it names, relative to the study."""
    data = {write.run_file(run) for run in sequence(config)} if config.format == "mgf" else {_ALIGNED_TABLE}
    return {write.SHEET_NAME, *data}


def _summary(out: str, counts: dict[str, int], *, unchanged: bool) -> StudySummary:
    return StudySummary(
        output=out,
        sheet=join(out, write.SHEET_NAME),
        accessions=counts["accessions"],
        runs=counts["runs"],
        spectra=counts["spectra"],
        unchanged=unchanged,
    )
