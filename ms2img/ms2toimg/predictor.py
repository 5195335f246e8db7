"""Files or images in, probabilities out: what a loaded model does, one row at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ms2img.errors import RunError, UsageError
from ms2img.io.read import read_runs
from ms2img.io.sheet import Run
from ms2img.learn.predict import predict_probabilities
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.predict_rows import Answer, InputRow, failed, rows_of
from ms2img.ms2toimg.render_config import RenderConfig

#: Columns of an answer, in this order.
ANSWER = ("sample_id", "path", "probability", "label", "threshold", "model_version", "error")
#: A probability is rounded to what a decimal text carries exactly, so that CSV and memory hold the same number.
DECIMALS = 12


class Predictor:
    """A network together with the way its images are drawn.

    On a CPU every row is scored by itself, in float32 on one thread, so that its probability depends on nothing but its
    own content: not on other rows, their order or the machine's cores. A GPU scores many at once (see `score`).
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
            ``format`` where the file needs them, or ``image`` (uint8 [height, width] as array, nested list, or base64
            text of its bytes row by row); where a row has both, the image is scored. ``sample_id`` is optional; other
            columns are ignored.
        progress: called with the number of rows done since the last call.

        Returns
        -------
        One row a row of `frame`, same order and index; columns as `table` says.

        Raises
        ------
        UsageError: `frame` has neither a ``path`` nor an ``image`` column.
        """
        if not isinstance(frame, pd.DataFrame) or not {"path", "image"} & set(frame.columns):
            raise UsageError("predict needs a table with a column 'path' (run files) or 'image' (uint8 arrays)")
        rows = rows_of(frame)
        answers: dict[int, Answer] = {}
        for position, answer in self._answers(rows):
            answers[position] = answer
            if progress is not None:
                progress(1)
        return self.table(rows, answers).set_index(frame.index)

    def table(self, rows: Sequence[InputRow], answers: Mapping[int, Answer]) -> pd.DataFrame:
        """The answers by position as a table, a row a row.

        Columns ``sample_id, path, probability`` (of being active; NaN on error), ``label`` ("active" | "inactive",
        empty on error), ``threshold, model_version, error`` (empty, or "code: message").
        """
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
        return pd.DataFrame(columns, columns=list(ANSWER))

    def score(self, images: np.ndarray) -> np.ndarray:
        """Probability of being active, float64 [n], of uint8 images [n, height, width].

        On the network's own device: one by one on a CPU. A GPU takes them together; its answer then differs in the last
        digits of float32 from a CPU's, and from its own to another batch.
        """
        if next(self.network.parameters()).device.type == "cpu":
            # One thread: sums split over threads round differently from machine to machine.
            scored = [predict_probabilities(self.network, image[None], threads=1) for image in images]
            return np.round(np.concatenate([np.empty(0), *scored]), DECIMALS)
        return np.round(predict_probabilities(self.network, images), DECIMALS)

    def _answers(self, rows: Sequence[InputRow]) -> Iterator[tuple[int, Answer]]:
        """(position, answer) of every row, images first, then the runs file by file."""
        by_run: dict[Run, list[int]] = {}
        for row in rows:
            try:
                if row.given_image is not None:
                    yield row.position, self._answer(row.image(self.render.height, self.render.width))
                else:
                    by_run.setdefault(row.run(), []).append(row.position)
            except RunError as error:
                yield row.position, failed(error)
        for run, spectra in read_runs(list(by_run), self.render):
            answer = failed(spectra) if isinstance(spectra, RunError) else self._score_run(run, spectra)
            yield from ((position, answer) for position in by_run[run])

    def _score_run(self, run: Run, spectra: Any) -> Answer:
        try:
            return self._answer(image_row(run, spectra, self.render, source_fingerprint="")["image"])
        except RunError as error:
            return failed(error)

    def _answer(self, image: np.ndarray) -> Answer:
        return float(self.score(image[None])[0]), ""

    def _label(self, probability: float) -> str:
        if np.isnan(probability):
            return ""
        return "active" if probability >= self.threshold else "inactive"
