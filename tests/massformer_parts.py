"""Parts of a library with random spectra, for tests that count ranks and similarities."""

from __future__ import annotations

import numpy as np

from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.closest import Conditions
from ms2img.massformer.evaluate.parts import Part
from ms2img.massformer.evaluate.sources import Asked
from ms2img.massformer.spectrum import SpectrumConfig

CONFIG = SpectrumConfig(mz_max=60.0)
ADDUCTS = ("[M+H]+", "[M+Na]+")


def random_part(seed: int, n: int, *, prefix: str, n_molecules: int, config: SpectrumConfig = CONFIG) -> Part:
    """n spectra, each with about five peaks, of molecules named by `prefix` and a number, under mixed conditions."""
    random = np.random.default_rng(seed)
    molecules = sorted(f"{prefix}{number:04d}" for number in random.integers(0, n_molecules, n))
    adduct = random.choice(ADDUCTS, n)
    instrument = random.choice(["QFT", "ITFT"], n)
    unit = random.choice(["NCE", "eV"], n)
    nce = random.choice([15.0, 18.0, 30.0, 60.0], n)
    ev = np.round(nce * random.choice([0.5, 1.0], n))
    spectra = np.where(random.random((n, config.n_bins)) < 0.1, random.random((n, config.n_bins)), 0)
    spectra[np.arange(n), random.integers(0, config.n_bins, n)] = 1.0
    return Part(
        spectrum_id=tuple(f"{prefix}S{row:05d}" for row in range(n)),
        molecule_id=tuple(molecules),
        condition=tuple(
            Condition(
                str(adduct[row]),
                float(ev[row] if unit[row] == "eV" else nce[row]),
                str(unit[row]),
                str(instrument[row]),
            )
            for row in range(n)
        ),
        conditions=Conditions(adduct, instrument, ev, nce),
        precursor_mz=random.uniform(20, 59, n),
        spectra=spectra.astype(np.float32),
        smiles={name: name for name in molecules},
        exact_mass={name: float(20 + int(name[len(prefix) :]) % 37) for name in molecules},
    )


class MadeUp:
    """A source whose answer depends on every part of the question, and repeats."""

    name = "made up"

    def __init__(self, config: SpectrumConfig = CONFIG) -> None:
        self._config = config

    def spectra(self, asked: Asked) -> np.ndarray:
        return np.stack([self.one(*each) for each in zip(asked.molecule_id, asked.condition, strict=True)])

    def one(self, molecule: str, condition: Condition) -> np.ndarray:
        """The spectrum of one question."""
        seed = sum(map(ord, f"{molecule}{condition}"))
        values = np.random.default_rng(seed).random(self._config.n_bins)
        return np.where(values > 0.8, values, 0).astype(np.float32)
