"""Ion images of a SIMULATED imzML file of a given size: time and peak memory of the command, on two workers.

``python -m bench.deepion_prepare [--gigabytes 10] [--naive-gigabytes 0.1] [--folder /large/disk]`` prints one JSON line
a row and deletes what it wrote. Beside it, on a smaller file, the way that needs no workers: all spectra in memory, and
pyimzML's ``getionimage`` an ion; a few ions are measured, and the rest of them projected. Memory is that of all
processes, Ray's own among them (see `bench.memory`).
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pyimzml.ImzMLParser import ImzMLParser, getionimage
from pyimzml.ImzMLWriter import ImzMLWriter

from bench.memory import PeakMemory
from ms2img.deepion.images import read_images
from ms2img.deepion.imzml import SIMULATED_RUN

WORKERS = 2
MAIN = f"""
import sys
from cluster.connect import connected
from pipelines.cli import main
with connected(num_cpus={WORKERS}):
    status = main(sys.argv[1:])
sys.exit(status)
"""
BYTES_A_PEAK = 12  # float64 m/z, float32 intensity
PEAKS = 4096  # of a spectrum
IONS = 1500  # each in half of the pixels; the other peaks are of chance
CLASSES = 17
PPM = 10.0
PRESENCE = 0.1  # peaks of chance fall into one bin in up to 3 % of the pixels


def main() -> None:
    """Measure and print; or, as a process of its own, the naive way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gigabytes", type=float, default=10.0, help="of the .ibd file, 1e9 bytes")
    parser.add_argument("--naive-gigabytes", type=float, default=0.1, help="of the file that is read whole")
    parser.add_argument("--naive-ions", type=int, default=30, help="ions of it that are imaged one by one")
    parser.add_argument("--folder", type=Path, default=None, help="on a disk with three times the room")
    parser.add_argument("--naive", type=Path, nargs=2, help=argparse.SUPPRESS)  # the file, and m/z as .npy
    options = parser.parse_args()
    if options.gigabytes <= options.naive_gigabytes:
        parser.error("--gigabytes is to be above --naive-gigabytes")
    if options.naive:
        _naive(*options.naive)
        return
    with tempfile.TemporaryDirectory(prefix="ms2img-bench-", dir=options.folder) as place:
        small = _both_ways(Path(place), options.naive_gigabytes, options.naive_ions)
        large = _prepared(Path(place), options.gigabytes)
    more = options.gigabytes - options.naive_gigabytes
    seconds = (large["seconds"] - small["seconds"]) / more  # without the start of Ray
    naive = small["naive_seconds"] / options.naive_gigabytes
    _print(
        {
            "part": "a gigabyte more",
            "prepare_seconds": round(seconds, 1),
            "naive_seconds": round(naive, 1),
            "naive_to_prepare_seconds": round(naive / seconds, 2),
            "prepare_mb": round((large["peak_mb"] - small["peak_mb"]) / more),
            "naive_mb": round(small["naive_mb"] / options.naive_gigabytes),
        }
    )


def _both_ways(place: Path, gigabytes: float, n_ions: int) -> dict[str, float]:
    """The command and the naive way, of one file."""
    found = _prepared(place, gigabytes, keep=True)
    ions = read_images(place / "out")
    some = np.linspace(0, len(ions) - 1, n_ions).astype(int)
    np.save(place / "mz.npy", ions.mz[some])
    command = [sys.executable, "-m", "bench.deepion_prepare", "--naive", str(_file(place)), str(place / "mz.npy")]
    answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    seconds = answer["load_seconds"] + answer["image_seconds"] * len(ions) / n_ions
    _print(
        {
            "part": "naive",
            "gigabytes": gigabytes,
            **answer,
            "ions_measured": n_ions,
            "seconds_projected": round(seconds, 1),
            "ions_projected": len(ions),
        }
    )
    shutil.rmtree(place / "out")
    _file(place).unlink()
    _file(place).with_suffix(".ibd").unlink()
    return {**found, "naive_seconds": seconds, "naive_mb": answer["spectra_mb"]}


def _prepared(place: Path, gigabytes: float, *, keep: bool = False) -> dict[str, float]:
    """The command as a user types it, on a file that is written for it."""
    started = time.perf_counter()
    pixels = _write(_file(place), int(gigabytes * 1e9))
    _print({"part": "write", "gigabytes": gigabytes, "pixels": pixels, "seconds": _since(started)})
    options = ["--ppm", str(PPM), "--min-presence", str(PRESENCE), "--json", "--quiet"]
    command = [sys.executable, "-c", MAIN, "deepion", "prepare", str(_file(place)), str(place / "out"), *options]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job, PeakMemory(job.pid) as memory:
        answer, _ = job.communicate()
    if job.returncode:
        raise SystemExit(f"prepare ended with status {job.returncode}")
    seconds, values = _since(started), json.loads(answer.splitlines()[-1])
    counts = {name: values[name] for name in ("pixels", "peaks", "ions", "rare", "flat")}
    peaks = {f"{kind}_peak_mb": round(memory.peaks[kind]) for kind in ("driver", "worker", "all")}
    _print({"part": "prepare", "gigabytes": gigabytes, "workers": WORKERS, **counts, "seconds": seconds, **peaks})
    if not keep:
        shutil.rmtree(place / "out")
    return {"seconds": seconds, "peak_mb": peaks["all_peak_mb"]}


def _write(path: Path, size: int) -> int:
    """A SIMULATED section of about `size` bytes; its pixels. Ions follow smooth patterns, a class each."""
    side = max(4, round((size / (BYTES_A_PEAK * PEAKS)) ** 0.5))
    random = np.random.default_rng(0)
    true = np.sort(np.exp(random.uniform(np.log(100), np.log(2000), IONS)))
    waves = random.uniform(-9, 9, (CLASSES, 2))
    label, bright = random.integers(CLASSES, size=IONS), random.lognormal(4, 1, IONS)
    with ImzMLWriter(str(path), mode="processed", polarity="positive") as writer:
        writer.run_id = SIMULATED_RUN
        for place in range(side * side):
            y, x = divmod(place, side)
            share = 0.5 + 0.5 * np.sin(waves @ (np.array([x, y]) / side))
            seen = np.flatnonzero(random.random(IONS) < share[label])
            chance = np.exp(random.uniform(np.log(100), np.log(2000), PEAKS - len(seen)))
            mz = np.concatenate([true[seen] * (1 + 2e-6 * random.normal(size=len(seen))), chance])
            intensity = np.concatenate(
                [bright[seen] * random.gamma(4, 0.25, len(seen)), random.exponential(5, len(chance))]
            )
            order = np.argsort(mz)
            writer.addSpectrum(mz[order], intensity[order].astype(np.float32), (x + 1, y + 1, 1))
    return side * side


class _InMemory:
    """What ``getionimage`` asks of a parser, with every spectrum at hand."""

    def __init__(self, parser: ImzMLParser) -> None:
        self.coordinates, self.imzmldict = parser.coordinates, parser.imzmldict
        self._spectra = [parser.getspectrum(number) for number in range(len(parser.coordinates))]

    def getspectrum(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """m/z and intensities."""
        return self._spectra[number]


def _naive(path: Path, masses: Path) -> None:
    """Print seconds, and MB of memory that the spectra took."""
    before, started = _resident(), time.perf_counter()
    spectra = _InMemory(ImzMLParser(str(path)))
    loaded, held = time.perf_counter(), _resident() - before
    for mz in np.load(masses):
        getionimage(spectra, mz, tol=mz * PPM * 1e-6)
    _print({"load_seconds": round(loaded - started, 2), "image_seconds": _since(loaded), "spectra_mb": round(held)})


def _resident() -> float:
    """Memory of this process now, MB; its peak would be its parent's, whose it takes over."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _file(place: Path) -> Path:
    return place / "SIMULATED.imzML"


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 2)


def _print(row: dict[str, object]) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
