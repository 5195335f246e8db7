"""From wells to one value an accession: scavenging, equivalents, mean and spread of replicates, outliers named.

Radical scavenging activity (%) = (blank OD - sample OD) / blank OD x 100 (MS2toImg, "DPPH Radical Scavenging Assay"),
where the blank is the reagent without a sample. A sample's own absorbance (`sample-blank`) is taken off its OD before;
that, as all about outliers, is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ms2img.ms2toimg.assay.curve import Curve, fit_curve
from ms2img.ms2toimg.assay.options import AssayOptions
from ms2img.ms2toimg.assay.outliers import find_outliers
from ms2img.ms2toimg.assay.wells import BLANK, CONTROL, SAMPLE, SAMPLE_BLANK, STANDARD, Well

FEW = 3  # replicates: what the paper measured


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a plate file says.

    `values`: one row a sample or control: ``accession, kind, value`` (mean scavenging, %), ``sd`` (n - 1), ``n``,
    ``cv`` (sd over mean, %), ``equivalents`` and ``equivalents_sd`` (in the unit of the standards), ``equivalents_n``
    (the replicates of these: those on plates with standards), ``plates``, ``outliers`` (as `places`) and ``flags``.

    `wells`: one row a well: the fields of `Well` (``name`` as ``well``), ``net_od``, ``scavenging``, ``equivalents``,
    ``residual`` (of a standard from its line, %), ``in_curve``, ``outlier``, ``used``.

    `plates`: one row a plate: ``plate, blank_od, blank_sd, blanks`` and the fields of its `Curve`, empty without one.
    """

    values: pd.DataFrame
    wells: pd.DataFrame
    plates: pd.DataFrame
    outlier_test: str


def evaluate(wells: Sequence[Well], options: AssayOptions, *, path: str) -> Evaluation:
    """Evaluate sound wells (`require_sound`), every plate by its own blanks and standards.

    Outliers are looked for once, at most one a set of replicates: the blanks of a plate, a standard's concentration on
    a plate, a sample or control over all plates. Left out (``drop_outliers``) they are before every mean and curve.

    Raises `UsageError`, naming `path` and the plate, for standards that give no curve.
    """
    table = pd.DataFrame([asdict(well) for well in wells]).rename(columns={"name": "well"})
    table["used"] = True
    _measure(table)
    table["outlier"], test = _outliers(table, options)
    if options.drop_outliers:
        table["used"] = ~table["outlier"]
        _measure(table)
    curves = _curves(table, options, path)
    table["equivalents"] = table["residual"] = np.nan
    table["in_curve"] = False
    for plate, curve in curves.items():
        here = table["plate"] == plate
        standards = here & (table["kind"] == STANDARD)
        samples = here & table["kind"].isin([SAMPLE, CONTROL])
        table.loc[samples, "equivalents"] = curve.concentration(table.loc[samples, "scavenging"].to_numpy())
        line = curve.response(table.loc[standards, "concentration"].to_numpy())
        table.loc[standards, "residual"] = table.loc[standards, "scavenging"] - line
        in_range = curve.covers(table["concentration"].to_numpy())
        table["in_curve"] |= standards & table["used"] & in_range
    return Evaluation(_values(table, curves), table, _plates(table, curves), test)


def _measure(table: pd.DataFrame) -> None:
    """Net OD and scavenging of every well, by the means of the used blanks."""
    used = table[table["used"]]
    blank = used[used["kind"] == BLANK].groupby("plate")["od"].mean()
    own = used[used["kind"] == SAMPLE_BLANK].groupby(["plate", "accession"])["od"].mean()
    is_sample = table["kind"] == SAMPLE
    colour = [
        own.get((plate, accession), 0.0) if sample else 0.0
        for plate, accession, sample in zip(table["plate"], table["accession"], is_sample, strict=True)
    ]
    table["net_od"] = table["od"] - np.array(colour)
    blank_od = table["plate"].map(blank)
    table["scavenging"] = (blank_od - table["net_od"]) / blank_od * 100
    table.loc[table["kind"] == SAMPLE_BLANK, "scavenging"] = np.nan  # has no reagent to scavenge


def _outliers(table: pd.DataFrame, options: AssayOptions) -> tuple[pd.Series, str]:
    """Whether each well is an outlier of its set of replicates; and the test."""
    whole = table["kind"].isin([SAMPLE, CONTROL])
    keys = [table["kind"], table["accession"], table["plate"].where(~whole, ""), table["concentration"].fillna(-1)]
    replicates = table[table["kind"] != SAMPLE_BLANK]
    sets = [rows.index for _, rows in replicates.groupby([key.loc[replicates.index] for key in keys], sort=True)]
    found, test = find_outliers([table.loc[rows, "scavenging"].to_numpy() for rows in sets], options.outlier_test)
    outliers = [rows[place] for rows, place in zip(sets, found, strict=True) if place is not None]
    return pd.Series(table.index.isin(outliers), index=table.index), test


def _curves(table: pd.DataFrame, options: AssayOptions, path: str) -> dict[str, Curve]:
    """The curve of every plate that has standards."""
    standards = table[table["used"] & (table["kind"] == STANDARD)]
    return {
        str(plate): fit_curve(
            rows["concentration"].to_numpy(), rows["scavenging"].to_numpy(), options, where=f"{path}: plate {plate}"
        )
        for plate, rows in standards.groupby("plate", sort=False)
    }


def _values(table: pd.DataFrame, curves: dict[str, Curve]) -> pd.DataFrame:
    rows = []
    named = table[table["kind"].isin([SAMPLE, CONTROL])]
    for (kind, accession), wells in named.groupby(["kind", "accession"], sort=True):
        used = wells[wells["used"]]
        mean, sd = float(used["scavenging"].mean()), float(used["scavenging"].std(ddof=1))
        rows.append(
            {
                "accession": accession,
                "kind": kind,
                "value": mean,
                "sd": sd,
                "n": len(used),
                "cv": sd / abs(mean) * 100 if mean else np.nan,
                "equivalents": float(used["equivalents"].mean()),
                "equivalents_sd": float(used["equivalents"].std(ddof=1)),
                "equivalents_n": int(used["equivalents"].count()),
                "plates": " ".join(dict.fromkeys(wells["plate"])),
                "outliers": " ".join(places(wells[wells["outlier"]])),
                "flags": " ".join(_flags(wells, used, mean, curves)),
            }
        )
    return pd.DataFrame(rows).sort_values(["kind", "accession"], ascending=[False, True], ignore_index=True)


def places(wells: pd.DataFrame) -> list[str]:
    """Where wells are: ``plate:well``."""
    return [f"{plate}:{well}" for plate, well in zip(wells["plate"], wells["well"], strict=True)]


def _flags(wells: pd.DataFrame, used: pd.DataFrame, mean: float, curves: dict[str, Curve]) -> list[str]:
    """What to look at before believing a value."""
    covered = [
        bool(curves[str(plate)].covers(rows["equivalents"].mean()))
        for plate, rows in used.groupby("plate")
        if plate in curves
    ]
    flags = {
        "outlier-dropped": bool((wells["outlier"] & ~wells["used"]).any()),
        "outlier": bool((wells["outlier"] & wells["used"]).any()),
        "few-replicates": len(used) < FEW,
        "negative": mean < 0,
        "above-100": mean > 100,
        "outside-curve": not all(covered),
        "curve-not-linear": not all(curves[plate].linear for plate in set(used["plate"]) & set(curves)),
    }
    return [flag for flag, holds in flags.items() if holds]


def _plates(table: pd.DataFrame, curves: dict[str, Curve]) -> pd.DataFrame:
    rows = []
    for plate, wells in table.groupby("plate", sort=False):
        blanks = wells.loc[(wells["kind"] == BLANK) & wells["used"], "od"]
        curve = curves.get(str(plate))
        rows.append(
            {
                "plate": plate,
                "blank_od": float(blanks.mean()),
                "blank_sd": float(blanks.std(ddof=1)),
                "blanks": len(blanks),
                **(asdict(curve) if curve else dict.fromkeys(Curve.__dataclass_fields__)),
            }
        )
    return pd.DataFrame(rows)
