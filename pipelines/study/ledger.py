"""A study's folder: what survives anything. JSON, every file written whole or not at all.

``study.json``                        what the study is
``tracking.json``                     its run in the tracking store
``cells/<cell>/fold2.json``           the outcome of a finished fold
``cells/<cell>/failed.json``          why a cell cannot be done
``multivariate/<task>_<table>.json``  PCA and OPLS-DA of all labelled runs of a task
``data/ images/ features/ memo/``     what cells learn from; each folder is a data set of its own

Every file holds the key of what it was computed from: labels, folds, rows, model, seed. One with another key does not
count, and is replaced.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ms2img.errors import UsageError
from ms2img.io.storage import Folder
from pipelines.study.cell import FoldOutcome

STUDY_NAME, TRACKING_NAME = "study.json", "tracking.json"
FORMAT = "ms2img study 1"


def key_of(parts: Mapping[str, Any]) -> str:
    """A short hash of everything a result depends on."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class StudyLedger:
    """The ledger in a folder (local or S3); `notice` is told, once, of a damaged file: it is computed again."""

    def __init__(self, out: Folder, notice: Callable[[str], None] = lambda _: None) -> None:
        self.out = out
        self._notice = notice
        self._damaged: set[str] = set()

    def about(self) -> dict[str, Any] | None:
        """What ``study.json`` says; None where there is no study. Raises `UsageError` for damage or another format."""
        if self.out.read(STUDY_NAME) is None:
            return None
        told = self._read(STUDY_NAME) or {}
        if told.get("format") != FORMAT:
            found = f"has format {told.get('format')!r}, expected '{FORMAT}'"
            raise UsageError(f"{self.out.location}: {STUDY_NAME}: {found}; give --out another folder")
        return told

    def begin(self, about: Mapping[str, Any]) -> None:
        """Write ``study.json``: from here on there is a study."""
        self.write(STUDY_NAME, {"format": FORMAT, **about})

    def fold(self, cell: str, fold: int, key: str) -> FoldOutcome | None:
        """A finished fold of this key; None where there is none that counts."""
        told = self._read(_fold_name(cell, fold))
        if told is None or told.get("key") != key:
            return None
        try:
            outcome = FoldOutcome(**told["outcome"])
            sound = all(math.isfinite(each) for values in outcome.probability.values() for each in values)
        except (TypeError, KeyError, AttributeError):
            sound = False
        if not sound:
            self._tell_damaged(_fold_name(cell, fold))
            return None
        return outcome

    def write_fold(self, cell: str, outcome: FoldOutcome, key: str) -> None:
        """A fold is finished."""
        self.write(_fold_name(cell, outcome.fold), {"key": key, "outcome": asdict(outcome)})

    def failure(self, cell: str, key: str) -> str | None:
        """Why the cell of this key failed when it was tried last."""
        told = self._read(f"cells/{cell}/failed.json") or {}
        return told.get("reason") if told.get("key") == key else None

    def write_failure(self, cell: str, reason: str, key: str) -> None:
        """Keep why a cell failed; the next run tries it again."""
        self.write(f"cells/{cell}/failed.json", {"key": key, "reason": reason})

    def clear_failure(self, cell: str) -> None:
        """The cell is done after all."""
        self.out.delete([f"cells/{cell}/failed.json"])

    def read(self, name: str, key: str) -> dict[str, Any] | None:
        """A keyed result beside the cells; None where there is none of this key."""
        told = self._read(name)
        return told["result"] if told is not None and told.get("key") == key and "result" in told else None

    def write_keyed(self, name: str, result: Mapping[str, Any], key: str) -> None:
        """Create or replace a keyed result."""
        self.write(name, {"key": key, "result": dict(result)})

    def read_json(self, name: str) -> dict[str, Any]:
        """A small file without a key; empty where there is none."""
        return self._read(name) or {}

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Create or replace a small file."""
        self.out.write(name, (json.dumps(content, indent=1) + "\n").encode())

    def _read(self, name: str) -> dict[str, Any] | None:
        content = self.out.read(name)
        if content is None:
            return None
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            self._tell_damaged(name)
            return None
        return told

    def _tell_damaged(self, name: str) -> None:
        if name not in self._damaged:
            self._damaged.add(name)
            self._notice(f"{self.out.location}: {name} is damaged; it is computed again")


def _fold_name(cell: str, fold: int) -> str:
    return f"cells/{cell}/fold{fold}.json"
