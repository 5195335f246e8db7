"""A spectra table as MGF, with every digit: `ms2img.io.formats.mgf.read_mgf` gives the same table back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ENTRIES_AT_ONCE = 4096  # spectra whose text is in memory apart from the whole (ours)
#: Written for an intensity of 0, which an MGF reads as absent, and one absent moves the whole run to another scale. As
#: good as 0, but no subnormal number: some builds read those as 0.
LEAST = 1e-300


def mgf_bytes(spectra: pa.Table, *, title: str, comment: str) -> bytes:
    """All rows of a table of schema `SPECTRA`, as UTF-8; numbers have the fewest digits that give themselves back.

    `title` begins the title of every entry, `comment` is the file's first line. A row without peaks is an entry without
    peaks. Line ends within a text become spaces.
    """
    entries = [f"# {_line(comment)}\n"]
    for batch in spectra.to_batches(max_chunksize=ENTRIES_AT_ONCE):
        peaks = _peak_lines(batch).to_pylist()
        heads = batch.drop_columns(["mz", "intensity"]).to_pylist()
        entries += [
            f"BEGIN IONS\n{_head(row, title)}{lines}\nEND IONS\n\n"
            for row, lines in zip(heads, peaks, strict=True)
        ]  # fmt: skip
    return "".join(entries).encode()


def _peak_lines(batch: pa.RecordBatch) -> pa.Array:
    """One text a spectrum: its peaks, a line each."""
    mz, intensity = (pc.list_flatten(batch[name]).cast(pa.string()) for name in ("mz", "intensity"))
    lines = pc.binary_join_element_wise(mz, intensity, " ")
    length = pc.fill_null(pc.list_value_length(batch["mz"]), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array([0, *length.cumsum().tolist()], pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, lines), "\n")


def _head(row: Mapping[str, Any], title: str) -> str:
    height = row["precursor_intensity"]
    pepmass = repr(row["precursor_mz"]) if height is None else f"{row['precursor_mz']!r} {height or LEAST!r}"
    fields = {
        "TITLE": f"{title} spectrum {row['spectrum_id']}",
        "SCANS": row["spectrum_id"],
        "PEPMASS": pepmass,
        "RTINSECONDS": row["rt_seconds"],
        "CHARGE": _charge(row["charge"]),
        "ION": row["adduct"],
        "IONMODE": row["polarity"],
        "COLLISION_ENERGY": row["collision_energy"],
        "MSLEVEL": 2,
    }
    return "".join(f"{key}={_line(str(value))}\n" for key, value in fields.items() if value is not None)


def _charge(charge: int | None) -> str | None:
    return None if charge is None else f"{abs(charge)}{'-' if charge < 0 else '+'}"


def _line(text: str) -> str:
    return " ".join(text.splitlines())
