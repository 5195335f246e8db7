"""How many bad runs a job may have before it counts as failed, and how they are told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

from ms2img.config import Config
from pipelines.command import Output

SHOWN = 5  # bad runs named on the terminal; errors.parquet has all


class FailureLimit(Config):
    """The option ``--max-failures`` of a job over many runs."""

    max_failures: str = Field(
        default="0", description="exit with 3 only when more runs failed than this: a number, or a share like 5%"
    )

    @field_validator("max_failures", mode="before")
    @classmethod
    def _number_or_share(cls, value: object) -> str:
        text = str(value).strip()
        if not re.fullmatch(r"\d+|\d+(\.\d+)?\s*%", text) or (text.endswith("%") and float(text[:-1]) > 100):
            raise ValueError("expected a number of runs like 10, or a share of them like 5%")
        return text.replace(" ", "")

    def failures_allowed(self, n_runs: int) -> int:
        """How many of `n_runs` runs may fail."""
        text = self.max_failures
        return int(n_runs * float(text[:-1]) / 100) if text.endswith("%") else int(text)


def warn_of_failures(output: Output, errors: Sequence[Mapping[str, Any]], where: str) -> None:
    """Name the first bad runs, a line each: rows of ``errors.parquet``, which lies at `where`."""
    for row in errors[:SHOWN]:
        place = f"{row['path']}, {row['position']}" if row["position"] else row["path"]
        output.warn(f"{row['sample_id']}: {place}: {row['message']} [{row['code']}]")
    if len(errors) > SHOWN:
        output.warn(f"... and {len(errors) - SHOWN} more in {where}/errors.parquet")
