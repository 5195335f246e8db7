"""The truth of a phantom as a table, ions found in a measurement matched to it, and scores against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.deepion.faults import as_end
from ms2img.deepion.phantom.classes import NAMES
from ms2img.deepion.phantom.ions import Species
from ms2img.errors import RunError, UsageError
from ms2img.io.atomic import replace_file
from ms2img.io.storage import open_bytes

Integers = npt.NDArray[np.int64]

#: One row an ion, sorted by `mz`.
TRUTH = pa.schema(
    [
        pa.field("mz", pa.float64(), nullable=False),  # Da/charge
        pa.field("label", pa.int16(), nullable=False),  # class, 0-16
        pa.field("class", pa.string(), nullable=False),  # its name
        pa.field("envelope", pa.int32(), nullable=False),  # number of the molecule; isotopes share it
        pa.field("isotope", pa.int16(), nullable=False),  # neutrons above the monoisotopic ion, 0 or more
        pa.field("charge", pa.int16(), nullable=False),  # negative: anion
        pa.field("abundance", pa.float64(), nullable=False),  # of the molecule's highest peak, 0-1
        pa.field("brightness", pa.float64(), nullable=False),  # of the ion, relative to the median molecule
        pa.field("molecule", pa.string(), nullable=False),
        pa.field("adduct", pa.string(), nullable=False),  # empty: a decoy
        pa.field("formula", pa.string(), nullable=False),  # of the ion; empty: a decoy
        pa.field("is_decoy", pa.bool_(), nullable=False),  # lies where an isotope of another ion might
    ],
    metadata={"simulated": "true"},
)


@dataclass(frozen=True)
class PairScore:
    """Isotope pairs found against those there are."""

    found: int
    right: int
    present: int

    @property
    def precision(self) -> float:
        """Share of the pairs found that are right; NaN where none was found."""
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the pairs present that were found; NaN where there is none."""
        return self.right / self.present if self.present else float("nan")


def truth_table(species: Iterable[Species]) -> tuple[pa.Table, Integers]:
    """The truth of all ions by ascending m/z, and the place of each among the peaks of `species` in their order."""
    rows = []
    for envelope, one in enumerate(species):
        for mz, abundance, number in zip(one.mz.tolist(), one.abundance.tolist(), one.number.tolist(), strict=True):
            rows.append(
                {
                    "mz": mz,
                    "label": one.label,
                    "class": NAMES[one.label],
                    "envelope": envelope,
                    "isotope": number,
                    "charge": one.charge,
                    "abundance": abundance,
                    "brightness": abundance * one.brightness,
                    "molecule": one.name,
                    "adduct": one.adduct,
                    "formula": one.formula,
                    "is_decoy": one.is_decoy,
                }
            )
    order = np.argsort([row["mz"] for row in rows], kind="stable")
    return pa.Table.from_pylist([rows[place] for place in order.tolist()], TRUTH), order


def write_truth(path: Path, table: pa.Table) -> None:
    """Write the table as Parquet, in one step."""
    with replace_file(path) as temporary:
        pq.write_table(table, temporary)


def read_truth(path: str | Path) -> pa.Table:
    """The table at `path`, local or ``s3://``; raises `UsageError` for what is no phantom's truth."""
    try:
        with open_bytes(str(path)) as stream:
            table = pq.read_table(pa.PythonFile(stream, mode="r"))
    except RunError as error:
        raise as_end(error) from None
    except (OSError, pa.ArrowInvalid):
        raise UsageError(f"{path}: no Parquet file; expected the truth.parquet of a phantom") from None
    if not table.schema.equals(TRUTH):
        raise UsageError(f"{path}: columns {', '.join(table.column_names)}; expected the truth.parquet of a phantom")
    return table


def match(mz: npt.NDArray[np.float64], truth: pa.Table, ppm: float) -> Integers:
    """For each m/z found, [n], the row of the nearest ion of `truth`; -1 where none lies within `ppm`."""
    known = truth["mz"].to_numpy()
    upper = np.clip(np.searchsorted(known, mz), 1, max(len(known) - 1, 1))
    nearest = np.where(np.abs(known[upper - 1] - mz) <= np.abs(known[upper % len(known)] - mz), upper - 1, upper)
    return np.where(np.abs(known[nearest] - mz) <= ppm * 1e-6 * mz, nearest, -1)


def isotope_pairs(truth: pa.Table) -> set[tuple[int, int]]:
    """All (monoisotopic ion, isotope) as rows of `truth`."""
    envelope, number = truth["envelope"].to_pylist(), truth["isotope"].to_pylist()
    monoisotopic = {envelope[row]: row for row in range(len(envelope)) if number[row] == 0}
    return {
        (monoisotopic[envelope[row]], row)
        for row in range(len(envelope))
        if number[row] > 0 and envelope[row] in monoisotopic
    }


def score_pairs(pairs: Iterable[tuple[int, int]], rows: Integers, truth: pa.Table) -> PairScore:
    """Precision and recall of isotope pairs given as places in a list of ions, each with its row of `truth` or -1.

    Present are the pairs of `truth` of which both ions are in the list; a pair with an unmatched ion is wrong.
    """
    there = set(rows.tolist())
    present = {pair for pair in isotope_pairs(truth) if there.issuperset(pair)}
    found = {(int(parent), int(child)) for parent, child in pairs}
    right = {(int(rows[parent]), int(rows[child])) for parent, child in found} & present
    return PairScore(found=len(found), right=len(right), present=len(present))
