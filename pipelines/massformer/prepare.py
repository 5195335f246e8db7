"""``ms2img massformer prepare``: spectral libraries to the tables that everything else in this group reads."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
from rich.table import Table

from ms2img.errors import UsageError
from pipelines.command import Output, Result
from pipelines.massformer.prepare_config import PrepareConfig

__all__ = ["PrepareConfig", "prepare_command"]

SHOWN_LABORATORIES = 20  # of the table that is printed; spectra.parquet has all


def prepare_command(config: PrepareConfig, output: Output) -> Result:
    """Prepare spectral libraries: molecules, adducts and energies in one form, filtered, each spectrum once."""
    try:
        import rdkit  # noqa: F401 (the workers need it: known here, before any work)

        from ms2img.massformer.library.folder import read_library
        from pipelines.massformer.prepare_job import prepare
    except ModuleNotFoundError as error:
        raise UsageError(f"libraries need {error.name}: pip install 'ms2img[massformer]'") from None
    summary = prepare(config, quiet=output.quiet, notice=output.warn)
    counts = summary.manifest.counts
    spectra = read_library(summary.output).spectra
    if summary.was_prepared:
        output.say("already prepared: the same files and settings")
    else:
        for reason, count in counts["refused"].items():
            output.say(f"left out: {count:7d} {reason}")
    output.show(_table(spectra))
    output.say(
        f"{counts['records']} records read -> {counts['spectra']} spectra of {counts['molecules']} molecules "
        f"-> {summary.output}"
    )
    if summary.manifest.is_simulated:
        output.warn(f"{summary.output}: holds SIMULATED spectra, which are no measurement")
    values = {
        **counts,
        "output": summary.output,
        "fingerprint": summary.manifest.fingerprint,
        "was_prepared": summary.was_prepared,
        "is_simulated": summary.manifest.is_simulated,
        "cells": dict(sorted(Counter(spectra["cell"].to_pylist()).items())),
        "licences": dict(sorted(Counter(spectra["licence"].to_pylist()).items())),
        "laboratories": dict(sorted(Counter(spectra["laboratory"].to_pylist()).items())),
    }
    return Result(values)


def _table(spectra: pa.Table) -> Table:
    """Spectra and molecules by laboratory and licence, and by cell."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    columns = spectra.select(["laboratory", "licence", "cell", "molecule_id"]).to_pylist()
    for row in columns:
        group = groups.setdefault((row["laboratory"], row["licence"]), {"HCD": 0, "CID": 0, "molecules": set()})
        group[row["cell"]] += 1
        group["molecules"].add(row["molecule_id"])
    table = Table("laboratory", "licence", *(f"{name}" for name in ("HCD", "CID", "molecules")))
    largest = sorted(groups.items(), key=lambda item: (-item[1]["HCD"] - item[1]["CID"], item[0]))
    for (laboratory, licence), group in largest[:SHOWN_LABORATORIES]:
        shown = (group["HCD"], group["CID"], len(group["molecules"]))
        table.add_row(laboratory or "(not stated)", licence or "(not stated)", *map(str, shown))
    if len(largest) > SHOWN_LABORATORIES:
        table.add_row(f"... and {len(largest) - SHOWN_LABORATORIES} more", "", "", "", "")
    return table
