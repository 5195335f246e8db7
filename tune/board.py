"""Where trials on Ray workers post what happens and the driver reads it; light to import, as an actor must be."""

from __future__ import annotations

from typing import Any


class Board:
    """An actor that holds what workers post until the driver fetches it.

    Posting waits for no answer: an epoch is not held up by the driver, nor by the way to it.
    """

    def __init__(self) -> None:
        self._posted: list[tuple[str, Any]] = []

    def post(self, kind: str, what: Any) -> None:
        """Leave one thing: ``loaded``, ``started``, ``epoch`` or ``note``, and what the driver is told of it."""
        self._posted.append((kind, what))

    def fetch(self) -> list[tuple[str, Any]]:
        """What was posted since the last call, in the order of its arrival."""
        posted, self._posted = self._posted, []
        return posted
