"""What is to be scored: a table's rows, each a run's file or a ready image."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ms2img.errors import Code, RunError
from ms2img.io.location import is_remote, stem
from ms2img.io.sheet import FORMATS, Run

Answer = tuple[float, str]  # probability, error: one of them is nan or empty


class InputRow:
    """One row of the table that is to be scored, absent values as None."""

    def __init__(self, position: int, record: Mapping[Any, Any]) -> None:
        self.position = position
        self.path = _text(record, "path")
        self.quant_path = _text(record, "quant_path")
        self.column = _text(record, "column")
        self.format = _text(record, "format")
        self.given_image = None if _absent(record.get("image")) else record["image"]
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

    def image(self, height: int, width: int) -> np.ndarray:
        """The row's image as uint8 [height, width]. Raises `RunError` for anything that is not 0-255 in that shape."""
        try:
            image = self._pixels(height, width)
        except ValueError:
            image = np.empty(0, dtype=object)  # rows of unequal length
        if image.shape != (height, width) or not np.issubdtype(image.dtype, np.integer):
            message = f"image is {image.dtype} {list(image.shape)}; this model needs uint8 {[height, width]}"
            raise RunError(Code.BAD_VALUE, message, path=self.path or "")
        if image.min() < 0 or image.max() > 255:
            message = f"image has values from {image.min()} to {image.max()}; uint8 holds 0 to 255"
            raise RunError(Code.BAD_VALUE, message, path=self.path or "")
        return image.astype(np.uint8)

    def _pixels(self, height: int, width: int) -> np.ndarray:
        """The image as it was given; text is base64 of its bytes, row by row."""
        if not isinstance(self.given_image, str):
            return np.asarray(self.given_image)
        try:
            content = base64.b64decode(self.given_image, validate=True)
        except binascii.Error:
            raise RunError(Code.BAD_VALUE, "image is a text that is not base64", path=self.path or "") from None
        if len(content) != height * width:
            message = f"image is base64 of {len(content)} bytes; this model needs {height} x {width} = {height * width}"
            raise RunError(Code.BAD_VALUE, message, path=self.path or "")
        return np.frombuffer(content, dtype=np.uint8).reshape(height, width)


def rows_of(frame: pd.DataFrame) -> list[InputRow]:
    """Every row of a table, in order."""
    return [InputRow(position, record) for position, record in enumerate(frame.to_dict("records"))]


def failed(error: RunError) -> Answer:
    """The answer to a row that cannot be scored."""
    message = f"{error.position}: {error.message}" if error.position else error.message
    return float("nan"), f"{error.code}: {message}"


def _located(path: str) -> str:
    return path if is_remote(path) else str(Path(path).absolute())


def _text(record: Mapping[Any, Any], key: str) -> str | None:
    value = record.get(key)
    return None if _absent(value) or not str(value) else str(value)


def _absent(value: Any) -> bool:
    return value is None or (not isinstance(value, list | tuple | np.ndarray) and bool(pd.isna(value)))
