"""How much of each compound an accession holds: pathways that rise and fall together, genes that switch, and chance.

ln abundance = class level + compound offset + loadings x pathway activity + biological noise, for the compounds that
the accession has at all. Pathway activity is low-rank: eight numbers an accession, some of them set by three loci of
two alleles each, as genes of seed coat and saponins do in soybean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.simulation.compounds import Compound
from ms2img.ms2toimg.simulation.config import Stage, stream

Floats = npt.NDArray[np.float64]

PATHWAYS = ("phenylpropanoid", "isoflavonoid", "flavonoid", "tannin", "isoprenoid", "lipid", "carbon", "nitrogen")

# class: (pathway, typical ln abundance, probability that an accession has a given member)
_CLASSES: dict[str, tuple[str, float, float]] = {
    "isoflavone": ("isoflavonoid", 1.2, 0.6),
    "isoflavone glucoside": ("isoflavonoid", 2.0, 0.8),
    "flavonol": ("flavonoid", 0.6, 0.6),
    "flavonol glycoside": ("flavonoid", 1.6, 0.6),
    "flavone": ("flavonoid", 0.3, 0.4),
    "flavone glycoside": ("flavonoid", 0.9, 0.4),
    "flavanone": ("flavonoid", 0.3, 0.4),
    "chalcone": ("isoflavonoid", 0.2, 0.5),
    "flavan-3-ol": ("tannin", 1.6, 0.7),
    "tannin": ("tannin", 0.8, 0.5),
    "phenolic acid": ("phenylpropanoid", 1.2, 0.7),
    "phenylpropanoid": ("phenylpropanoid", 0.4, 0.4),
    "coumarin": ("phenylpropanoid", 0.2, 0.5),
    "stilbene": ("phenylpropanoid", 0.0, 0.3),
    "lignan": ("phenylpropanoid", 0.2, 0.4),
    "quinone and xanthone": ("tannin", -0.3, 0.3),
    "saponin": ("isoprenoid", 1.6, 0.7),
    "triterpenoid": ("isoprenoid", 0.6, 0.5),
    "terpenoid": ("isoprenoid", 0.4, 0.4),
    "fatty acid": ("lipid", 1.5, 0.9),
    "glycerolipid": ("lipid", 1.5, 0.9),
    "sugar": ("carbon", 2.4, 0.9),
    "organic acid": ("carbon", 2.0, 0.9),
    "amino acid": ("nitrogen", 1.4, 0.9),
    "nucleoside": ("nitrogen", 1.0, 0.9),
    "alkaloid": ("nitrogen", 0.2, 0.5),
}
# Each locus: how far its two alleles move a pathway, up or down.
_LOCI: tuple[dict[str, float], ...] = (
    {"tannin": 0.7, "phenylpropanoid": 0.5},
    {"flavonoid": 0.5, "isoflavonoid": 0.4},
    {"isoprenoid": 0.95},
)
_ACTIVITY_SD = 0.45  # of a pathway, beside its loci
_OFFSET_SD = 1.0  # ln abundance, between the members of a class
_OWN_LOADING_SD = 0.35  # around 1, of a compound on its pathway
_CROSS_LOADING_SD = 0.3  # around 0, on the others
_NOISE_SD = 0.7  # ln abundance, between accessions of equal pathway activity


@dataclass(frozen=True)
class World:
    """What all accessions of one seed share: levels [compounds], loadings [compounds, pathways], presence [compounds].

    A contaminant has presence 0: no plant makes it.
    """

    seed: int
    level: Floats
    loadings: Floats
    presence: Floats

    def accession(self, index: int, stage: Stage = Stage.ACCESSION) -> Floats:
        """Abundances [compounds] of one accession, 0 where it lacks the compound; arbitrary units."""
        random = stream(self.seed, stage, index)
        activity = random.normal(0.0, _ACTIVITY_SD, len(PATHWAYS))
        for locus in _LOCI:
            allele = 1.0 if random.random() < 0.5 else -1.0
            for pathway, effect in locus.items():
                activity[PATHWAYS.index(pathway)] += allele * effect
        noise = random.normal(0.0, _NOISE_SD, len(self.level))
        present = random.random(len(self.level)) < self.presence
        # einsum, not BLAS: the order of its sums does not depend on the machine's library
        shift = np.einsum("cp,p->c", self.loadings, activity)
        return np.where(present, np.exp(self.level + shift + noise), 0.0)


def make_world(compounds: tuple[Compound, ...], seed: int) -> World:
    """Draw levels and loadings of all compounds for one seed."""
    random = stream(seed, Stage.WORLD)
    level = random.normal(0.0, _OFFSET_SD, len(compounds))
    loadings = random.normal(0.0, 1.0, (len(compounds), len(PATHWAYS)))
    presence = np.zeros(len(compounds))
    for row, compound in enumerate(compounds):
        own = loadings[row].copy()
        loadings[row] *= _CROSS_LOADING_SD
        if compound.is_contaminant:
            continue
        pathway, class_level, presence[row] = _CLASSES[compound.compound_class]
        level[row] += class_level
        column = PATHWAYS.index(pathway)
        loadings[row, column] = 1.0 + _OWN_LOADING_SD * own[column]
    return World(seed, level, loadings, presence)
