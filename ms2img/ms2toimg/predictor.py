"""Files or images in, probabilities out: what a loaded model does, one row at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ms2img.errors import Code, RunError, UsageError
from ms2img.io.location import is_remote, stem
from ms2img.io.read import read_runs
from ms2img.io.sheet import FORMATS, Run
from ms2img.learn.predict import predict_probabilities
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.render_config import RenderConfig

#: Columns of an answer, in this order.
ANSWER = ("sample_id", "path", "probability", "label", "threshold", "model_version", "error")
#: A probability is rounded to what a decimal text carries exactly, so that CSV and memory hold the same number.
DECIMALS = 12

Answer = tuple[float, str]  # probability, error: one of them is nan or empty


class Predictor:
    """A network together with the way its images are drawn.

    Every row is scored by itself, in float32 on one thread, so that its probability depends on nothing but its own
    content: not on other rows, their order or the machine's cores.
    """

    def __init__(self, *, network: nn.Module, render: RenderConfig, threshold: float, model_version: str) -> None:
        self.network = network
        self.render = render
        self.threshold = threshold
        self.model_version = model_version

    def predict(self, frame: pd.DataFrame, progress: Callable[[int], None] | None = None) -> pd.DataFrame:
        """Score each row of `frame`.

        Parameters
        ----------
        frame: has ``path`` (a run's file, relative to the working folder), with ``quant_path``, ``column`` and
            ``format`` where the file needs them, or ``image`` (uint8 [height, width] as array or nested list); where a
            row has both, the image is scored. ``sample_id`` is optional; other columns are ignored.
        progress: called with the number of rows done since the last call.

        Returns
        -------
        One row a row of `frame`, same order and index: ``sample_id, path, probability`` (of being active; NaN on
        error), ``label`` ("active" | "inactive", empty on error), ``threshold, model_version, error`` (empty, or
        "code: message").

        Raises
        ------
        UsageError: `frame` has neither a ``path`` nor an ``image`` column.
        """
        if not isinstance(frame, pd.DataFrame) or not {"path", "image"} & set(frame.columns):
            raise UsageError("predict needs a table with a column 'path' (run files) or 'image' (uint8 arrays)")
        rows = [_Row(position, record) for position, record in enumerate(frame.to_dict("records"))]
        answers: dict[int, Answer] = {}
        for position, answer in self._answers(rows):
            answers[position] = answer
            if progress is not None:
                progress(1)
        probability = np.array([answers[row.position][0] for row in rows], dtype=np.float64)
        columns = {
            "sample_id": [row.sample_id for row in rows],
            "path": [row.path or "" for row in rows],
            "probability": probability,
            "label": [self._label(value) for value in probability],
            "threshold": np.full(len(rows), self.threshold),
            "model_version": [self.model_version] * len(rows),
            "error": [answers[row.position][1] for row in rows],
        }
        return pd.DataFrame(columns, columns=list(ANSWER), index=frame.index)

    def _answers(self, rows: list[_Row]) -> Iterator[tuple[int, Answer]]:
        """(position, answer) of every row, images first, then the runs file by file."""
        by_run: dict[Run, list[int]] = {}
        for row in rows:
            try:
                if row.image is not None:
                    yield row.position, (self._probability(self._checked_image(row)), "")
                else:
                    by_run.setdefault(row.run(), []).append(row.position)
            except RunError as error:
                yield row.position, _failed(error)
        for run, spectra in read_runs(list(by_run), self.render):
            answer = _failed(spectra) if isinstance(spectra, RunError) else self._score(run, spectra)
            yield from ((position, answer) for position in by_run[run])

    def _score(self, run: Run, spectra: Any) -> Answer:
        try:
            return self._probability(image_row(run, spectra, self.render, source_fingerprint="")["image"]), ""
        except RunError as error:
            return _failed(error)

    def _probability(self, image: np.ndarray) -> float:
        """Probability of being active of one image, uint8 [height, width]."""
        # One thread: sums split over threads round differently from machine to machine.
        return float(np.round(predict_probabilities(self.network, image[None], threads=1)[0], DECIMALS))

    def _checked_image(self, row: _Row) -> np.ndarray:
        """The row's image as uint8 [height, width]. Raises `RunError` for anything that is not 0-255 in that shape."""
        expected = (self.render.height, self.render.width)
        try:
            image = np.asarray(row.image)
        except ValueError:
            image = np.empty(0, dtype=object)  # rows of unequal length
        if image.shape != expected or not np.issubdtype(image.dtype, np.integer):
            message = f"image is {image.dtype} {list(image.shape)}; this model needs uint8 {list(expected)}"
            raise RunError(Code.BAD_VALUE, message, path=row.path or "")
        if image.min() < 0 or image.max() > 255:
            message = f"image has values from {image.min()} to {image.max()}; uint8 holds 0 to 255"
            raise RunError(Code.BAD_VALUE, message, path=row.path or "")
        return image.astype(np.uint8)

    def _label(self, probability: float) -> str:
        if np.isnan(probability):
            return ""
        return "active" if probability >= self.threshold else "inactive"


class _Row:
    """One row of the frame that is to be scored, absent values as None."""

    def __init__(self, position: int, record: Mapping[Any, Any]) -> None:
        self.position = position
        self.path = _text(record, "path")
        self.quant_path = _text(record, "quant_path")
        self.column = _text(record, "column")
        self.format = _text(record, "format")
        self.image = None if _absent(record.get("image")) else record["image"]
        named = _text(record, "sample_id")
        self.sample_id = named or self.column or (stem(self.path) if self.path else f"row {position + 1}")

    def run(self) -> Run:
        """The row as a run of a sheet; its paths made absolute. Raises `RunError` if the row cannot be one."""
        if self.path is None:
            raise RunError(Code.BAD_VALUE, "the row has neither path nor image", path="")
        if self.format is not None and self.format not in FORMATS:
            message = f"format '{self.format}' is unknown; expected one of {', '.join(FORMATS)}"
            raise RunError(Code.UNKNOWN_FORMAT, message, path=self.path)
        return Run(
            sample_id=self.sample_id,
            path=_located(self.path),
            quant_path=None if self.quant_path is None else _located(self.quant_path),
            column=self.column,
            format=self.format,
            kind="sample",
            accession=self.sample_id,
            replicate=None,
            batch=None,
        )


def _located(path: str) -> str:
    return path if is_remote(path) else str(Path(path).absolute())


def _text(record: Mapping[Any, Any], key: str) -> str | None:
    value = record.get(key)
    return None if _absent(value) or not str(value) else str(value)


def _absent(value: Any) -> bool:
    return value is None or (not isinstance(value, list | tuple | np.ndarray) and bool(pd.isna(value)))


def _failed(error: RunError) -> Answer:
    message = f"{error.position}: {error.message}" if error.position else error.message
    return float("nan"), f"{error.code}: {message}"
