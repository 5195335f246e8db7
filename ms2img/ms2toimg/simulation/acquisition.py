"""One injection: which precursors the instrument sees, which of them it has time to fragment, and what it records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.simulation.config import SimulationConfig, Stage, stream
from ms2img.ms2toimg.simulation.injections import Injection
from ms2img.ms2toimg.simulation.ions import GRADIENT_SECONDS, Ions

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CYCLE_SECONDS = 3.0  # one survey scan and its MS/MS scans
EXCLUSION_SECONDS = 20.0  # a sampled precursor is left alone for so long
PEAK_SD_SECONDS = 3.0  # chromatographic peak
TRIGGER = 2.5e5  # counts: fainter precursors are not sampled
FLOOR = 400.0  # counts: fainter fragments are not seen
_COUNTS = 1e6  # of a precursor of abundance 1 and efficiency 1
_SUPPRESSION = 1.5e8  # total counts at which co-eluting ions halve each other's signal
_MS2_YIELD = 0.5  # fragment counts per precursor count, base peak
_FRAGMENT_NOISE_SD = 0.2  # ln intensity, of each fragment in each scan
_INJECTED_SD = 0.15  # ln, of the amount injected
_RUN_SHIFT_SD = 1.5  # s, retention of a whole run beside its drift
_ION_SHIFT_SD = 0.5  # s, of each ion beside its run
_CHEMICAL_NOISE = 5.0  # random peaks in a scan, mean
_KIND_KEY = {"sample": 0, "blank": 1, "qc": 2}


@dataclass(frozen=True)
class Scan:
    """One MS/MS scan as recorded; `ion` is the row of `Ions` that was isolated."""

    ion: int
    rt: float  # s
    precursor_mz: float
    precursor_intensity: float
    mz: Floats  # ascending
    intensity: Floats


@dataclass(frozen=True)
class Acquired:
    """One run: its scans in time order, and what the survey scans show of every ion."""

    scans: list[Scan]
    height: Floats  # [ions], counts at the apex
    rt: Floats  # [ions], s, drift included


def acquire(abundance: Floats, injection: Injection, ions: Ions, config: SimulationConfig) -> Acquired:
    """Run one vial with abundances [compounds]; the same vial and seed give the same run."""
    key = (_KIND_KEY[injection.kind], injection.accession + 1, injection.replicate)
    random = stream(config.seed, Stage.INJECTION, *key)
    noise = random.normal(0.0, config.intensity_noise, len(ions)) + random.normal(0.0, _INJECTED_SD)
    apex = _COUNTS * abundance[ions.compound] * ions.efficiency * np.exp(noise)
    drift = config.retention_drift_seconds * injection.position + random.normal(0.0, _RUN_SHIFT_SD)
    rt = ions.rt + drift + random.normal(0.0, _ION_SHIFT_SD, len(ions))

    cycles = np.arange(0.0, GRADIENT_SECONDS + config.retention_drift_seconds + 20.0, CYCLE_SECONDS)
    survey = apex * np.exp(-0.5 * ((cycles[:, None] - rt) / PEAK_SD_SECONDS) ** 2)  # [cycles, ions]
    survey /= 1.0 + survey.sum(axis=1, keepdims=True) / _SUPPRESSION
    cycle, ion = sample_precursors(survey, cycles, config.top_n)
    scans = _record(survey[cycle, ion], cycles[cycle], ion, ions, config, random)
    gap_filled = FLOOR * random.exponential(1.0, len(ions))  # what is integrated where there is no peak
    return Acquired(scans, np.maximum(survey.max(axis=0), gap_filled), rt)


def sample_precursors(survey: Floats, cycles: Floats, top_n: int) -> tuple[Integers, Integers]:
    """Data-dependent acquisition: in each cycle the `top_n` brightest precursors not sampled of late.

    survey: counts [cycles, ions]; cycles: their times, s. Returns the (cycle, ion) of every MS/MS scan, brightest
    first within a cycle.
    """
    last = np.full(survey.shape[1], -np.inf)
    chosen_cycles, chosen_ions = [], []
    for cycle, time in enumerate(cycles):
        free = np.flatnonzero((survey[cycle] >= TRIGGER) & (time - last >= EXCLUSION_SECONDS))
        brightest = free[np.argsort(-survey[cycle, free], kind="stable")[:top_n]]
        last[brightest] = time
        chosen_cycles.append(np.full(len(brightest), cycle))
        chosen_ions.append(brightest)
    return np.concatenate(chosen_cycles), np.concatenate(chosen_ions)


def _record(
    counts: Floats, times: Floats, ion: Integers, ions: Ions, config: SimulationConfig, random: np.random.Generator
) -> list[Scan]:
    """Isolate, fragment and detect: m/z error, intensity noise, missing fragments, a floor, chemical noise."""
    ppm = 1e-6 * config.mz_error_ppm
    precursor_mz = ions.mz[ion] * (1.0 + random.normal(0.0, ppm, len(ion)))
    scans = []
    for row, (index, top) in enumerate(zip(ion, precursor_mz, strict=True)):
        spectrum = ions.spectra[index]
        n = len(spectrum.mz)
        intensity = counts[row] * _MS2_YIELD * spectrum.intensity * np.exp(random.normal(0.0, _FRAGMENT_NOISE_SD, n))
        mz = spectrum.mz * (1.0 + random.normal(0.0, ppm, n))
        seen = (random.random(n) >= config.fragment_dropout) & (intensity >= FLOOR)
        n_noise = random.poisson(_CHEMICAL_NOISE)
        mz = np.concatenate([mz[seen], random.uniform(50.0, top - 1.0, n_noise)])
        intensity = np.concatenate([intensity[seen], FLOOR * (1.0 + random.exponential(1.0, n_noise))])
        if not len(mz):
            continue
        order = np.argsort(mz, kind="stable")
        scans.append(Scan(int(index), float(times[row]), float(top), float(counts[row]), mz[order], intensity[order]))
    return scans
