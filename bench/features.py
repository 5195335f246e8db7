"""The feature table at the size of the paper's study, and what its blocks are worth against brute force.

``python -m bench.features --out DIR`` writes SIMULATED runs (compounds with jitter in m/z, retention time, intensity
and spectrum) and a sheet into DIR, runs ``ms2img features`` on them, and prints wall time and peak memory over all of
its processes. It then measures brute force (`bench.features_brute`: every feature against every entry) at small sizes,
fits a quadratic in the features of a sample, and prints the ratio at the size of the run. The quadratic is measured on
few samples, where entries are still few: it falls short of what brute force would take, and so does the ratio.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bench.features_brute import Feature, merge
from bench.memory import PeakMemory
from ms2img.ms2toimg.features.similarity import spectrum_similarity

PEAKS = 15  # fragments of a compound
MZ_PPM, RT_SECONDS, INTENSITY_SD, LOST = 3.0, 6.0, 0.3, 0.1  # jitter: sd, sd, sd of the log, share of fragments
REPEATS = 0.1  # of a sample's spectra are second scans of a compound
BRUTE_SAMPLES, BRUTE_FEATURES = 3, (100, 200, 300, 400, 500)


class Study:
    """SIMULATED compounds, and samples that have most of them."""

    def __init__(self, n_compounds: int, rng: np.random.Generator) -> None:
        self._rng = rng
        nominal = rng.integers(120, 1200, n_compounds)
        self.mz = nominal + 0.00045 * nominal + rng.normal(0, 0.06, n_compounds)  # the mass defects of organic ions
        self.rt = rng.uniform(30, 1500, n_compounds)
        self.height = 10 ** rng.normal(5, 0.7, n_compounds)
        self.fragments = [np.sort(rng.uniform(50, mz, PEAKS)) for mz in self.mz]
        self.shares = [rng.exponential(1, PEAKS) for _ in self.mz]

    def sample(self, name: str, n_features: int) -> list[Feature]:
        """The spectra of one sample: each compound it has once, some twice."""
        rng = self._rng
        n_repeats = int(REPEATS * n_features)
        chosen = rng.choice(len(self.mz), n_features - n_repeats, replace=False)
        features = []
        for scan, compound in enumerate([*chosen, *rng.choice(chosen, n_repeats)], 1):
            kept = rng.random(PEAKS) >= LOST
            mz = self.fragments[compound] * (1 + rng.normal(0, MZ_PPM, PEAKS) * 1e-6)
            intensity = 1000 * self.shares[compound] * np.exp(rng.normal(0, INTENSITY_SD, PEAKS))
            features.append(
                Feature(
                    sample=name,
                    spectrum=str(scan),
                    mz=round(float(self.mz[compound] * (1 + rng.normal(0, MZ_PPM) * 1e-6)), 5),
                    rt=round(float(self.rt[compound] + rng.normal(0, RT_SECONDS)), 2),
                    height=round(float(self.height[compound] * np.exp(rng.normal(0, INTENSITY_SD))), 1),
                    peaks=np.column_stack([mz, intensity])[kept].round(5),
                )
            )
        return features


def write_study(out: Path, n_samples: int, n_features: int, seed: int) -> Path:
    """Runs as MGF and their sheet, if they are not there. There are a fifth more compounds than features."""
    sheet = out / f"samples-{n_samples}x{n_features}-{seed}.csv"
    if sheet.exists():
        return sheet
    study = Study(round(1.2 * n_features), np.random.default_rng(seed))
    rows = ["sample_id,path,simulated"]
    for number in range(n_samples):
        path = out / "runs" / f"{sheet.stem}-{number:04d}.mgf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(_entry(feature) for feature in study.sample(path.stem, n_features)))
        rows.append(f"{path.stem},runs/{path.name},true")
    sheet.write_text("\n".join(rows) + "\n")
    return sheet


def _entry(feature: Feature) -> str:
    peaks = "\n".join(f"{mz:.5f} {intensity:.1f}" for mz, intensity in feature.peaks)
    return (
        f"BEGIN IONS\nSCANS={feature.spectrum}\nPEPMASS={feature.mz} {feature.height}\nRTINSECONDS={feature.rt}\n"
        f"MSLEVEL=2\n{peaks}\nEND IONS\n"
    )


def measure(sheet: Path, out: Path, similarity: str) -> dict[str, float]:
    """The command's wall time, seconds, and peak memory over its processes, MB."""
    command = Path(sys.executable).with_name("ms2img")
    started = time.perf_counter()
    # Without the intensity cut: all features are to be merged.
    options = ["--similarity", similarity, "--intensity-cut", "0", "--json"]
    with (
        subprocess.Popen([command, "features", sheet, out, *options], stdout=subprocess.PIPE, text=True) as process,
        PeakMemory(process.pid) as memory,
    ):
        answer = process.communicate()[0]
    seconds = time.perf_counter() - started
    made = json.loads(answer.splitlines()[-1])
    return {"seconds": seconds, "features": made["features"], "merged": made["about"]["counts"]["sample_features"]} | {
        f"{kind} MB": peak for kind, peak in memory.peaks.items()
    }


def brute_force(n_features: int, similarity: str, seed: int) -> float:
    """CPU seconds a sample of merging within and across a few samples with so many features each, by brute force."""
    how = spectrum_similarity(similarity, 0.02)
    study = Study(round(1.2 * n_features), np.random.default_rng(seed))
    samples = [study.sample(f"S{number}", n_features) for number in range(BRUTE_SAMPLES)]
    started = time.process_time()
    prepared = [
        [Feature(each.sample, each.spectrum, each.mz, each.rt, each.height, how.prepare(each.peaks)) for each in sample]
        for sample in samples
    ]
    merged = []
    for sample in prepared:
        for entry in merge(sample, 0.01, 60.0, how.compare, one_a_sample=False):
            one = entry.founder
            merged.append(Feature(one.sample, one.spectrum, one.mz, one.rt, entry.height, one.peaks))
    merge(merged, 0.01, 60.0, how.compare, one_a_sample=True)
    return (time.process_time() - started) / BRUTE_SAMPLES


def main() -> None:
    """Write, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the SIMULATED runs and the tables")
    parser.add_argument("--samples", type=int, default=545)
    parser.add_argument("--features", type=int, default=3000, help="MS/MS spectra a sample")
    parser.add_argument("--similarity", choices=("cosine", "entropy"), default="cosine")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sheet = write_study(given.out, given.samples, given.features, given.seed)
    table = given.out / f"table-{given.similarity}-{time.time_ns()}"
    found = measure(sheet, table, given.similarity)
    print(f"SIMULATED, {given.samples} samples x {given.features} spectra, {given.similarity}:")
    print("  " + ", ".join(f"{name} {value:.0f}" for name, value in found.items()))

    brute_force(BRUTE_FEATURES[0], given.similarity, given.seed)  # compiles
    seconds = [brute_force(size, given.similarity, given.seed) for size in BRUTE_FEATURES]
    fit = np.polynomial.Polynomial.fit(BRUTE_FEATURES, seconds, 2).convert()
    explained = 1 - np.var(np.array(seconds) - fit(np.array(BRUTE_FEATURES))) / np.var(seconds)
    constant, linear, quadratic = fit.coef
    sizes = zip(BRUTE_FEATURES, seconds, strict=True)
    print("  brute force, CPU seconds a sample: " + ", ".join(f"{size}: {each:.2f}" for size, each in sizes))
    print(f"  fit {constant:.3g} + {linear:.3g} f + {quadratic:.3g} f^2, R2 {explained:.4f}")
    hours = given.samples * fit(given.features) / 3600
    ratio = hours * 3600 / found["seconds"]
    print(f"  brute force at this size: {hours:.1f} h on one core, {ratio:.0f} times the command")


if __name__ == "__main__":
    main()
