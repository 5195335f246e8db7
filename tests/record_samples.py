"""A small cross-validation record with numbers that can be told apart; nothing here is a test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ms2img.learn.metrics import binary_metrics
from ms2img.ms2toimg.record import CvRecord

MEASURES = ("accuracy", "precision", "recall", "f1", "roc_auc", "tn", "fp", "fn", "tp")


def make_record(*, folds: int = 5, epochs: int = 6, seed: int = 0) -> CvRecord:
    """Five folds of eight accessions in two runs each; the last epoch of fold 1 has no validation AUC."""
    rng = np.random.default_rng(seed)
    n = folds * 16
    accession = np.repeat(np.arange(n // 2), 2)
    target = accession % 2
    predictions = pd.DataFrame(
        {
            "sample_id": [f"run{number}" for number in range(n)],
            "accession": [f"plant{number}" for number in accession],
            "fold": accession // 8,
            "value": target * 50.0 + rng.uniform(0, 20, n),
            "scaled": target * 0.7 + rng.uniform(0, 0.3, n),
            "target": target,
            "probability": np.clip(target * 0.3 + rng.uniform(0, 0.7, n), 0, 1),
        }
    )
    history = pd.DataFrame(
        [
            {
                "fold": fold,
                "epoch": epoch,
                "train_loss": 0.7 * 0.99**epoch + fold / 1000,
                "validation_loss": 0.8 * 0.99**epoch + fold / 1000,
                "validation_accuracy": rng.uniform(0.5, 1),
                "validation_auc": float("nan") if (fold, epoch) == (1, epochs - 1) else rng.uniform(0.5, 1),
                "is_best": epoch == epochs // 2,
            }
            for fold in range(folds)
            for epoch in range(epochs)
        ]
    )
    rows = []
    for fold in range(folds):
        held_out = predictions[predictions["fold"] == fold]
        mean = held_out.groupby("accession")[["target", "probability"]].mean()
        for level, part in (("accession", mean), ("run", held_out)):
            found = binary_metrics(part["target"].to_numpy().astype(int), part["probability"].to_numpy())
            measures = {name: getattr(found, name) for name in MEASURES}
            rows.append({"fold": fold, "level": level, "n": len(part), **measures})
    metrics = pd.DataFrame(rows)
    auc = metrics.loc[metrics["level"] == "accession", "roc_auc"]
    return CvRecord(
        predictions=predictions,
        history=history,
        metrics=metrics,
        summary={
            "assay": "dpph",
            "auc_mean": float(auc.mean()),
            "auc_sd": float(auc.std()),
            "simulated": False,
            "seed": seed,
        },
        unused=pd.DataFrame({"sample_id": ["u1"], "accession": ["u"], "value": [33.0], "scaled": [0.5], "probability": [0.4]}),
        examples={},
    )
