"""From records to the tables: any part of a library by itself, then all parts together.

What comes out does not depend on how the records were parted, nor on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.massformer.library.duplicates import digest, first_of_each
from ms2img.massformer.library.energy import ev_of_nce, nce_of_ev
from ms2img.massformer.library.filters import Accepted, LibraryRules, accept
from ms2img.massformer.library.reasons import STRUCTURE_PREFIX, Reason, Refusals, Rejected
from ms2img.massformer.library.record import LibraryRecord
from ms2img.massformer.library.tables import LIBRARY_SPECTRA, MOLECULES
from ms2img.massformer.molecule.structure import Structure

_DIGEST, _FIRST = "digest", "spectrum_id"
_PART_SPECTRA = LIBRARY_SPECTRA.append(pa.field(_DIGEST, pa.binary(16), nullable=False))
_PART_MOLECULES = MOLECULES.append(pa.field(_FIRST, pa.string(), nullable=False))
MAX_MZ = 1e6  # Da / charge (ours): no instrument sees a peak there


@dataclass(frozen=True)
class Part:
    """Some records in one form. `n_records` were read, `refusals` tells which were left out.

    spectra: `LIBRARY_SPECTRA` with the `digest` of each row. molecules: `MOLECULES` with the first spectrum of each.
    """

    spectra: pa.Table
    molecules: pa.Table
    refusals: Refusals
    n_records: int
    is_simulated: bool


@dataclass(frozen=True)
class Assembled:
    """All records in one form: the tables of a library, sorted by their ids, and what was left out.

    `is_simulated`: whether any of the records says that its peaks are made up.
    """

    molecules: pa.Table
    spectra: pa.Table
    refusals: Refusals
    n_records: int
    is_simulated: bool


def read_part(records: Iterable[LibraryRecord | Rejected], rules: LibraryRules) -> Part:
    """The records that the rules keep, in one form; one that could not be read comes as its `Rejected`."""
    rows: list[dict[str, Any]] = []
    molecules: dict[str, dict[str, Any]] = {}
    refusals = Refusals()
    n_records = 0
    is_simulated = False
    for record in records:
        n_records += 1
        if isinstance(record, Rejected):
            refusals.add(record.reason, record.found)
            continue
        try:
            accepted = accept(record, rules)
            row = _row(record, accepted)
        except Rejected as rejected:
            found = f"{record.spectrum_id}: {rejected.found}" if rejected.found else record.spectrum_id
            refusals.add(rejected.reason, found)
            continue
        is_simulated |= record.is_simulated
        rows.append(row)
        molecule_id = accepted.structure.molecule_id
        if molecule_id not in molecules or row["spectrum_id"] < molecules[molecule_id][_FIRST]:
            molecules[molecule_id] = {**_molecule(accepted.structure), _FIRST: row["spectrum_id"]}
    return Part(
        pa.Table.from_pylist(rows, schema=_PART_SPECTRA),
        pa.Table.from_pylist(list(molecules.values()), schema=_PART_MOLECULES),
        refusals,
        n_records,
        is_simulated,
    )


def assemble(parts: Sequence[Part]) -> Assembled:
    """The tables of all parts, sorted by id, each spectrum once; of a molecule the first spectrum gives the SMILES."""
    refusals = Refusals.merged(part.refusals for part in parts)
    order = [("spectrum_id", "ascending"), (_DIGEST, "ascending")]
    spectra = pa.concat_tables([_PART_SPECTRA.empty_table(), *(part.spectra for part in parts)]).sort_by(order)
    ids, digests = spectra["spectrum_id"].to_pylist(), spectra[_DIGEST].to_pylist()
    kept, duplicates, repeated = first_of_each(ids, digests)
    for row in duplicates:
        refusals.add(Reason.DUPLICATE, ids[row])
    for row in repeated:
        refusals.add(Reason.REPEATED_ID, ids[row])
    spectra = spectra.take(pa.array(kept, pa.int64())).drop_columns([_DIGEST])
    by_first = [("molecule_id", "ascending"), (_FIRST, "ascending"), ("smiles", "ascending")]
    molecules = pa.concat_tables([_PART_MOLECULES.empty_table(), *(part.molecules for part in parts)]).sort_by(by_first)
    names = molecules["molecule_id"].to_pylist()
    first = [row for row, name in enumerate(names) if row == 0 or names[row - 1] != name]
    molecules = molecules.take(pa.array(first, pa.int64())).drop_columns([_FIRST])
    molecules = molecules.filter(pc.is_in(molecules["molecule_id"], pc.unique(spectra["molecule_id"])))
    return Assembled(
        molecules.combine_chunks(),
        spectra.combine_chunks(),
        refusals,
        sum(part.n_records for part in parts),
        any(part.is_simulated for part in parts),
    )


def without(assembled: Assembled, refused: Mapping[str, str]) -> Assembled:
    """The library without some molecules; their spectra are counted. `refused`: molecule_id -> code of `REFUSALS`."""
    if not refused:
        return assembled
    refusals = Refusals.merged([assembled.refusals])
    columns = assembled.spectra.select(["molecule_id", "spectrum_id"]).to_pylist()
    for row in columns:
        if row["molecule_id"] in refused:
            refusals.add(STRUCTURE_PREFIX + refused[row["molecule_id"]], row["spectrum_id"])
    gone = pa.array(list(refused), pa.string())
    spectra, molecules = (
        table.filter(pc.invert(pc.is_in(table["molecule_id"], gone))).combine_chunks()
        for table in (assembled.spectra, assembled.molecules)
    )
    return replace(assembled, spectra=spectra, molecules=molecules, refusals=refusals)


def clean_peaks(mz: Sequence[float], intensity: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Peaks above 0 in ascending m/z, float64 [peaks], with their intensity over the highest one, float32 [peaks].

    Raises `Rejected`: MALFORMED for a number that is not finite or an m/z that is not above 0, NO_PEAKS.
    """
    masses, heights = np.asarray(mz, np.float64), np.asarray(intensity, np.float64)
    if not (np.isfinite(masses).all() and np.isfinite(heights).all() and (masses > 0).all()):
        raise Rejected(Reason.MALFORMED, "a peak that is not finite or whose m/z is not above 0")
    if (masses >= MAX_MZ).any():
        raise Rejected(Reason.MALFORMED, f"a peak at m/z {masses.max():g}")
    order = np.argsort(masses, kind="stable")
    order = order[heights[order] > 0]
    if not len(order):
        raise Rejected(Reason.NO_PEAKS)
    scaled = (heights[order] / heights[order].max()).astype(np.float32)
    visible = scaled > 0  # what underflows has no intensity
    return masses[order][visible], scaled[visible]


def _row(record: LibraryRecord, accepted: Accepted) -> dict[str, Any]:
    mz, intensity = clean_peaks(record.mz, record.intensity)
    adduct, energy = accepted.adduct, accepted.energy
    return {
        "spectrum_id": record.spectrum_id,
        "molecule_id": accepted.structure.molecule_id,
        "library": record.library,
        "laboratory": record.laboratory,
        "licence": record.licence,
        "instrument": record.instrument,
        "instrument_type": record.instrument_type,
        "cell": accepted.cell,
        "adduct": adduct.name,
        "polarity": adduct.polarity,
        "charge": adduct.charge,
        "precursor_mz": accepted.precursor_mz,
        "collision_energy": record.collision_energy,
        **_energies(accepted),
        "energy_unit": None if energy is None else energy.unit,
        "is_ramp": energy is not None and energy.is_ramp,
        "mz": mz,
        "intensity": intensity,
        _DIGEST: digest(accepted, record.instrument_type, mz, intensity),
    }


def _energies(accepted: Accepted) -> dict[str, float | None]:
    energy, charge = accepted.energy, accepted.adduct.charge
    if energy is None:
        return {"energy_ev": None, "energy_nce": None}
    if energy.unit == "eV":
        return {"energy_ev": energy.mean, "energy_nce": nce_of_ev(energy.mean, accepted.precursor_mz, charge)}
    return {"energy_ev": ev_of_nce(energy.mean, accepted.precursor_mz, charge), "energy_nce": energy.mean}


def _molecule(structure: Structure) -> dict[str, Any]:
    return {
        "molecule_id": structure.molecule_id,
        "smiles": structure.smiles,
        "inchikey": structure.inchikey,
        "formula": structure.formula,
        "exact_mass": structure.exact_mass,
        "scaffold": structure.scaffold,
        "n_atoms": structure.n_atoms,
    }
