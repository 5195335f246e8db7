"""Typed, closed configuration: one frozen model a job, unknown keys refused by the nearest known name."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ms2img.errors import UsageError


class Config(BaseModel):
    """Base of every configuration.

    A value comes from the command line, else from the YAML file, else from the field's default; see `resolve`.
    Field descriptions are the ``--help`` texts, so they state the unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def resolve(cls, given: Mapping[str, Any], yaml_path: str | Path | None = None) -> Self:
        """Merge YAML and given values (the latter win) and validate.

        Raises `UsageError` naming the key, its source and, for an unknown key, the nearest known one.
        """
        from_file = load_yaml(yaml_path) if yaml_path is not None else {}
        for key in from_file:
            cls._require_known(key, source=str(yaml_path))
        return cls.checked({**from_file, **given}, source=str(yaml_path) if yaml_path else "command line")

    @classmethod
    def checked(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Validate `values`; a violation is a one-line `UsageError` that names `source` and the key."""
        for key in values:
            cls._require_known(key, source=source)
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "(all)"
            reason = str(first["msg"]).removeprefix("Value error, ")
            raise UsageError(f"{source}: {key}: {reason}; got {first['input']!r}") from None

    @classmethod
    def _require_known(cls, key: str, *, source: str) -> None:
        known = list(cls.model_fields)
        if key in known:
            return
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        raise UsageError(f"{source}: unknown key '{key}'; did you mean '{near[0]}'?" if near else f"{source}: '{key}'")

    def fingerprint(self) -> str:
        """A short stable hash of all values: equal configs, equal fingerprints, on any machine."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping of option names to values; dashes in names are taken as underscores."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot read the config file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start}: the config file is not UTF-8 text") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{place}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected 'option: value' lines, found a {type(content).__name__}")
    return {str(key).replace("-", "_"): value for key, value in content.items()}
