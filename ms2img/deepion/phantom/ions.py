"""Which ions the section shows: molecules with their isotopes, each with a class, and decoys at isotopes' distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ms2img.deepion.isotopes import CHARGES, RULES
from ms2img.deepion.phantom.classes import NAMES
from ms2img.deepion.phantom.config import PhantomConfig, Stage, stream
from ms2img.deepion.phantom.envelopes import envelope
from ms2img.deepion.phantom.formulae import draw_molecule, formula
from ms2img.errors import UsageError

SEPARATION_PPM = 30.0  # between any two ions of different molecules: what lies nearer is one peak to the instrument
FAINTEST = 0.04  # of a molecule's highest peak, below which an isotope is not among the ions
_BRIGHTNESS_SD = 1.0  # ln, between molecules
_DECOY_ERROR_PPM = 3.0  # standard deviation of a decoy's distance from the isotope rule
_DECOY_WORST_PPM = 8.0  # within the search's 10
_DECOY_BRIGHTNESS = (0.05, 0.9)  # of its neighbour
_DECOYS_ALONGSIDE = 0.5  # of the decoys, those of the neighbour's own class: co-localised, and no isotopes
_PATIENCE = 400  # draws in a row that may find no room


@dataclass(frozen=True)
class Species:
    """One molecule's ion with its isotopes, or a decoy; k peaks by ascending m/z."""

    name: str
    adduct: str  # empty: a decoy
    formula: str  # of the ion; empty: a decoy
    label: int  # class, a place in `classes.NAMES`
    charge: int
    brightness: float  # of the highest peak, relative to the median molecule
    mz: npt.NDArray[np.float64]  # [k]
    abundance: npt.NDArray[np.float64]  # [k], of the highest peak
    number: npt.NDArray[np.int64]  # [k], neutrons above the monoisotopic ion

    @property
    def is_decoy(self) -> bool:
        """Whether this ion only happens to lie where an isotope of another might."""
        return not self.formula


def draw_species(config: PhantomConfig) -> list[Species]:
    """Molecules and decoys with ``config.ions`` peaks in all, in the order drawn; every class has its share.

    Raises `UsageError` where the range of m/z has no room for so many.
    """
    random, decoy_random = stream(config.seed, Stage.IONS), stream(config.seed, Stage.DECOYS)
    labels = _labels(random)
    label = next(labels)
    drawn: list[Species] = []
    taken = np.empty(0)
    misses = 0
    while len(taken) < config.ions:
        species = _draw(random, config.polarity, label)
        if not _is_free(species.mz, taken, config):
            misses += 1
            if misses > _PATIENCE:
                raise UsageError(f"ions: {config.ions}; expected at most {len(taken)}, for there is no room for more")
            continue
        misses, label = 0, next(labels)
        found = [_cut(species, config.ions - len(taken))]
        taken = np.sort(np.append(taken, found[0].mz))
        for _ in range(int(config.decoys + decoy_random.random())):
            decoy = _decoy(decoy_random, species, config, taken)
            if decoy is None or len(taken) >= config.ions:
                break
            found.append(decoy)
            taken = np.sort(np.append(taken, decoy.mz))
        drawn += found
    return drawn


def _labels(random: np.random.Generator) -> Iterator[int]:
    """Classes in rounds, each shuffled anew: none is rare, and none goes by a rule."""
    while True:
        yield from random.permutation(len(NAMES)).tolist()


def _draw(random: np.random.Generator, polarity: str, label: int) -> Species:
    molecule = draw_molecule(random, polarity)
    peaks = envelope(molecule.atoms, molecule.charge, least=FAINTEST)
    return Species(
        name=molecule.name,
        adduct=molecule.adduct,
        formula=formula(molecule.atoms),
        label=label,
        charge=molecule.charge,
        brightness=float(np.exp(random.normal(0.0, _BRIGHTNESS_SD))),
        mz=peaks.mz,
        abundance=peaks.abundance / peaks.abundance.max(),
        number=peaks.number,
    )


def _decoy(
    random: np.random.Generator, near: Species, config: PhantomConfig, taken: npt.NDArray[np.float64]
) -> Species | None:
    """An ion where the isotope search looks after those of `near`, and none is; None where there is no such place."""
    carbon, *others = RULES[config.polarity]
    steps = [rule.step / charge for rule in (carbon, *others) for charge in CHARGES]
    beyond = int(near.number[-1]) + 1
    if beyond <= carbon.most:
        steps.append(carbon.step * beyond / abs(near.charge))
    error = np.clip(random.normal(0.0, _DECOY_ERROR_PPM, len(steps)), -_DECOY_WORST_PPM, _DECOY_WORST_PPM)
    places = near.mz[0] + np.array(steps) + near.mz[0] * 1e-6 * error
    free = [place for place in places.tolist() if _is_free(np.array([place]), taken, config)]
    if not free:
        return None
    alongside = random.random() < _DECOYS_ALONGSIDE
    other = (near.label + int(random.integers(1, len(NAMES)))) % len(NAMES)
    return Species(
        name=f"decoy of {near.name}",
        adduct="",
        formula="",
        label=near.label if alongside else other,
        charge=1 if near.charge > 0 else -1,
        brightness=near.brightness * float(near.abundance[0]) * float(random.uniform(*_DECOY_BRIGHTNESS)),
        mz=np.array([float(random.choice(free))]),
        abundance=np.ones(1),
        number=np.zeros(1, np.int64),
    )


def _is_free(mz: npt.NDArray[np.float64], taken: npt.NDArray[np.float64], config: PhantomConfig) -> bool:
    """Whether all of `mz` are in the range and none lies too near to one of `taken`; both ascend."""
    if mz[0] < config.mz_low or mz[-1] > config.mz_high:
        return False
    around = np.pad(taken, 1, constant_values=np.inf)
    place = np.searchsorted(taken, mz)
    return bool(np.all(np.minimum(np.abs(around[place] - mz), around[place + 1] - mz) > mz * SEPARATION_PPM * 1e-6))


def _cut(species: Species, room: int) -> Species:
    """The species with its last isotopes left out where there is no room for all."""
    if len(species.mz) <= room:
        return species
    return replace(species, mz=species.mz[:room], abundance=species.abundance[:room], number=species.number[:room])
