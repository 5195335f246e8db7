"""The recipe for small cohorts: candidates compared on development data, and the frozen one on data it has not seen.

``python -m bench.recipe`` trains every candidate on every task and seed, on equal splits, and prints the table of AUCs
per accession; finished ones are kept in a JSON lines file and not run again. ``--freeze-check`` says whether preset
``small`` is the candidate that was frozen. ``--score ASSAY...`` cross-validates preset ``small`` and a random forest on
the pixels once on given assays ("serum", "fbmn/serum"), with the interval over resampled accessions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from bench.cohort import qemistree
from bench.recipe_tasks import FOLDS, TASKS
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.metrics import bootstrap_auc, roc_auc
from ms2img.learn.splits import Fold
from ms2img.ms2toimg.cnn import PRESETS, TRAINING, CnnConfig
from ms2img.ms2toimg.crossvalidate import FoldTask, plan_folds, run_fold
from ms2img.ms2toimg.labels import Labels

TREES = 500
FROZEN = "three deep, linear"


@dataclass(frozen=True)
class Recipe:
    """A network and its training. Where the last epoch is kept nothing is set aside for validation."""

    cnn: CnnConfig
    fit: FitConfig

    def probabilities(self, labels: Labels, images: np.ndarray, split: Fold, seed: int) -> np.ndarray:
        """Of the test rows, float64 [len(split.test)]."""
        if self.fit.keep == "last":
            split = replace(split, train=_training_rows(split), validation=split.validation[:0])
        task = FoldTask(split, self.cnn, replace(self.fit, seed=1000 * seed + split.index, threads=1))
        return run_fold(images, labels.target, task)[0].probability


@dataclass(frozen=True)
class Pixels:
    """A scikit-learn classifier on the pixels, as the yardstick."""

    name: str

    def probabilities(self, labels: Labels, images: np.ndarray, split: Fold, seed: int) -> np.ndarray:
        """Of the test rows, float64 [len(split.test)]."""
        pixels, rows = images.reshape(len(images), -1) / 255, _training_rows(split)
        model = (
            RandomForestClassifier(TREES, random_state=seed, n_jobs=1)
            if self.name == "forest"
            else LogisticRegression(C=0.1, max_iter=300)
        )
        if self.name == "logistic":  # every pixel on its own scale, as in `ms2img.ms2toimg.linear_model`
            spread = np.sqrt(pixels[rows].var(axis=0) + 0.06**2)
            pixels = (pixels - pixels[rows].mean(axis=0)) / spread
        found: np.ndarray = model.fit(pixels[rows], labels.target[rows]).predict_proba(pixels[split.test])[:, 1]
        return found


DEEP = CnnConfig(conv_layers=3, filters=16, pool="each", batch_norm=True, dense_layers=1, units=64)
STEADY = FitConfig(learning_rate=1e-3, batch_size=16, weight_decay=10.0, epochs=40, keep="last")
CANDIDATES: dict[str, Recipe | Pixels] = {
    "forest": Pixels("forest"),
    "logistic": Pixels("logistic"),
    "best epoch of 80 by validation": Recipe(DEEP, FitConfig(learning_rate=1e-3, batch_size=16)),
    "deep": Recipe(DEEP, STEADY),
    "deep, linear": Recipe(replace(DEEP, linear_member=True), STEADY),
    "deep, linear, dropped precursors": Recipe(replace(DEEP, linear_member=True), replace(STEADY, drop_precursors=0.2)),
    "three deep, linear": Recipe(replace(DEEP, members=3, linear_member=True), STEADY),
    "three deep, linear, dropped precursors": Recipe(
        replace(DEEP, members=3, linear_member=True), replace(STEADY, drop_precursors=0.2)
    ),
}


def main() -> int:
    """Compare, check or score, as asked; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=2, help="seeds 0, 1, ... of splits and trainings")
    parser.add_argument("--results", type=Path, default=Path("recipe.jsonl"), help="JSON lines, added to")
    parser.add_argument("--freeze-check", action="store_true", help="is preset small the frozen candidate?")
    parser.add_argument("--score", nargs="+", metavar="ASSAY", help="score the frozen preset and the forest once")
    parser.add_argument("--size", default="75x70", help="of the images that are scored, HEIGHTxWIDTH")
    options = parser.parse_args()
    if options.freeze_check:
        return freeze_check()
    if options.score:
        for assay in options.score:
            score(assay, options.size)
        return 0
    print(table(compare(options.candidates, options.tasks, options.seeds, options.results)))
    return 0


def compare(candidates: list[str], tasks: list[str], seeds: int, results: Path) -> pd.DataFrame:
    """A row a candidate, task and seed with ``auc``, the mean over its splits; what `results` holds is not run."""
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {(row["recipe"], row["task"], row["seed"]): row for row in rows}
    wanted = []
    for seed in range(seeds):
        for task in tasks:
            for name in candidates:
                key = (fingerprint(CANDIDATES[name]), task, seed)
                if key not in done:
                    done[key] = {"recipe": key[0], "task": task, "seed": seed, **_run(name, task, seed)}
                    with results.open("a") as stream:
                        stream.write(json.dumps(done[key]) + "\n")
                wanted.append({**done[key], "candidate": name})
    return pd.DataFrame(wanted)


def table(rows: pd.DataFrame) -> str:
    """Mean AUC of each candidate on each task and over all, and its paired difference to the forest with its error."""
    by_task = rows.pivot_table(index="candidate", columns="task", values="auc", sort=False)
    paired = rows.pivot_table(index=["task", "seed"], columns="candidate", values="auc")
    by_task["mean"] = by_task.mean(axis=1)
    if "forest" in paired:
        less_forest = paired.sub(paired["forest"], axis=0)
        by_task["less forest"], by_task["se"] = less_forest.mean(), less_forest.sem()
    by_task["seconds"] = rows.groupby("candidate")["seconds"].mean()
    return by_task.round(3).to_string()


def freeze_check() -> int:
    """Say which recipe preset ``small`` is; 1 when it is not the frozen candidate."""
    frozen, preset = CANDIDATES[FROZEN], Recipe(PRESETS["small"], TRAINING["small"])
    if preset != frozen:
        print(f"preset small {preset} is not '{FROZEN}': {frozen}", file=sys.stderr)
        return 1
    print(f"preset small is '{FROZEN}', recipe {fingerprint(preset)}")
    return 0


def score(assay: str, size: str) -> None:
    """Cross-validate preset ``small`` and the forest on the same folds, and print a line each."""
    export, _, name = assay.rpartition("/")
    labels, images = qemistree(name, size, export or "mgf")
    recipe = Recipe(PRESETS["small"], TRAINING["small"])
    print(f"{assay}, {size}, {FOLDS} folds, recipe {fingerprint(recipe)}")
    splits = [task.fold for task in plan_folds(labels, FOLDS, recipe.cnn, recipe.fit)]
    for label, model in (("small", recipe), ("forest", CANDIDATES["forest"])):
        started = time.perf_counter()
        parts = [_by_accession(labels, split, model.probabilities(labels, images, split, 0)) for split in splits]
        folds = [roc_auc(*part) for part in parts]
        pooled = bootstrap_auc(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        print(
            f"  {label:6}  pooled AUC {pooled.auc:.3f} [{pooled.low:.3f}, {pooled.high:.3f}] over "
            f"{sum(len(target) for target, _ in parts)} accessions, mean of folds {np.mean(folds):.3f} "
            f"± {np.std(folds, ddof=1):.3f}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )


def fingerprint(candidate: Recipe | Pixels) -> str:
    """A short hash of everything that decides a candidate's numbers."""
    told: Any = candidate.name if isinstance(candidate, Pixels) else [candidate.cnn.to_dict(), candidate.fit.to_dict()]
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=6).hexdigest()


def _run(name: str, task: str, seed: int) -> dict[str, float]:
    labels, images = TASKS[task].load()
    started = time.perf_counter()
    aucs = [
        roc_auc(*_by_accession(labels, split, CANDIDATES[name].probabilities(labels, images, split, seed)))
        for split in TASKS[task].splits(labels, seed)
    ]
    return {"auc": float(np.mean(aucs)), "seconds": time.perf_counter() - started}


def _by_accession(labels: Labels, split: Fold, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Target and mean probability of each accession of the test part."""
    runs = pd.DataFrame({"target": labels.target[split.test], "probability": probability})
    means = runs.groupby([labels.accessions[row] for row in split.test]).mean()
    return means["target"].to_numpy(dtype=int), means["probability"].to_numpy()


def _training_rows(split: Fold) -> np.ndarray:
    return np.sort(np.concatenate([split.train, split.validation]))


if __name__ == "__main__":
    sys.exit(main())
