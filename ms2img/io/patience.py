"""How long an object store is asked again before it counts as gone."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ms2img.errors import UsageError

VARIABLE = "MS2IMG_S3_PATIENCE"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """Bounds of one request with all its repetitions, all in seconds, all parts of `total`.

    Two minutes (ours) outlast the restart of a store and a minute of throttling, and end a job that will not recover
    while somebody still looks at it. One attempt may take a quarter of that, so a store that hangs is asked four times.
    """

    total: float = 120.0

    @classmethod
    def from_environment(cls) -> Patience:
        """The default, or the seconds that `VARIABLE` names. Raises `UsageError` where it is no such number."""
        given = os.environ.get(VARIABLE)
        if not given:
            return cls()
        try:
            total = float(given)
        except ValueError:
            total = math.nan
        if not 0 < total < math.inf:
            raise UsageError(f"{VARIABLE} is '{given}', expected seconds above 0")
        return cls(total)

    @property
    def first_pause(self) -> float:
        """Before the second attempt; by default a quarter of a second."""
        return self.total / 480

    @property
    def longest_pause(self) -> float:
        """What pauses grow to; by default ten seconds."""
        return self.total / 12

    @property
    def connect(self) -> float:
        """To wait for a connection."""
        return min(10.0, self.total / 4)

    @property
    def answer(self) -> float:
        """To wait for the next bytes of an answer."""
        return self.total / 4

    def retry(self, attempt: Callable[[], Result], is_passing: Callable[[Exception], bool]) -> Result:
        """The first result of `attempt`, called again while its error `is_passing` and time is left.

        Pauses double up to `longest_pause`, each cut to a random share of itself: a thousand workers that were
        throttled together do not come back together. Raises the last error.
        """
        started, pause = time.monotonic(), self.first_pause
        while True:
            try:
                return attempt()
            except Exception as error:
                drawn = random.uniform(pause / 2, pause)  # noqa: S311 - no secret
                if not is_passing(error) or time.monotonic() - started + drawn > self.total:
                    raise
            time.sleep(drawn)
            pause = min(2 * pause, self.longest_pause)
