"""What ``ms2img assay`` tells a person and a machine: the plates, the first accessions, the outliers."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table

from ms2img.ms2toimg.assay.values import Evaluation, places
from pipelines.command import Output

NEGATIVE_SHARE = 0.5  # of the accessions; more look like a blank of another kind (ours)
SHOWN = 15  # accessions on the terminal; OUT has all


def show(found: Evaluation, output: Output) -> None:
    """The plates, the first accessions, and every outlier, for a person."""
    output.show(_plates_table(found.plates.to_dict("records")))
    output.show(_values_table(found.values.head(SHOWN).to_dict("records")))
    if len(found.values) > SHOWN:
        output.say(f"... and {len(found.values) - SHOWN} more")
    if (found.values["value"] < 0).mean() > NEGATIVE_SHARE:
        output.warn("most values are below 0: is the blank the reagent without a sample, the well of the most colour?")
    outliers = found.wells[found.wells["outlier"]]
    if len(outliers):
        dropped = "kept; --drop-outliers leaves them out" if outliers["used"].any() else "left out"
        of = (f"{place} ({kind})" for place, kind in zip(places(outliers), outliers["kind"], strict=True))
        output.say(f"{len(outliers)} outliers by the {found.outlier_test} test, {dropped}: {', '.join(of)}")


def _plates_table(plates: list[dict[Any, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    for heading in ("plate", "blank OD (wells)", "standard curve, c: concentration", "linear range", "r2"):
        table.add_column(heading)
    for row in plates:
        line = reach = r2 = "-"
        if not pd.isna(row["slope"]):
            line = f"{row['slope']:.4f} c {row['intercept']:+.2f}"
            reach = f"{row['low']:g} to {row['high']:g}, {row['n']:g} wells"
            r2 = f"{row['r2']:.4f}{'' if row['linear'] else ' (below --min-r2)'}"
        blank = f"{row['blank_od']:.3f}" + ("" if pd.isna(row["blank_sd"]) else f" ± {row['blank_sd']:.3f}")
        table.add_row(str(row["plate"]), f"{blank} ({row['blanks']})", line, reach, r2)
    return table


def _values_table(values: list[dict[Any, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    for heading in ("accession", "scavenging %", "n", "CV %", "equivalents", "outliers", "flags"):
        table.add_column(heading)
    for row in values:
        table.add_row(
            f"{row['accession']}{' (control)' if row['kind'] == 'control' else ''}",
            _with_sd(row["value"], row["sd"]),
            str(row["n"]),
            "-" if pd.isna(row["cv"]) else f"{row['cv']:.1f}",
            _with_sd(row["equivalents"], row["equivalents_sd"]),
            row["outliers"],
            row["flags"],
        )
    return table


def facts(found: Evaluation) -> dict[str, Any]:
    """The values of the ``--json`` line."""
    return {
        "accessions": len(found.values),
        "wells": len(found.wells),
        "plates": found.plates.astype(object).where(found.plates.notna(), None).to_dict("records"),
        "outlier_test": found.outlier_test,
        "outliers": places(found.wells[found.wells["outlier"]]),
        "dropped": int((~found.wells["used"]).sum()),
    }


def _with_sd(mean: Any, sd: Any) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"
