"""A person moves the alias ``champion``, and says why: the reason stays with the version."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ms2img.errors import UsageError
from ms2img.tracking.catalogue import PROMOTED, TAG_PREFIX
from ms2img.tracking.registry import CHAMPION
from ms2img.tracking.store import Store


@dataclass(frozen=True)
class Promotion:
    """What was decided. `previous`: the version that was champion before, empty where there was none.

    `compared`: the numbers that the decision was made on, ready for JSON. `time`: ISO 8601, UTC.
    """

    name: str
    version: str
    previous: str
    reason: str
    by: str
    time: str
    compared: Mapping[str, Any]

    def tags(self) -> dict[str, str]:
        """The version's tags."""
        values = {
            "reason": self.reason,
            "by": self.by,
            "time": self.time,
            "over": self.previous,
            "compared": json.dumps(self.compared, sort_keys=True, allow_nan=False),
        }
        return {f"{TAG_PREFIX}{PROMOTED}{key}": value for key, value in values.items()}


def champion_of(store: Store, name: str) -> str:
    """The version that is champion of a registered model; empty where there is none."""
    with store.reporting():
        return str(store.client().get_registered_model(name).aliases.get(CHAMPION, ""))


def promote(
    store: Store, name: str, version: str, *, previous: str, reason: str, compared: Mapping[str, Any]
) -> Promotion:
    """Write the decision into the version's tags, then move the alias: it never moves without its reason.

    previous: the champion that the decision was made against. Raises `UsageError` when another one is there by now.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    promotion = Promotion(name, version, previous, reason, _who(), now, compared)
    if champion_of(store, name) != previous:
        raise UsageError(f"{name}: the {CHAMPION} has changed in this moment; look again, and decide again")
    with store.reporting():
        client = store.client()
        for key, value in promotion.tags().items():
            client.set_model_version_tag(name, version, key, value)
        client.set_registered_model_alias(name, CHAMPION, version)
    return promotion


def _who() -> str:
    """Whom the tracking server knows, else the user of this machine."""
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid {os.getuid()}"
