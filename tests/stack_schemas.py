"""A document against an OpenAPI v3 structural schema, as the API server checks one that forbids unknown fields."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's where it is there: ten times as fast

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


def schemas() -> Path:
    """The folder with KubeRay's and Compose's schemas, or a skip that says which variable names it."""
    found = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared")) / "schemas"
    if not found.is_dir():
        pytest.skip(f"no schemas at {found}; set MS2IMG_SHARED to the folder that holds schemas/")
    return found


@cache
def ray_schema(kind: str) -> dict[str, Any]:
    """The schema of `ray.io/v1` of a custom resource definition."""
    text = (schemas() / f"ray.io_{kind.lower()}s.yaml").read_text(encoding="utf-8")
    definition = yaml.load(text, Loader=SAFE)  # noqa: S506
    (found,) = (each for each in definition["spec"]["versions"] if each["name"] == "v1")
    return found["schema"]["openAPIV3Schema"]


def violations(value: Any, schema: dict[str, Any], where: str = "") -> Iterator[str]:
    """What the document breaks, each with its place: unknown and missing fields, types, enumerations, patterns."""
    if "anyOf" in schema:
        if not any(_is_of(value, each["type"]) for each in schema["anyOf"]):
            yield f"{where}: {value!r} is none of {[each['type'] for each in schema['anyOf']]}"
    elif "type" in schema and not _is_of(value, schema["type"]):
        yield f"{where}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], str(value)):
        yield f"{where}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, dict):
        yield from _of_object(value, schema, where)
    if isinstance(value, list):
        for number, inner in enumerate(value):
            yield from violations(inner, schema["items"], f"{where}/{number}")


def _of_object(value: dict[str, Any], schema: dict[str, Any], where: str) -> Iterator[str]:
    known = schema.get("properties", {})
    yield from (f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value)
    for name, inner in value.items():
        if name in known:
            yield from violations(inner, known[name], f"{where}/{name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from violations(inner, schema["additionalProperties"], f"{where}/{name}")
        elif where != "/metadata":  # the API server's own part, which the definition leaves open
            yield f"{where}: unknown field {name}"


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind])
