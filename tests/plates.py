"""Plates for tests: made from known activities, as tidy tables and as a plate reader's grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

WELLS = [f"{letter}{number}" for letter in "ABCDEFGH" for number in range(1, 13)]
LEVELS = (20, 40, 60, 80, 100, 120, 140, 160)  # of the paper, micrograms a mL
SLOPE, INTERCEPT = 0.5, 4.0  # of the standard's line: 14 % at 20, 84 % at 160


def plate(
    activities: dict[str, float], *, name: str = "1", blank: float = 0.7, noise: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """A plate in triplicate: four blanks, the paper's eight standards, and these accessions (scavenging, %)."""
    rng = np.random.default_rng(seed)
    rows = [("blank", "", np.nan, 0.0)] * 4
    rows += [("standard", "", level, INTERCEPT + SLOPE * level) for level in LEVELS for _ in range(3)]
    rows += [("sample", accession, np.nan, value) for accession, value in activities.items() for _ in range(3)]
    table = pd.DataFrame(rows, columns=["kind", "accession", "concentration", "true"])
    od = blank * (1 - table["true"] / 100) + noise * rng.standard_normal(len(table))
    return table.assign(well=WELLS[: len(table)], plate=name, od=od.round(4)).drop(columns="true")


def write_tidy(path: Path, *tables: pd.DataFrame) -> Path:
    pd.concat(tables).to_csv(path, index=False)
    return path


def write_grid(path: Path, layout: Path, *tables: pd.DataFrame) -> None:
    """The same as 8 x 12 grids with a plate reader's lines between, and the layout of all plates."""
    lines = ["Reader,Software 5.1", "Wavelength,517", ""]
    for table in tables:
        od = dict(zip(table["well"], table["od"], strict=True))
        lines += [f"Plate: {table['plate'].iloc[0]}", ",".join(["", *map(str, range(1, 13))])]
        lines += [
            ",".join([row, *(str(od.get(f"{row}{column}", "")) for column in range(1, 13))]) for row in "ABCDEFGH"
        ]
        lines.append("")
    path.write_text("\n".join(lines))
    pd.concat(tables).drop(columns="od").to_csv(layout, index=False)


def many(n: int, seed: int = 1) -> dict[str, float]:
    """Activities of n accessions, at most 22 fit a plate."""
    return {f"GS{number:03d}": float(value) for number, value in enumerate(uniform(n, seed), 1)}


def uniform(n: int, seed: int) -> Sequence[float]:
    return np.random.default_rng(seed).uniform(20, 75, n).tolist()
