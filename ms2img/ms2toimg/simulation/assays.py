"""Four assays as four functions of composition: what a bench would read from an extract of each accession.

Every reading is relative to the median of a reference panel of the same world, as a lab dilutes its extracts until the
typical one lies within the assay's range.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.simulation.composition import World
from ms2img.ms2toimg.simulation.compounds import FLAVONOIDS, Compound
from ms2img.ms2toimg.simulation.config import Stage, stream

Floats = npt.NDArray[np.float64]

_PANEL = 64  # virtual accessions that set the dilution
_READINGS = 3  # of each extract; the sheet holds their mean

# Weight of each structural group: how much of the effect one such group in a molecule has.
_CAUSES: dict[str, dict[str, float]] = {
    "radical": {"phenols": 0.15, "catechols": 1.0, "enediols": 1.0},
    "phenol": {"phenols": 1.0},
    "terpene acid": {"terpene_acids": 1.0, "unsaturated_fatty_acids": 0.15},
    "gallate": {"galloyls": 1.0, "flavonol_catechols": 0.6},
}
CAUSES = (*_CAUSES, "flavonoid")

# assay: largest reading in its unit
FULL_SCALE = {
    "dpph": 100.0,  # % of radicals scavenged
    "tpc": 120.0,  # mg gallic acid equivalents / g extract
    "tfc": 60.0,  # mg quercetin equivalents / g extract
    "elastase": 100.0,  # % inhibition
}


def potencies(compounds: tuple[Compound, ...]) -> Floats:
    """Effect of a unit of each compound on each of `CAUSES`: [causes, compounds]; contaminants have none."""
    table = np.zeros((len(CAUSES), len(compounds)))
    for column, compound in enumerate(compounds):
        if compound.is_contaminant:
            continue
        for row, weights in enumerate(_CAUSES.values()):
            table[row, column] = sum(weight * compound.groups[group] for group, weight in weights.items())
        table[-1, column] = compound.compound_class in FLAVONOIDS
    return table


def responses(dose: Floats) -> dict[str, Floats]:
    """Noise-free readings, 0-1 of full scale, from doses [causes, n] in units of the reference panel's median.

    Three are read off sigmoid curves of different slope; elastase is blocked by two independent mechanisms (Bliss), of
    which terpene acids act cooperatively.
    """
    radical, phenol, terpene_acid, gallate, flavonoid = dose
    return {
        "dpph": _hill(1.1 * radical, 2.0),
        "tpc": _hill(phenol, 1.6),
        "tfc": _hill(flavonoid, 1.6),
        "elastase": 1.0 - (1.0 - _hill(0.65 * terpene_acid, 2.0)) * (1.0 - _hill(0.2 * gallate, 1.0)),
    }


def reference_dose(world: World, potency: Floats) -> Floats:
    """Median effect [causes] of the reference panel: the unit of a dose."""
    panel = np.stack([world.accession(index, Stage.REFERENCE) for index in range(_PANEL)], axis=1)
    return np.median(_effect(potency, panel), axis=1)


def measure(
    abundance: Floats, accession: int, world: World, potency: Floats, unit: Floats, noise: float
) -> dict[str, float]:
    """What the four assays read for one accession: mean of three noisy readings, in the assay's unit."""
    dose = _effect(potency, abundance[:, None]) / unit[:, None]
    random = stream(world.seed, Stage.ASSAY, accession)
    measured = {}
    for name, exact in responses(dose).items():
        readings = exact[0] + random.normal(0.0, noise, _READINGS)
        measured[name] = round(float(np.clip(readings.mean(), 0.0, 1.0)) * FULL_SCALE[name], 2)
    return measured


def _hill(dose: Floats, slope: float) -> Floats:
    return dose**slope / (1.0 + dose**slope)


def _effect(potency: Floats, abundance: Floats) -> Floats:
    return np.einsum("kc,cn->kn", potency, abundance)
