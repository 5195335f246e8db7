"""The JSON file that describes a model's weights: read with a bound, since it may come from a registry of strangers.

What the bundles of all systems share: a description of known format, settings in it, and a version of the whole.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ms2img import __version__
from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.io.atomic import replace_file

DESCRIPTION_NAME = "bundle.json"
DESCRIPTION_BYTES = 2**20  # a description is some kilobytes; more is not ours
_READ_BYTES = 2**20

ConfigT = TypeVar("ConfigT", bound=Config)


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


def checked_description(folder: str | Path, kind: type[ConfigT], *, version: int, system: str) -> ConfigT:
    """The description in `folder` as a system has it, in this version of its format. Raises `UsageError`.

    Format and system are asked first: another format may well have other keys, and then the number is the message.
    """
    content, place = read_description(folder), Path(folder) / DESCRIPTION_NAME
    if content.get("format") != version or content.get("system") != system:
        raise UsageError(
            f"{place}: format {content.get('format')!r} of system {content.get('system')!r}; "
            f"this ms2img {__version__} reads format {version} of system '{system}' here"
        )
    return kind.checked(content, source=str(place))


def settings_of(kind: Any, values: Mapping[str, Any], folder: str | Path) -> Any:
    """Settings of a description; a value that they refuse is a `UsageError` that names the file."""
    try:
        return kind.from_dict(values)
    except (UsageError, TypeError) as error:
        raise UsageError(f"{Path(folder) / DESCRIPTION_NAME}: {kind.__name__}: {error}") from None


def content_version(folder: str | Path, names: Iterable[str]) -> str:
    """A short hash of a bundle's files: equal versions, equal answers, wherever the bundle was pulled from."""
    digest = hashlib.blake2b(digest_size=6)
    for name in names:
        try:
            with (Path(folder) / name).open("rb") as stream:
                while chunk := stream.read(_READ_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise UsageError(f"{Path(folder) / name}: not a model bundle: {error.strerror}") from None
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file of a bundle, at once."""
    with replace_file(path) as temporary:
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def finite_metrics(card: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics of a card, None for what is no number: JSON has none."""
    metrics: Mapping[str, float | None] = card.get("metrics", {})
    return {
        name: float(value) if value is not None and math.isfinite(value) else None for name, value in metrics.items()
    }
