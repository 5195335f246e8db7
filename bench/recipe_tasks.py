"""What a recipe for small cohorts is developed on: two real assays, simulated studies, and how each is split.

The assays ``serum`` and those of the feature-based export are held out: no task here may hold them.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.cohort import qemistree
from bench.simulated_difficulty import drawn_study
from ms2img.io.sheet import Sheet
from ms2img.learn.splits import Fold, choose_validation, group_targets, stratified_group_folds
from ms2img.ms2toimg.labels import LabelConfig, Labels, make_labels
from ms2img.ms2toimg.simulation import SimulationConfig

FOLDS = 5
DRAWS = 3  # training sets of a learning-curve task
SIMULATED_SIZE = (75, 70)


@dataclass(frozen=True)
class Task:
    """One assay at one size; with `each` only so many accessions of each class are trained on, the rest are scored."""

    assay: str
    size: str = "75x70"
    each: int | None = None
    study: int | None = None  # seed of a simulated study; None: the qemistree runs

    def load(self) -> tuple[Labels, np.ndarray]:
        """Labels, and images uint8 [n, H, W] in their order."""
        return qemistree(self.assay, self.size) if self.study is None else _simulated(self.study, self.assay)

    def splits(self, labels: Labels, seed: int) -> Iterator[Fold]:
        """Trainings with their test parts; a fifth of the training accessions is the validation part."""
        groups = np.array(labels.accessions)
        if self.each is None:
            yield from stratified_group_folds(labels.target, groups, FOLDS, seed=seed)
            return
        rng = np.random.default_rng((seed, self.each))
        class_of = group_targets(labels.target, groups)
        for index in range(DRAWS):
            chosen: set[str] = set()
            for value in (0, 1):
                names = [name for name, found in class_of.items() if found == value]
                chosen.update(names[i] for i in rng.permutation(len(names))[: self.each])
            held_out = choose_validation({name: class_of[name] for name in sorted(chosen)}, 0.2, rng)
            parts = chosen - held_out, held_out, set(class_of) - chosen
            yield Fold(index, *(np.flatnonzero([str(group) in part for group in groups]) for part in parts))


#: Tomato and the faecal assays are nearly solved by five folds; few accessions to learn from keep recipes apart.
TASKS = {
    "fecal_1, 4+4": Task("fecal_1", each=4),
    "fecal_2, 4+4": Task("fecal_2", each=4),
    "fecal_2, 6+6": Task("fecal_2", each=6),
    "fecal_2, 4+4, 150x140": Task("fecal_2", size="150x140", each=4),
    "sim 0 dpph, 10+10": Task("dpph", each=10, study=0),
    "sim 1 dpph, 10+10": Task("dpph", each=10, study=1),
    "sim 2 tpc, 10+10": Task("tpc", each=10, study=2),
    "sim 3 tfc, 10+10": Task("tfc", each=10, study=3),
    "sim 4 elastase, 10+10": Task("elastase", each=10, study=4),
    "sim 0 dpph": Task("dpph", study=0),
    "fecal_2": Task("fecal_2"),
}


def _simulated(seed: int, assay: str) -> tuple[Labels, np.ndarray]:
    sheet, images = _study(seed)
    labels = make_labels(sheet, LabelConfig(assay=assay), images)
    return labels, np.stack([images[name] for name in labels.sample_ids]).reshape(-1, *SIMULATED_SIZE)


@functools.cache
def _study(seed: int) -> tuple[Sheet, dict[str, np.ndarray]]:
    with tempfile.TemporaryDirectory() as folder:
        return drawn_study(SimulationConfig(seed=seed), Path(folder) / "study")
