"""Compounds as the instrument meets them: adducts, m/z, retention, how well they ionise, and their MS/MS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.simulation.compounds import Compound
from ms2img.ms2toimg.simulation.config import Stage, stream
from ms2img.ms2toimg.simulation.fragments import Spectrum, adduct_spectrum

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MS1_RANGE = (100.0, 1500.0)  # m/z; MS2toImg's precursor axis
GRADIENT_SECONDS = 900.0
_DEAD_SECONDS = 50.0

# class: efficiency of ionisation in negative mode, share of [M+HCOO]-, share of [2M-H]-
_IONISATION: dict[str, tuple[float, float, float]] = {
    "saponin": (1.0, 0.35, 0.0),
    "triterpenoid": (0.6, 0.1, 0.05),
    "terpenoid": (0.6, 0.45, 0.05),
    "sugar": (0.3, 0.45, 0.1),
    "organic acid": (0.8, 0.0, 0.1),
    "phenolic acid": (0.9, 0.0, 0.1),
    "phenylpropanoid": (0.6, 0.3, 0.05),
    "lignan": (0.5, 0.3, 0.0),
    "coumarin": (0.6, 0.05, 0.0),
    "amino acid": (0.25, 0.0, 0.05),
    "nucleoside": (0.4, 0.2, 0.0),
    "alkaloid": (0.4, 0.1, 0.0),
    "fatty acid": (1.0, 0.0, 0.02),
    "glycerolipid": (0.7, 0.05, 0.0),
    "isoflavone glucoside": (0.8, 0.25, 0.02),
    "flavonol glycoside": (1.2, 0.03, 0.02),
    "flavone glycoside": (1.2, 0.03, 0.02),
    "flavan-3-ol": (1.0, 0.02, 0.08),
    "contaminant": (1.0, 0.0, 0.0),
}
_OTHERS = (1.0, 0.02, 0.02)  # aglycones of flavonoids and the like


@dataclass(frozen=True)
class Ions:
    """One entry a precursor ion, n in all; `spectra` are its noise-free MS/MS."""

    compound: Integers  # [n], row of the compound
    adduct: tuple[str, ...]
    mz: Floats  # [n]
    rt: Floats  # [n], s, before drift
    efficiency: Floats  # [n], ion counts per unit of abundance, relative
    spectra: tuple[Spectrum, ...]

    def __len__(self) -> int:
        return len(self.mz)


def make_ions(compounds: tuple[Compound, ...], seed: int) -> Ions:
    """The precursor ions of all compounds within the MS1 range."""
    jitter = stream(seed, Stage.RETENTION).normal(0.0, 25.0, len(compounds))  # logP does not tell all
    rows = []
    for index, compound in enumerate(compounds):
        rt = float(np.clip(_retention(compound.log_p) + jitter[index], _DEAD_SECONDS, GRADIENT_SECONDS - 20.0))
        for adduct, efficiency in _adducts(compound):
            mz, spectrum = adduct_spectrum(compound.smiles, adduct)
            if MS1_RANGE[0] <= mz < MS1_RANGE[1]:
                rows.append((index, adduct, mz, rt, efficiency, spectrum))
    index_column, adducts, mzs, rts, efficiencies, spectra = zip(*rows, strict=True)
    return Ions(
        np.array(index_column, np.int64), adducts, np.array(mzs), np.array(rts), np.array(efficiencies), spectra
    )


def _adducts(compound: Compound) -> Iterator[tuple[str, float]]:
    efficiency, formate, dimer = _IONISATION.get(compound.compound_class, _OTHERS)
    if not compound.acidic:
        yield "[M+HCOO]-", efficiency
        return
    yield "[M-H]-", efficiency * (1.0 - formate - dimer)
    if formate:
        yield "[M+HCOO]-", efficiency * formate
    if dimer:
        yield "[2M-H]-", efficiency * dimer


def _retention(log_p: float) -> float:
    """Reversed phase: the more lipophilic, the later; s."""
    return _DEAD_SECONDS + (GRADIENT_SECONDS - 100.0) / (1.0 + float(np.exp(-(log_p - 1.0) / 2.2)))
