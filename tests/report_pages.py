"""A record to report on, and a parsed page to read from."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from ms2img.ms2toimg.record import CvRecord
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.summarise import fold_metrics, mean_and_sd

MODEL = {"name": "ms2img-dpph", "version": "3", "aliases": ["champion"]}


def make_record(
    n: int = 40,
    *,
    replicates: int = 3,
    folds: int = 5,
    assay: str = "dpph",
    active: str = "high",
    low: float = 0.4,
    high: float = 0.6,
    simulated: bool = False,
    name: Callable[[int], str] = "ACC-{:03d}".format,
    seed: int = 0,
    size: tuple[int, int] = (150, 140),
) -> CvRecord:
    """A record of a made-up study, put together by the functions that put together a real one."""
    rng = np.random.default_rng(seed)
    value = np.concatenate([[5.0, 85.0], rng.uniform(5, 85, n - 2)])
    scaled = (value - 5.0) / 80.0
    is_active = scaled > high if active == "high" else scaled < low
    target = np.where((scaled >= low) & (scaled <= high), -1, is_active.astype(int))
    fold = np.full(n, -1)
    for label in (0, 1):
        members = np.flatnonzero(target == label)
        fold[members] = np.arange(len(members)) % folds
    sign = 1 if active == "high" else -1
    logit = sign * 7 * (scaled - 0.5) + rng.normal(0, 2.0, n)
    rows = [
        {
            "sample_id": f"{name(i)}_{k}",
            "accession": name(i),
            "fold": fold[i],
            "value": value[i],
            "scaled": scaled[i],
            "target": target[i],
            "probability": 1 / (1 + np.exp(-logit[i] - rng.normal(0, 0.7))),
        }
        for i in range(n)
        for k in range(replicates)
    ]
    table = pd.DataFrame(rows)
    used = table["target"] >= 0
    predictions, unused = table[used].reset_index(drop=True), table[~used].drop(columns=["fold", "target"])
    metrics = fold_metrics(predictions)
    shown = {label: table[table["target"] == label].iloc[0] for label in (1, 0)}
    return CvRecord(
        predictions=predictions,
        history=make_history(sorted(predictions["fold"].unique()), rng),
        metrics=metrics,
        unused=unused.reset_index(drop=True),
        examples={row["sample_id"]: example_image(rng, *size) for row in shown.values()},
        summary={
            "label": {"assay": assay, "low": low, "high": high, "active": active, "value_min": 5.0, "value_max": 85.0},
            "threshold": 0.5,
            "refit_epochs": 17,
            "without_image": [],
            "examples": {
                row["sample_id"]: {"accession": row["accession"], "value": row["value"], "target": label}
                for label, row in shown.items()
            },
            **mean_and_sd(metrics),
            "simulated": simulated,
            "preset": "small",
            "samples": "/data/beans/samples.csv",
            "images": "/data/beans/images",
            "render": RenderConfig(height=size[0], width=size[1]).model_dump(mode="json"),
            "fit": {"epochs": 20, "batch_size": 16, "learning_rate": 1e-3, "seed": 7},
            "config": {"assay": assay, "folds": folds, "fit": {"epochs": 20}},
            "fingerprints": {"samples": "00ff00ff", "labels": "11ee11ee", "folds": "22dd22dd"},
            "versions": {"ms2img": "0.1.0", "torch": "2.13.0"},
            "created": "2026-02-03T10:11:12+00:00",
            "seconds": 321.0,
        },
    )


def make_history(folds: list[int], rng: np.random.Generator, epochs: int = 20) -> pd.DataFrame:
    """Curves that fall and rise again; the best epoch is that of the lowest validation loss."""
    tables = []
    for fold in folds:
        epoch = np.arange(1, epochs + 1)
        loss = 0.7 * np.exp(-epoch / 6) + 0.3 + 0.01 * np.maximum(0, epoch - 12) + rng.normal(0, 0.02, epochs)
        table = {"fold": fold, "epoch": epoch, "train_loss": 0.7 * np.exp(-epoch / 6), "validation_loss": loss}
        scores = {"validation_accuracy": 1 - loss / 2, "validation_auc": 1 - loss / 3}
        tables.append(pd.DataFrame({**table, **scores, "is_best": np.arange(epochs) == loss.argmin()}))
    return pd.concat(tables, ignore_index=True)


def example_image(rng: np.random.Generator, height: int = 150, width: int = 140) -> np.ndarray:
    """A picture with its bright pixels below the diagonal."""
    image = np.zeros((height, width), dtype=np.uint8)
    column = rng.integers(5, width, 600)
    image[(column * rng.uniform(0, 1, 600)).astype(int), column] = rng.integers(1, 256, 600)
    return image


class Page(HTMLParser):
    """A parsed page: its elements, the cells of its tables, its visible text."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self.stack: list[str] = []
        self.feed(html)
        assert self.stack == [], "every element is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.stack.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.words.append(data)
        if {"td", "th"} & set(self.stack):
            cell = self.tables[-1][-1]
            cell[-1] = " ".join((cell[-1] + data).split())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def table(self, header: str) -> list[list[str]]:
        """The one table whose first row starts with this cell; without that row."""
        (found,) = [rows for rows in self.tables if rows[0][0] == header]
        return found[1:]

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = attributes.items()
        return [found for name, found in self.elements if name == tag and all(found.get(k) == v for k, v in wanted)]
