"""What is true of a SIMULATED run: which of its pairs belong to compounds that cause the activity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from ms2img.ms2toimg.explain.explanation import Explanation
from ms2img.ms2toimg.simulation import SimulationConfig, assays
from ms2img.ms2toimg.simulation.acquisition import acquire
from ms2img.ms2toimg.simulation.compounds import Compound, load_compounds
from ms2img.ms2toimg.simulation.injections import Injection, sequence
from ms2img.ms2toimg.simulation.ions import Ions, make_ions
from ms2img.ms2toimg.simulation.study import Collection, contaminants, make_collection, vial

#: Assay -> the rows of `assays.CAUSES` that it reads (see `assays.responses`).
CAUSES = {"dpph": ("radical",), "tpc": ("phenol",), "tfc": ("flavonoid",), "elastase": ("terpene acid", "gallate")}
MAIN_SHARE = 0.8  # of an accession's dose, made up by its main compounds (ours)
CORRELATED = 0.1  # r of abundance with the assay, over twice its standard error at 545 accessions (ours)
ERROR_SDS = 5.0  # of the m/z error: a peak further from every fragment of its ion is chemical noise


@dataclass(frozen=True, eq=False)
class PairTruth:
    """Of each pair of one run, bool [pairs].

    `causal`: of a compound with any effect on the assay. `main`: of one of the fewest compounds that make up
    `MAIN_SHARE` of this accession's dose. The others are `correlated` (of a compound without effect whose abundance
    rises with the assay over the collection), `inert` (of another compound without effect) or `noise` (of none).
    `beside`: not causal, but in its brightest pixel causal pairs have at least as much light as it has itself.
    """

    causal: np.ndarray
    main: np.ndarray
    correlated: np.ndarray
    inert: np.ndarray
    noise: np.ndarray
    beside: np.ndarray


class StudyTruth:
    """A simulated study recomputed from its config: what the files do not tell."""

    def __init__(self, config: SimulationConfig, assay: str) -> None:
        self.config = config
        self.assay = assay
        self.compounds: tuple[Compound, ...] = load_compounds()
        self.ions: Ions = make_ions(self.compounds, config.seed)
        self.collection: Collection = make_collection(self.compounds, config)
        self._background = contaminants(self.compounds, config.seed)
        self._injections: dict[str, Injection] = {run.sample_id: run for run in sequence(config)}

    @classmethod
    def of_folder(cls, study: Path, assay: str) -> StudyTruth:
        """The truth of the study in a folder, by its ``config.yaml``."""
        config = yaml.safe_load((study / "config.yaml").read_text(encoding="utf-8"))
        return cls(SimulationConfig.checked(config, source=str(study)), assay)

    @cached_property
    def effect(self) -> np.ndarray:
        """Effect of a unit of each compound on the assay, in doses of the reference panel's median: [compounds]."""
        potency = assays.potencies(self.compounds)
        unit = assays.reference_dose(self.collection.world, potency)
        rows = [assays.CAUSES.index(cause) for cause in CAUSES[self.assay]]
        return (potency[rows] / unit[rows, None]).sum(axis=0)

    @cached_property
    def correlation(self) -> np.ndarray:
        """Pearson's r of ln(1 + abundance) with the assay over all accessions: [compounds], 0 where one is constant."""
        value = np.array([measured[self.assay] for measured in self.collection.assays])
        amount = np.log1p(self.collection.abundance)
        amount = amount - amount.mean(axis=0)
        spread = amount.std(axis=0) * value.std()
        covariance = (amount * (value - value.mean())[:, None]).mean(axis=0)
        return np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)

    def main_compounds(self, accession: int) -> np.ndarray:
        """Whether a compound is one of the fewest that make up `MAIN_SHARE` of the accession's dose: [compounds]."""
        dose = self.effect * self.collection.abundance[accession]
        order = np.argsort(-dose)
        before = np.cumsum(dose[order]) - dose[order]
        main = np.zeros(len(dose), bool)
        main[order] = (before < MAIN_SHARE * dose.sum()) & (dose[order] > 0)
        return main

    def of_run(self, found: Explanation, spectra: pa.Table) -> PairTruth:
        """Which pairs of an explained run are what; a pair is what most of its peaks are."""
        injection = self._injections[found.sample_id]
        compound = self._compound_of_points(found, spectra, injection)
        known, causal, rises = compound >= 0, self.effect > 0, self.correlation >= CORRELATED
        of_point = {
            "causal": known & causal[compound],
            "main": known & self.main_compounds(injection.accession)[compound],
            "correlated": known & (~causal & rises)[compound],
            "inert": known & (~causal & ~rises)[compound],
            "noise": ~known,
        }
        told = {name: most_of(found, is_kind) for name, is_kind in of_point.items()}
        return PairTruth(**told, beside=beside_causal(found, told["causal"]))

    def _compound_of_points(self, found: Explanation, spectra: pa.Table, injection: Injection) -> np.ndarray:
        """The compound that each point is a fragment of, -1 for chemical noise: int64 [points]."""
        acquired = acquire(vial(injection, self.collection, self._background), injection, self.ions, self.config)
        scan_of_row = np.array(spectra["spectrum_id"].to_pylist(), dtype=np.int64) - 1
        ion = np.array([scan.ion for scan in acquired.scans])[scan_of_row[found.peaks.row]]
        stated = np.array([scan.rt for scan in acquired.scans])[scan_of_row]
        if not np.allclose(stated, spectra["rt_seconds"].to_numpy(), atol=0.01):
            raise RuntimeError(f"{found.sample_id}: its file is not what this config simulates")
        tolerance = ERROR_SDS * self.config.mz_error_ppm * 1e-6
        is_fragment = np.zeros(len(ion), bool)
        for each in np.unique(ion):
            points = np.flatnonzero(ion == each)
            known, mz = self.ions.spectra[each].mz, found.points.fragment_mz[points]
            is_fragment[points] = (np.abs(mz[:, None] / known - 1) <= tolerance).any(axis=1)
        return np.where(is_fragment, self.ions.compound[ion], -1)


def most_of(found: Explanation, of_point: np.ndarray) -> np.ndarray:
    """Whether more than half of a pair's peaks are of a kind: bool [pairs]."""
    n_pairs = len(found.pairs)
    n_peaks = np.bincount(found.pair_of_point, minlength=n_pairs)
    return np.bincount(found.pair_of_point, weights=of_point, minlength=n_pairs) > n_peaks / 2


def beside_causal(found: Explanation, causal: np.ndarray) -> np.ndarray:
    """Whether a pair that is not causal shares its brightest pixel with causal ones as bright: bool [pairs]."""
    cover, n_pixels = found.cover, found.image.size
    pair = found.pair_of_point[cover.point]
    entries, of_entry = np.unique(pair * n_pixels + cover.pixel, return_inverse=True)
    light = np.bincount(of_entry, weights=cover.light)
    pair, pixel = entries // n_pixels, entries % n_pixels
    causal_light = np.bincount(pixel, weights=light * causal[pair], minlength=n_pixels)
    brightest = np.full(len(causal), -1)
    order = np.argsort(light, kind="stable")
    brightest[pair[order]] = order  # the last one written is the brightest
    seen = brightest >= 0
    beside = np.zeros(len(causal), bool)
    beside[seen] = causal_light[pixel[brightest[seen]]] >= light[brightest[seen]]
    return beside & ~causal
