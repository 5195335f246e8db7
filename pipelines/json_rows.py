"""Tables as JSON has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows ready for JSON: no NaN, no numpy."""
    rows = []
    for row in table.to_dict("records"):
        values = {str(key): value.item() if hasattr(value, "item") else value for key, value in row.items()}
        rows.append(
            {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
        )
    return rows
