"""What one core converts in a second, format by format, and where the time goes: reading, rendering, writing.

``python -m bench.convert_formats`` prints one JSON line a format. Seconds are processor time of one thread, the best of
`--repeats` passes over the same real files (shared/data; MSP is the qemistree MGF written as MSP). Writing is
the rows' Parquet in memory, zstd included, as a conversion stages it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.cohort import SHARED
from ms2img.errors import RunError
from ms2img.io.dataset.shards import encode
from ms2img.io.draft import draft_sheet
from ms2img.io.read import read_runs
from ms2img.io.sheet import Run, Sheet
from ms2img.ms2toimg.convert import image_row, rows_to_table
from ms2img.ms2toimg.render_config import RenderConfig

MGF_FILES = 30  # of the qemistree set, evenly spread over it


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, runs in format_runs(Path(scratch)).items():
            measured = [measure(runs, RenderConfig()) for _ in range(options.repeats + 1)][1:]  # the first warms up
            best = min(measured, key=lambda row: row["read"] + row["render"] + row["write"])
            whole = best["read"] + best["render"] + best["write"]
            line = {
                "format": name,
                "runs": len(runs),
                "megabytes": round(sum(Path(path).stat().st_size for path in _files(runs)) / 1e6, 2),
                "failed": int(best["failed"]),
                "spectra": int(best["spectra"]),
                "runs_per_second_and_core": round(len(runs) / whole, 1),
                **{f"{part}_share": round(best[part] / whole, 3) for part in ("read", "render", "write")},
            }
            print(json.dumps(line), flush=True)


def measure(runs: Sequence[Run], config: RenderConfig) -> dict[str, float]:
    """Processor seconds to read, render and write all `runs` once."""
    seconds = {"read": 0.0, "render": 0.0, "write": 0.0, "failed": 0.0, "spectra": 0.0}
    rows = []
    started = time.process_time()
    for run, spectra in read_runs(runs):
        seconds["read"] += time.process_time() - started
        if isinstance(spectra, RunError):
            seconds["failed"] += 1
            started = time.process_time()
            continue
        seconds["spectra"] += len(spectra.table)
        started = time.process_time()
        rows.append(image_row(run, spectra, config, source_fingerprint=""))
        seconds["render"] += time.process_time() - started
        started = time.process_time()
    started = time.process_time()
    if rows:
        encode(rows_to_table(rows, config))
    seconds["write"] = time.process_time() - started
    return seconds


def format_runs(scratch: Path) -> dict[str, Sequence[Run]]:
    """format -> real runs in it."""
    data = SHARED / "data"
    mgf = Sheet.read(data / "qemistree" / "samples.csv").runs[:: 98 // MGF_FILES][:MGF_FILES]
    found: dict[str, Sequence[Run]] = {
        "MGF": mgf,
        "MSP": _drafted([_as_msp(run, scratch) for run in mgf], scratch / "msp.csv"),
        "feature table + MGF, a pair a run": Sheet.read(data / "emi" / "samples.csv").runs,
        "feature table + MGF, one pair of many runs": Sheet.read(data / "qemistree" / "fbmn" / "samples.csv").runs,
    }
    for name, file in (
        ("MS-DIAL 4 alignment", "msdial/msdial4_alignment_72_runs.txt"),
        ("MS-DIAL 5 alignment", "msdial/msdial5_alignment_69_samples.txt"),
        ("MS-DIAL 4 peak list", "msdial/msdial4_peaklist_one_run.txt"),
        ("mzML", "raw/apple_surface_swab.mzML"),
        ("mzML.gz", "raw/DDApos_2.mzML.gz"),
        ("mzXML", "raw/DOM_b.mzXML"),
    ):
        found[name] = _drafted([str(data / file)], scratch / f"{Path(file).stem}.csv")
    return found


def _drafted(files: Sequence[str], sheet: Path) -> Sequence[Run]:
    draft_sheet(files, sheet)
    return Sheet.read(sheet).runs


def _as_msp(run: Run, folder: Path) -> str:
    """The run's spectra written as MSP."""
    _, spectra = next(iter(read_runs([run])))
    if isinstance(spectra, RunError):
        raise spectra
    path = folder / f"{run.sample_id}.msp"
    with path.open("w") as stream:
        for row in spectra.table.to_pylist():
            stream.write(f"Name: {row['spectrum_id']}\nPrecursorMZ: {row['precursor_mz']}\n")
            stream.write(f"RetentionTime: {row['rt_seconds'] / 60:.4f}\nNum Peaks: {len(row['mz'])}\n")
            stream.writelines(f"{mz}\t{height}\n" for mz, height in zip(row["mz"], row["intensity"], strict=True))
            stream.write("\n")
    return str(path)


def _files(runs: Sequence[Run]) -> set[str]:
    return {path for run in runs for path in (run.path, run.quant_path) if path}


if __name__ == "__main__":
    main()
