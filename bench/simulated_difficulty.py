"""How hard the simulated study is: a random forest on the pixels, cross-validated, over several seeds.

``python -m bench.simulated_difficulty`` writes each default study, reads its files back, draws 75x70 images and asks
scikit-learn's random forest for the high and low accessions of each assay. A simulation that everyone solves says
nothing, one that nobody solves says less: the default aims at an AUC of .75 to .90 for DPPH.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from ms2img.io.read import read_runs
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.labels import LabelConfig, make_labels
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.simulation import SimulationConfig, write_study
from ms2img.ms2toimg.simulation.config import ASSAYS

FOLDS = 5
TREES = 500


@dataclass(frozen=True)
class Row:
    """One assay of one seed; AUCs are per accession, over all folds at once and as the mean of the folds."""

    seed: int
    assay: str
    low: int
    high: int
    auc_pooled: float
    auc_folds: float


def drawn_study(config: SimulationConfig, folder: Path) -> tuple[Sheet, dict[str, np.ndarray]]:
    """Write a study, read it back and draw its samples: the sheet and sample_id -> pixels [75 * 70]."""
    sheet = Sheet.read(write_study(folder, config).sheet)
    size = RenderConfig(height=75, width=70)
    images = {}
    for run, spectra in read_runs([run for run in sheet.runs if run.kind == "sample"]):
        if isinstance(spectra, Exception):
            raise spectra
        images[run.sample_id] = render(points_from_spectra(spectra.table, size, path=run.path), size).ravel()
    return sheet, images


def difficulty(sheet: Sheet, images: dict[str, np.ndarray], assay: str, seed: int) -> Row:
    """Cross-validate the forest on one assay; replicates of an accession stay in one fold."""
    labels = make_labels(sheet, LabelConfig.checked({"assay": assay}, source="bench"), images)
    used = labels.target >= 0
    pixels = np.stack([images[name] for name in labels.sample_ids])[used]
    target, accession = labels.target[used], np.array(labels.accessions)[used]
    probability = np.zeros(len(target))
    fold_aucs = []
    for train, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(pixels, target, accession):
        forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=1).fit(pixels[train], target[train])
        probability[test] = forest.predict_proba(pixels[test])[:, 1]
        fold_aucs.append(_accession_auc(target[test], probability[test], accession[test]))
    classes = {name: int(value) for name, value in zip(accession, target, strict=True)}
    n_high = sum(classes.values())
    pooled = _accession_auc(target, probability, accession)
    return Row(seed, assay, len(classes) - n_high, n_high, round(pooled, 4), round(float(np.mean(fold_aucs)), 4))


def _accession_auc(target: np.ndarray, probability: np.ndarray, accession: np.ndarray) -> float:
    """ROC AUC of the mean probability of each accession."""
    names = np.unique(accession)
    truth = [target[accession == name][0] for name in names]
    return float(roc_auc_score(truth, [probability[accession == name].mean() for name in names]))


def main() -> None:
    """Print one line a seed and assay, then the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="studies with seed 0, 1, ...")
    parser.add_argument("--assays", nargs="+", default=["dpph"], choices=ASSAYS)
    arguments = parser.parse_args()
    rows: list[Row] = []
    print(f"{'seed':>4} {'assay':<9} {'low':>4} {'high':>4} {'AUC pooled':>11} {'AUC folds':>10}  seconds")
    for seed in range(arguments.seeds):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            sheet, images = drawn_study(SimulationConfig(seed=seed), Path(folder) / "study")
        for assay in arguments.assays:
            row = difficulty(sheet, images, assay, seed)
            seconds = time.perf_counter() - start
            rows.append(row)
            print(
                f"{seed:>4} {assay:<9} {row.low:>4} {row.high:>4} {row.auc_pooled:>11.3f} {row.auc_folds:>10.3f}"
                f"  {seconds:.0f}",
                flush=True,
            )
    for assay in arguments.assays:
        pooled, folds = np.array([(row.auc_pooled, row.auc_folds) for row in rows if row.assay == assay]).T
        print(
            f"{assay}: pooled {pooled.mean():.3f} +- {pooled.std():.3f}, folds {folds.mean():.3f} +- {folds.std():.3f}"
        )
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
