"""The JSON file that describes a model's weights: read with a bound, since it may come from a registry of strangers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ms2img.errors import UsageError

DESCRIPTION_NAME = "bundle.json"
DESCRIPTION_BYTES = 2**20  # a description is some kilobytes; more is not ours


def read_description(folder: str | Path) -> dict[str, Any]:
    """The JSON object in the ``bundle.json`` of `folder`; its keys are for the caller to check.

    Raises `UsageError` when there is none, or it is too large or no JSON object.
    """
    place = Path(folder) / DESCRIPTION_NAME
    try:
        with place.open("rb") as stream:
            text = stream.read(DESCRIPTION_BYTES + 1)
        if len(text) > DESCRIPTION_BYTES:
            raise UsageError(f"{place}: larger than {DESCRIPTION_BYTES} bytes; not a model bundle")
        content = json.loads(text)
    except OSError as error:
        raise UsageError(f"{place}: not a model bundle: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: not a model bundle: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{place}: not a model bundle: expected a JSON object")
    return content
