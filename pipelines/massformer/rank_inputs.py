"""What ``ms2img massformer rank`` reads: query spectra of a file, candidate structures of a table."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ms2img.errors import RunError, UsageError
from ms2img.io import storage
from ms2img.io.formats.mgf import read_mgf
from ms2img.io.formats.msp import read_msp
from ms2img.io.location import suffix
from ms2img.io.read import sniff
from ms2img.massformer.conditions import Condition
from ms2img.massformer.library.adducts import parse_adduct
from ms2img.massformer.library.energy import Unit, parse_energy

READERS = {"mgf": read_mgf, "msp": read_msp}
SMILES_COLUMN = "smiles"


@dataclass(frozen=True)
class Query:
    """One spectrum that a structure is sought for. energies: predictions are averaged over them; None: unknown."""

    name: str
    mz: np.ndarray
    intensity: np.ndarray
    precursor_mz: float
    condition: Condition
    energies: tuple[float | None, ...]


@dataclass(frozen=True)
class Asked:
    """What holds for queries that do not say it (adduct, instrument type), or for all of them (energies).

    energies: empty: each query's own.
    """

    adduct: str
    instrument_type: str
    energies: tuple[float, ...]
    energy_unit: Unit


def read_queries(path: str, asked: Asked, adducts: tuple[str, ...]) -> tuple[list[Query], dict[str, int]]:
    """The spectra of an MGF or MSP file, and how many of it are no query, by reason.

    Reasons: ``no_peaks``, ``adduct`` (not understood, or none of `adducts`, which the model knows). A collision energy
    that is not understood counts as unknown. Raises `UsageError` for a file that cannot be read.
    """
    try:
        kind = sniff(path)
        if kind not in READERS:
            raise UsageError(f"{path}: this is {kind}; expected query spectra in an MGF or MSP file")
        rows = READERS[kind](path).to_pylist()
    except RunError as error:
        raise UsageError(str(error)) from None
    queries: list[Query] = []
    refused: dict[str, int] = {}
    for row in rows:
        adduct = _adduct(row, asked.adduct)
        reason = "no_peaks" if not row["mz"] else "adduct" if adduct not in adducts else ""
        if reason or adduct is None:
            refused[reason] = refused.get(reason, 0) + 1
            continue
        unit, energies = _energies(row, asked)
        queries.append(
            Query(
                name=str(row["spectrum_id"]),
                mz=np.asarray(row["mz"]),
                intensity=np.asarray(row["intensity"]),
                precursor_mz=row["precursor_mz"],
                condition=Condition(adduct, None, unit, asked.instrument_type),
                energies=energies,
            )
        )
    return queries, refused


def read_candidates(path: str) -> list[str]:
    """The SMILES of a CSV, TSV or Parquet table with a column ``smiles`` (any case), in its order.

    Raises `UsageError` for a table that cannot be read, without that column, or without rows.
    """
    try:
        with storage.open_bytes(path) as stream:
            content = stream.read()
        if suffix(path) == ".parquet":
            table = pd.read_parquet(io.BytesIO(content))
        else:
            separator = "\t" if suffix(path) in (".tsv", ".tab") else ","
            table = pd.read_csv(io.BytesIO(content), sep=separator, dtype=str, keep_default_na=False)
    except RunError as error:
        raise UsageError(str(error)) from None
    except (ValueError, OSError) as error:  # of pandas and Arrow, malformed tables included
        raise UsageError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from None
    found = [name for name in table.columns if str(name).strip().lower() == SMILES_COLUMN]
    if not found:
        raise UsageError(f"{path}: no column '{SMILES_COLUMN}'; there are {', '.join(map(str, table.columns))}")
    if not len(table):
        raise UsageError(f"{path}: no candidates; expected a row for each structure")
    return [str(text) for text in table[found[0]]]


def _adduct(row: Mapping[str, Any], default: str) -> str | None:
    """The query's adduct in the library's spelling; None for one that is not understood."""
    try:
        return parse_adduct(row["adduct"] or default, row["polarity"]).name
    except ValueError:
        return None


def _energies(row: Mapping[str, Any], asked: Asked) -> tuple[Unit, tuple[float | None, ...]]:
    """Unit and energies: those asked for, else those the query states, else unknown."""
    if asked.energies:
        return asked.energy_unit, asked.energies
    try:
        stated = parse_energy(row["collision_energy"] or "", asked.energy_unit)
    except ValueError:
        return asked.energy_unit, (None,)
    if stated.kind == "one-of":  # and which is not said
        return stated.unit, (None,)
    return stated.unit, (stated.mean,)  # as in a library, where a ramp has the mean of its energies
