"""A small cross-validation record with numbers that can be told apart; nothing here is a test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ms2img.ms2toimg.record import HISTORY, PREDICTIONS, UNUSED, CvRecord
from ms2img.ms2toimg.record_folder import typed
from ms2img.ms2toimg.summarise import fold_metrics, mean_and_sd


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
    metrics = fold_metrics(predictions)
    spread = mean_and_sd(metrics)
    return CvRecord(
        predictions=typed(predictions, PREDICTIONS),
        history=typed(history, HISTORY),
        metrics=metrics,
        summary={
            "assay": "dpph",
            "auc_mean": spread["accession_roc_auc_mean"],
            "auc_sd": spread["accession_roc_auc_sd"],
            "simulated": False,
            "undefined": float("nan"),
            **spread,
        },
        unused=typed(pd.DataFrame([["u1", "u", 33.0, 0.5, 0.4]], columns=list(UNUSED)), UNUSED),
        examples={},
    )
