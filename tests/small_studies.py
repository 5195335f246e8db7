"""A small study as a file, and what must not depend on how it was run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from ms2img.io.storage import folder

STUDY: dict[str, Any] = {
    "name": "small (SIMULATED)",
    "data": {
        "plants": {"simulate": {"accessions": 30, "replicates": 1}},
        "scaled": {"drift": {"of": "plants", "intensity_scale": 10}},
    },
    "tasks": {"dpph": {"data": "plants", "assay": "dpph"}, "tpc": {"data": "plants", "assay": "tpc"}},
    "models": {"image": ["cnn-paper", "forest"], "cosine": ["pca"], "memo": ["forest"]},
    "resolutions": ["15x14", "30x28"],
    "seeds": [0, 1],
    "folds": 2,
    "epochs": 2,
    "conditions": {"x 10": {"kind": "intensity_scale", "level": 10, "data": {"plants": "scaled"}}},
}


def write(path: Path, **changed: Any) -> str:
    """The study, some of its keys replaced, as a file in a new folder `path`."""
    path.mkdir(parents=True, exist_ok=True)
    file = path / "study.yaml"
    file.write_text(yaml.safe_dump({**STUDY, **changed}))
    return str(file)


def outcomes(out: str | Path) -> dict[str, Mapping[str, Any]]:
    """Every finished fold, by its name in the ledger, without the times."""
    found, store = {}, folder(str(out))
    for name in store.names("cells/"):
        if fnmatch(name, "cells/*/fold*.json"):
            told = json.loads(store.read(name) or b"")
            told["outcome"].pop("seconds")
            found[name.removeprefix("cells/")] = told
    return found
