"""Where trainings on Ray workers post their epochs and the driver reads them; light to import, as an actor must be."""

from __future__ import annotations

EpochRow = dict[str, float]


class FoldBoard:
    """An actor that holds epoch rows until the driver fetches them, and its request to stop."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, EpochRow]] = []
        self._stop = False

    def post(self, fold: int, row: EpochRow) -> bool:
        """Leave one epoch's row; the answer is whether training should stop."""
        self._rows.append((fold, row))
        return self._stop

    def fetch(self) -> list[tuple[int, EpochRow]]:
        """The rows since the last call, in the order of posting."""
        rows, self._rows = self._rows, []
        return rows

    def stop(self) -> None:
        """Ask every training to stop at the end of its epoch."""
        self._stop = True
