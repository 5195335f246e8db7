"""What MLflow is given: a table of ion images, or of folders of them, in; a table with a vector an ion out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ms2img.deepion.images import read_images
from ms2img.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.deepion.predictor import EmbeddingPredictor

#: Columns of an answer, in this order.
OF_IMAGES = ("embedding", "model_version", "error")
OF_FOLDERS = ("path", "mz", *OF_IMAGES)


class FramePredictor:
    """``predict(frame)``, as MLflow's pyfunc asks for it."""

    def __init__(self, predictor: EmbeddingPredictor) -> None:
        self.predictor = predictor
        self.model_version = predictor.model_version

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The encoder's vectors.

        Parameters
        ----------
        frame: has ``image``, an ion image a row, H x W numbers from 0 to 1 (an array or nested lists, of any size); or
            ``path``, a folder of ion images a row, as ``ms2img deepion prepare`` writes one. Others are ignored.

        Returns
        -------
        Of images: the columns of `OF_IMAGES`, a row each, same order and index. Of folders: the columns of
        `OF_FOLDERS`, a row an ion of each. ``embedding`` is a list of numbers, empty on an error; ``error`` is empty,
        or "code: message".

        Raises
        ------
        UsageError: `frame` has neither column, or both.
        """
        import pandas as pd

        columns = set(frame.columns) & {"image", "path"} if isinstance(frame, pd.DataFrame) else set()
        if len(columns) != 1:
            raise UsageError("predict needs a table with a column 'image' or a column 'path'")
        if columns == {"image"}:
            return pd.DataFrame(map(self._image, frame["image"]), columns=list(OF_IMAGES), index=frame.index)
        return pd.DataFrame(
            [row for path in frame["path"] for row in self._folder(str(path))], columns=list(OF_FOLDERS)
        )

    def _image(self, value: Any) -> tuple[list[float], str, str]:
        try:
            image = np.array(list(value), dtype=np.float32)
        except (TypeError, ValueError):
            image = np.empty(0, np.float32)
        if image.ndim != 2 or not image.size:
            return [], self.model_version, "bad-value: expected an image of H x W numbers"
        try:
            return self.predictor.embed(image[None])[0].tolist(), self.model_version, ""
        except UsageError as error:
            return [], self.model_version, f"bad-value: {error}"

    def _folder(self, path: str) -> list[tuple[Any, ...]]:
        try:
            ions = read_images(path)
        except UsageError as error:
            return [(path, float("nan"), [], self.model_version, f"unreadable: {error}")]
        vectors = self.predictor.embed(ions.images)
        return [
            (path, mz, vector.tolist(), self.model_version, "") for mz, vector in zip(ions.mz, vectors, strict=True)
        ]
