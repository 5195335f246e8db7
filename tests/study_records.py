"""A record of a made-up study, put together by the functions that put together a real one. Nothing here is a test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ms2img.learn.splits import stratified_group_folds
from ms2img.ms2toimg.record_folder import typed
from ms2img.ms2toimg.summarise import fold_metrics
from pipelines.report.study_compare import comparisons
from pipelines.report.study_grid import Variant
from pipelines.study.grid import Cell
from pipelines.study.record import TABLES, StudyRecord

#: Label -> how far the active accessions' scores lie above the others', in their standard deviation.
SKILL = {
    "image 75x70 cnn-paper": 1.2,
    "image 75x70 cnn-small": 1.8,
    "image 150x140 cnn-paper": 1.9,
    "image 150x140 cnn-small": 2.1,
    "image 75x70 forest": 1.5,
    "cosine forest": 1.6,
    "cosine logistic": 1.4,
    "cosine oplsda": 1.2,
    "cosine pca": 0.4,
    "entropy forest": 1.5,
    "memo forest": 1.0,
}
DRIFTS = {
    **{f"ppm-{level:g}": ("mz_ppm", level, 0.02 * level) for level in (5.0, 10.0, 20.0)},
    "da-0.02": ("mz_da", 0.02, 0.3),
    **{f"missing-{level:g}": ("missing_fragments", level, 1.2 * level) for level in (0.1, 0.3, 0.5)},
    **{f"rt-{level:g}": ("retention", level, 0.1 * level / 60) for level in (60.0, 120.0)},
    **{f"tilt-{level:g}": ("intensity_tilt", level, 0.1 * level) for level in (2.0, 4.0)},
}


def make_study(
    skill: Mapping[str, float] = SKILL,
    *,
    tasks: Sequence[str] = ("dpph",),
    seeds: Sequence[int] = (0, 1),
    not_run: Callable[[Cell], bool] = lambda cell: False,
    failed: Callable[[Cell], bool] = lambda cell: False,
    simulated: Sequence[str] = (),
    drifts: Mapping[str, tuple[str, float, float]] | None = None,
    transfer: bool = False,
    n: int = 60,
    folds: int = 5,
    noise: float = 0.5,
    name: str = "Beans of 2026",
    accession: Callable[[int], str] = "ACC-{:03d}".format,
) -> StudyRecord:
    """Scores of each accession = what it is (shared by all models) + skill + noise of its own.

    `skill`: the grid, and how well each of its models does. `drifts`: condition -> kind, level and how much skill it
    takes.
    """
    rng = np.random.default_rng(7)
    conditions = {"": 0.0, **{key: loss for key, (_, _, loss) in (drifts or {}).items()}}
    described = {
        key: {"kind": kind, "level": at, "data": {"beans": key}} for key, (kind, at, _) in (drifts or {}).items()
    }
    if transfer:
        conditions["other"] = 0.8
        described["other"] = {"kind": "instrument", "level": None, "data": {"beans": "orbitrap"}}
    cells, about = [], {}
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for task in tasks:
        cohort = _cohort(n, rng, accession)
        about[task] = _about(task, cohort, task in simulated)
        for label, lift in skill.items():
            variant = _variant(label)
            grid = [Cell(task, variant.representation, variant.resolution, variant.model, seed) for seed in seeds]
            status = ["failed" if failed(cell) else "not run" if not_run(cell) else "done" for cell in grid]
            cells += [_cell(cell, found, rng) for cell, found in zip(grid, status, strict=True)]
            done = [cell for cell, found in zip(grid, status, strict=True) if found == "done"]
            for cell in done:
                for condition, loss in conditions.items():
                    rows = _predictions(cohort, cell.seed, folds, max(lift - loss, 0.0), noise, rng)
                    parts["predictions"].append(rows.assign(cell=cell.name, condition=condition))
                    parts["metrics"].append(fold_metrics(rows).assign(cell=cell.name, condition=condition))
                if cell.is_network:
                    parts["history"].append(_history(cell, folds, rng))
            if done and variant.model in ("oplsda", "pca"):
                parts["scores"].append(_scores(task, variant, cohort, lift, rng))
                parts["multivariate"].append(_fit(task, variant, rng))
    tables = {name: _table(found, TABLES[name]) for name, found in parts.items()}
    tables["cells"] = typed(pd.DataFrame(cells), TABLES["cells"])
    tables["comparisons"] = comparisons(tables["cells"], tables["metrics"])
    summary = {
        "name": name,
        "created": "2026-02-03T10:11:12+00:00",
        "simulated": bool(simulated),
        "seconds": 4321.0,
        "versions": {"ms2img": "0.1.0", "torch": "2.13.0"},
        "folds": folds,
        "seeds": list(seeds),
        "main_task": tasks[0],
        "tasks": about,
        "conditions": described,
        "config": {"name": name, "folds": folds, "seeds": list(seeds), "epochs": None},
    }
    return StudyRecord(**tables, summary=summary)


def _cell(cell: Cell, status: str, rng: np.random.Generator) -> dict[str, Any]:
    return {
        **vars(cell),
        "cell": cell.name,
        "data": "beans",
        "assay": f"{cell.task} (%)",
        "status": status,
        "reason": "memory: 12 GB" if status == "failed" else "",
        "seconds": rng.uniform(5, 90) if status == "done" else math.nan,
    }


def _variant(label: str) -> Variant:
    representation, *size, model = label.split(" ")
    return Variant(representation, size[0] if size else "", model)


def _table(parts: list[pd.DataFrame], columns: Mapping[str, str]) -> pd.DataFrame:
    found = pd.concat(parts, ignore_index=True)[list(columns)] if parts else pd.DataFrame(columns=list(columns))
    return typed(found, columns)


def _cohort(n: int, rng: np.random.Generator, accession: Callable[[int], str]) -> pd.DataFrame:
    scaled = np.concatenate([[0.0, 1.0], rng.uniform(0, 1, n - 2)])
    target = np.where(scaled < 0.4, 0, np.where(scaled > 0.6, 1, -1))
    return pd.DataFrame(
        {
            "accession": [accession(i) for i in range(n)],
            "scaled": scaled,
            "value": 5 + 80 * scaled,
            "target": target,
            "own": rng.normal(0, 1, n),
        }
    )


def _about(task: str, cohort: pd.DataFrame, simulated: bool) -> dict[str, Any]:
    found = {
        key: int((cohort["target"] == value).sum()) for key, value in (("active", 1), ("inactive", 0), ("between", -1))
    }
    return {
        "assay": f"{task} (%)",
        "data": "beans",
        "samples": "/data/beans/samples.csv",
        "simulated": simulated,
        "low": 0.4,
        "high": 0.6,
        "active": "high",
        "counts": {
            **{f"{key}_accessions": number for key, number in found.items()},
            **{f"{key}_runs": 2 * number for key, number in found.items()},
        },
    }


def _predictions(
    cohort: pd.DataFrame, seed: int, folds: int, lift: float, noise: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Two runs an accession, out of fold."""
    target = cohort["target"].to_numpy()
    split = stratified_group_folds(target, cohort["accession"].to_numpy(), folds, seed=seed)
    used = pd.concat([cohort.iloc[fold.test].assign(fold=fold.index) for fold in split])
    logit = lift * (used["target"] - 0.5) + used["own"] + rng.normal(0, noise, len(used))
    runs = [
        used.assign(
            sample_id=used["accession"] + f"_{run}",
            probability=1 / (1 + np.exp(-logit - rng.normal(0, 0.2, len(used)))),
        )
        for run in range(2)
    ]
    return pd.concat(runs, ignore_index=True)


def _history(cell: Cell, folds: int, rng: np.random.Generator, epochs: int = 12) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    tables = []
    for fold in range(folds):
        loss = 0.7 * np.exp(-epoch / 6) + 0.3 + 0.01 * np.maximum(0, epoch - 8) + rng.normal(0, 0.02, epochs)
        tables.append(
            pd.DataFrame(
                {
                    "cell": cell.name,
                    "fold": fold,
                    "epoch": epoch,
                    "train_loss": 0.7 * np.exp(-epoch / 6),
                    "train_accuracy": 1 - 0.45 * np.exp(-epoch / 5),
                    "validation_loss": loss,
                    "validation_accuracy": 1 - loss / 2,
                    "validation_auc": 1 - loss / 3,
                    "is_best": np.arange(epochs) == loss.argmin(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _scores(task: str, variant: Variant, cohort: pd.DataFrame, lift: float, rng: np.random.Generator) -> pd.DataFrame:
    rows = cohort[cohort["target"] >= 0]
    return pd.DataFrame(
        {
            "task": task,
            "representation": variant.representation,
            "method": variant.model,
            "sample_id": rows["accession"] + "_0",
            "accession": rows["accession"],
            "target": rows["target"],
            "x": 3 * lift * (rows["target"] - 0.5) + rows["own"],
            "y": rng.normal(0, 2, len(rows)),
        }
    )


def _fit(task: str, variant: Variant, rng: np.random.Generator) -> pd.DataFrame:
    oplsda = variant.model == "oplsda"
    fit = {"r2x": 0.31, "r2y": 0.976, "q2y": 0.287, "orthogonal": 2, "p_r2y": 0.05, "p_q2y": 0.02, "permutations": 100}
    row = {
        "task": task,
        "representation": variant.representation,
        "method": variant.model,
        "x_explained": 0.21,
        "y_explained": 0.08,
        **{key: value if oplsda else math.nan for key, value in fit.items()},
        "q2y_permuted": list(rng.normal(-0.1, 0.15, 100)) if oplsda else [],
    }
    return pd.DataFrame([row])
