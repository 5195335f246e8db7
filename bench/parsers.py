"""The field's readers of raw runs against ours: the same scans and peaks, at what processor time and memory.

``python -m bench.parsers`` reads the real files of ``shared/data/raw``, and an MSP written from one of them, with every
reader that is installed; ``--python PATH`` names another interpreter that has more of them. Each reading is a process
of its own on one core: its time is the least processor time of `REPEATS` readings after one to warm up, its memory
the growth of the process over all of them. Reading is: every MS/MS scan's precursor m/z and peaks as NumPy arrays.
What differs from our reader is counted scan by scan; one JSON line a row.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SHARED = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))
FILES = ("apple_surface_swab.mzML", "DDApos_2.mzML.gz", "DOM_b.mzXML")
REPEATS = 5

Peaks = tuple[float, Any, Any]  # precursor m/z, m/z [n], intensity [n]


def ours(path: str) -> Iterator[Peaks]:
    """The scan readers of ms2img, without the table that is made of them; MSP as its table's columns."""
    from ms2img.io.formats import msp, mzml, mzxml

    if path.endswith(".msp"):
        table = msp.read_msp(path)
        for row in range(len(table)):
            mz, intensity = (table[name][row].values.to_numpy() for name in ("mz", "intensity"))
            yield table["precursor_mz"][row].as_py(), mz, intensity
        return
    scans = mzxml.read_scans(path) if path.endswith(".mzXML") else mzml.read_scans(path)
    for scan in scans:
        if scan.ms_level == 2 and scan.precursor is not None:
            yield scan.precursor.mz or 0.0, *scan.peaks()


def pyteomics(path: str) -> Iterator[Peaks]:
    """Sequential, without an index, from a stream."""
    from pyteomics import mzml, mzxml

    with gzip.open(path) if path.endswith(".gz") else Path(path).open("rb") as stream:
        if path.endswith(".mzXML"):
            for scan in mzxml.read(stream, use_index=False):
                if scan["msLevel"] == 2:
                    yield scan["precursorMz"][0]["precursorMz"], scan["m/z array"], scan["intensity array"]
        else:
            for scan in mzml.read(stream, use_index=False):
                if scan["ms level"] == 2:
                    ion = scan["precursorList"]["precursor"][0]["selectedIonList"]["selectedIon"][0]
                    yield (
                        ion["selected ion m/z"],
                        scan.get("m/z array", np.empty(0)),
                        scan.get("intensity array", np.empty(0)),
                    )


def pymzml(path: str) -> Iterator[Peaks]:
    """Its own access to each array; it has no mzXML."""
    for scan in importlib.import_module("pymzml.run").Reader(path):
        if scan.ms_level == 2:
            peaks = np.asarray(scan.peaks("raw"), dtype=np.float64).reshape(-1, 2)
            yield scan.selected_precursors[0]["mz"], peaks[:, 0], peaks[:, 1]


def pyopenms(path: str) -> Iterator[Peaks]:
    """The whole experiment in memory, its plain way."""
    oms: Any = importlib.import_module("pyopenms")
    experiment = oms.MSExperiment()
    (oms.MzXMLFile() if path.endswith(".mzXML") else oms.MzMLFile()).load(path, experiment)
    for scan in experiment:
        if scan.getMSLevel() == 2:
            yield scan.getPrecursors()[0].getMZ(), *scan.get_peaks()


def matchms(path: str) -> Iterator[Peaks]:
    """Its importers; they read mzML and mzXML through pyteomics, MSP on their own."""
    importing: Any = importlib.import_module("matchms.importing")
    importers = {".mzXML": importing.load_from_mzxml, ".msp": importing.load_from_msp}
    for spectrum in importers.get(Path(path).suffix, importing.load_from_mzml)(path):
        yield spectrum.get("precursor_mz"), spectrum.peaks.mz, spectrum.peaks.intensities


READERS: dict[str, Callable[[str], Iterator[Peaks]]] = {
    "ms2img": ours, "pyteomics": pyteomics, "pymzml": pymzml, "pyopenms": pyopenms, "matchms": matchms,
}  # fmt: skip


def measure(reader: str, path: str) -> dict[str, Any]:
    """Read `path` in this process: a digest a scan, least processor time, growth of memory."""
    for name in ("ms2img.io.formats.dda", "ms2img.io.formats.msp") if reader == "ms2img" else (reader,):
        importlib.import_module(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scans = [_digest(*scan) for scan in READERS[reader](path)]
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in READERS[reader](path):
            pass
        seconds.append(time.process_time() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"scans": scans, "cpu_ms": round(1000 * min(seconds), 1), "grown_mb": round(grown / 1024, 1)}


def _digest(precursor: float, mz: Any, intensity: Any) -> str:
    """Equal for equal values at the precision that the table keeps."""
    numbers = (np.float64(precursor), np.asarray(mz, np.float64), np.asarray(intensity, np.float32))
    return hashlib.blake2b(
        b"".join(np.ascontiguousarray(part).tobytes() for part in numbers), digest_size=8
    ).hexdigest()


def write_msp(source: Path, path: Path) -> None:
    """The MS/MS of an mzML run as MS-DIAL writes MSP."""
    with path.open("w", encoding="utf-8") as out:
        for precursor, mz, intensity in ours(str(source)):
            out.write(f"NAME: Unknown\nPRECURSORMZ: {precursor!r}\nIONMODE: Positive\nNum Peaks: {len(mz)}\n")
            out.writelines(
                f"{a!r}\t{float(np.float32(b))!r}\n" for a, b in zip(mz.tolist(), intensity.tolist(), strict=True)
            )
            out.write("\n")


def _in_own_process(pythons: list[str], reader: str, path: Path) -> dict[str, Any]:
    """The measurement by the first interpreter that has the reader, or the reason why there is none."""
    reason = "not installed"
    for python in pythons:
        command = [python, "-m", "bench.parsers", "--one", reader, str(path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1]))
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        if not last[0].startswith("ModuleNotFoundError"):
            reason = last[0][:120]
    return {"error": reason}


def main() -> None:
    """Print one JSON line a reader and file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[], help="another interpreter with more of the readers")
    parser.add_argument("--one", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one)))
        return
    with tempfile.TemporaryDirectory() as folder:
        msp = Path(folder, "DDApos_2.msp")
        write_msp(SHARED / "data/raw" / FILES[1], msp)
        for path in (*(SHARED / "data/raw" / name for name in FILES), msp):
            expected: list[str] = []
            for reader in READERS:
                found = _in_own_process([sys.executable, *arguments.python], reader, path)
                row: dict[str, Any] = {"file": path.name, "reader": reader, **found}
                if "scans" in found:
                    scans = row.pop("scans")
                    expected = expected or scans
                    same = sum(one == other for one, other in zip(scans, expected, strict=False))
                    row |= {"n_scans": len(scans), "n_differ": max(len(scans), len(expected)) - same}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
