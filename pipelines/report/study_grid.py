"""What was compared: the models of a study with what each takes in, and their metrics fold by fold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from pipelines.report.table import MeanSd, mean_sd, rows_of
from pipelines.study.record import FAILED, NOT_RUN

AS_TRAINED = ""  # the condition of rows that were tested on what the model was trained on
PAPER_CNN = "cnn-paper"

#: Representation -> what the page calls it; the order of its tables.
REPRESENTATIONS = {
    "image": "images",
    "cosine": "the cosine feature table",
    "entropy": "the entropy feature table",
    "aligned": "the aligned feature table",
    "memo": "MEMO vectors",
}
#: Model -> what the page calls it; the order of its tables.
MODELS = {
    "cnn-paper": "the paper’s CNN",
    "cnn-small": "the small CNN",
    "forest": "the random forest",
    "logistic": "logistic regression",
    "boosting": "gradient boosting",
    "oplsda": "OPLS-DA",
    "pca": "the classifier on PCA scores",
}


@dataclass(frozen=True)
class Variant:
    """A model and what it takes in: one row of Table 2."""

    representation: str
    resolution: str  # "75x70" of an image, else ""
    model: str

    @classmethod
    def of(cls, cell: Mapping[str, Any]) -> Self:
        """That of a row of ``StudyRecord.cells``."""
        return cls(*(str(cell[name]) for name in ("representation", "resolution", "model")))

    @property
    def label(self) -> str:
        """ "image 75x70 cnn-small": its name in tables and legends."""
        return " ".join(filter(None, (self.representation, self.resolution, self.model)))

    @property
    def spoken(self) -> str:
        """ "the small CNN on images of 75x70": its name in a sentence."""
        taken = REPRESENTATIONS.get(self.representation, self.representation)
        size = f" of {self.resolution}" if self.resolution else ""
        return f"{MODELS.get(self.model, self.model)} on {taken}{size}"

    @property
    def is_cnn(self) -> bool:
        """Whether it is a CNN on the image, the paper's claim."""
        return self.model.startswith("cnn")

    @property
    def order(self) -> tuple[Any, ...]:
        """Where it stands in a table: images first, CNNs first, small ones first."""
        places = [
            list(names).index(name) if name in names else len(names)
            for names, name in ((REPRESENTATIONS, self.representation), (MODELS, self.model))
        ]
        return places[0], not self.is_cnn, pixels(self.resolution), places[1], self.label


def pixels(resolution: str) -> int:
    """ "75x70" -> 5250; 0 for what is no size."""
    height, _, width = resolution.partition("x")
    return int(height) * int(width) if height.isdecimal() and width.isdecimal() else 0


def variants(cells: pd.DataFrame) -> list[Variant]:
    """Every variant of these cells once, in the order of a table."""
    return sorted({Variant.of(cell) for cell in rows_of(cells)}, key=lambda variant: variant.order)


def labelled(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with the `label` of their variant."""
    return cells.assign(label=pd.Series([Variant.of(cell).label for cell in rows_of(cells)], cells.index, dtype=object))


def fold_scores(cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Metrics per accession on what the models were trained on, with task, label and seed: a row cell x fold."""
    return _told(cells, metrics[metrics["condition"] == AS_TRAINED])


def changed_scores(cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """The same under every other condition: a row cell x condition x fold."""
    return _told(cells, metrics[metrics["condition"] != AS_TRAINED])


def _told(cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    told = labelled(cells)[["cell", "task", "label", "seed"]]
    return metrics[metrics["level"] == "accession"].merge(told, on="cell", how="inner", validate="many_to_one")


def of(scores: pd.DataFrame, task: str, label: str) -> pd.DataFrame:
    """The rows of one variant in one task, by seed and fold; `scores` as by `fold_scores`."""
    wanted = (scores["task"] == task) & (scores["label"] == label)
    return scores[wanted].sort_values(["seed", "fold"], ignore_index=True)


def ranking(scores: pd.DataFrame, task: str, among: Iterable[Variant]) -> list[Variant]:
    """Those of `among` that have an AUC in this task, the highest mean first."""
    means = scores[scores["task"] == task].groupby("label")["roc_auc"].mean().dropna()
    ran = [variant for variant in among if variant.label in means.index]
    return sorted(ran, key=lambda variant: (-means[variant.label], variant.order))


@dataclass(frozen=True)
class Entry:
    """What is known of one variant in one task; `said` replaces the numbers where there are none."""

    roc_auc: MeanSd
    accuracy: MeanSd
    folds: int
    seeds: tuple[int, ...]  # that were run
    planned: int  # seeds of the grid
    said: str  # "" | "not run" | "failed" | "not in the grid"


def entry(cells: pd.DataFrame, scores: pd.DataFrame, task: str, label: str) -> Entry:
    """One cell of Table 2; `cells` are `labelled`."""
    planned = cells[(cells["task"] == task) & (cells["label"] == label)]
    rows = of(scores, task, label)
    said = "" if len(rows) else without_numbers(planned)
    seeds = tuple(sorted(int(seed) for seed in rows["seed"].unique()))
    return Entry(mean_sd(rows["roc_auc"]), mean_sd(rows["accuracy"]), len(rows), seeds, len(planned), said)


def without_numbers(planned: pd.DataFrame) -> str:
    """Why these cells have no numbers."""
    if not len(planned):
        return "not in the grid"
    return FAILED if (planned["status"] == FAILED).any() else NOT_RUN
