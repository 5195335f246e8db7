"""Registered models: a name a subject, a version a training, and the alias ``champion``, moved with care.

A subject is an assay, a library or a section.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms2img.errors import UsageError
from ms2img.tracking import flavor
from ms2img.tracking.catalogue import PREFIX, SIMULATED_PREFIX, TAG_PREFIX, number, our_tags, versions_of
from ms2img.tracking.store import Store
from ms2img.tracking.systems import DEFAULT, SYSTEMS, System

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import RegisteredModel

CHAMPION = "champion"
_SLUG_LENGTH = 60  # characters of a subject's name in a model's name (ours)


@dataclass(frozen=True)
class Registration:
    """A new version, and whether and why it is champion now."""

    name: str
    version: str
    champion: bool
    decision: str

    @property
    def uri(self) -> str:
        """``models:/<name>/<version>``."""
        return f"models:/{self.name}/{self.version}"


def register(store: Store, bundle: str | Path, *, run_id: str) -> Registration:
    """Log the bundle folder as a model of run `run_id`, register it, and let the champion rule decide."""
    card = flavor.read_card(bundle)
    system = SYSTEMS[card["system"]]
    tags = _version_tags(system, card, flavor.bundle_version(bundle))
    with store.reporting():
        client = store.client()
        logged = _log_model(store, client, Path(bundle), run_id=run_id, name=_slug(card[system.subject]))
        name = _registered_name(client, system, card[system.subject], simulated=card["simulated"])
        # Not models:/<id>, which MLflow's SQL registry would look up in the global store instead of this one.
        version = client.create_model_version(
            name, source=logged.artifact_location, run_id=run_id, tags=tags, model_id=logged.model_id
        )
        new = str(version.version)
        champion, decision = _decide(client, name, new)
        if champion:
            client.set_registered_model_alias(name, CHAMPION, new)
    return Registration(name=name, version=new, champion=champion, decision=decision)


def champion_rule(
    name: str,
    new: Mapping[str, str],
    *,
    first: bool,
    current: Mapping[str, str] | None,
    new_version: str,
    current_version: str | None,
) -> tuple[bool, str]:
    """Whether the alias moves to the new version, and the reason for a person.

    It moves to a first version; and to one made of the same data as the current champion (`System.data`) whose measure
    (mean AUC, cosine or retrieval) is at least the champion's. Otherwise a person compares and promotes.

    Parameters
    ----------
    new, current: version tags (without prefix) of the new version and of the champion; None where there is none.
    first: no other version came before.
    """
    system = SYSTEMS[new.get("system", DEFAULT)]
    by_hand = f"to promote: ms2img models promote models:/{name}/{new_version} --reason WHY"
    if current is None:
        if first:
            return True, f"{CHAMPION}: the first version of {name}"
        return False, f"no {CHAMPION} is set, and this is not the first version; {by_hand}"
    stays = f"{CHAMPION} stays version {current_version}"
    differing = [said for key, said in system.data.items() if not new.get(key) or new.get(key) != current.get(key)]
    if differing:
        return False, f"{stays}: other {' and '.join(differing)}, so the {system.figures} do not compare; {by_hand}"
    ours, theirs = number(new.get(system.measure)), number(current.get(system.measure))
    if ours is None or theirs is None:
        return False, f"{stays}: a {system.shown} is missing; {by_hand}"
    *others, last = system.data.values()
    compared = f"same {', '.join(others)} and {last}, {system.shown} {ours:.4f}"
    if ours < theirs:
        return False, f"{stays}: {compared} is below its {theirs:.4f}; {by_hand}"
    return True, f"{CHAMPION} moved from version {current_version}: {compared} is not below its {theirs:.4f}"


def _log_model(store: Store, client: MlflowClient, bundle: Path, *, run_id: str, name: str) -> LoggedModel:
    """Write the bundle into the store as a model that run `run_id` put out."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    logged = client.create_logged_model(store.experiment_id(), name=name or "model", source_run_id=run_id)
    model_id = str(logged.model_id)
    try:
        with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
            flavor.save_model(Path(scratch) / "model", bundle, model_id=model_id, run_id=run_id)
            client.log_model_artifacts(model_id, str(Path(scratch) / "model"))
    except BaseException:
        client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    return logged


def _registered_name(client: MlflowClient, system: System, subject: str, *, simulated: bool) -> str:
    """The registered model of this assay, library or section, made if absent.

    Two subjects whose names reduce to the same letters must not share a model, so a name that another one holds gets
    a hash of this one's name appended.
    """
    slug = f"{system.infix}{_slug(subject)}".strip("-")
    if not simulated and f"{slug}-".startswith("sim-"):
        slug = f"{system.subject}-{slug}"  # ms2img-sim-... is for what is simulated alone
    digest = hashlib.blake2b(subject.encode(), digest_size=3).hexdigest()
    unnamed = f"{system.infix}{system.subject}-{digest}"
    plain = f"{SIMULATED_PREFIX if simulated else PREFIX}{slug if _slug(subject) else unnamed}"
    for name in (plain, f"{plain}-{digest}"):
        owner = _find_model(client, name) or _create_model(client, name, {system.subject: subject})
        if owner.tags.get(f"{TAG_PREFIX}{system.subject}") == subject:
            return name
    taken = f"registered models '{plain}' and '{plain}-{digest}' belong to others; rename or delete one of them"
    raise UsageError(f"{system.subject} '{subject}': {taken}")


def _find_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _create_model(client: MlflowClient, name: str, tags: Mapping[str, str]) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    try:
        return client.create_registered_model(name, tags={f"{TAG_PREFIX}{key}": value for key, value in tags.items()})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_registered_model(name)  # another job was faster


def _decide(client: MlflowClient, name: str, new: str) -> tuple[bool, str]:
    versions = {str(version.version): version for version in versions_of(client, name)}
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    current = versions.get(str(champion)) if champion is not None else None
    return champion_rule(
        name,
        our_tags(versions[new].tags),
        first=all(int(other) >= int(new) for other in versions),
        current=None if current is None else our_tags(current.tags),
        new_version=new,
        current_version=None if current is None else str(current.version),
    )


#: Fields of a card that a version is listed by where it has them.
_LISTED = ("kind", "parent", "mode")


def _version_tags(system: System, card: Mapping[str, Any], model_version: str) -> dict[str, str]:
    """What a version is listed and compared by, as tags: one search then answers for all versions."""
    tags = {
        "system": card["system"],
        system.subject: card[system.subject],
        "preset": card["preset"],
        "simulated": json.dumps(card["simulated"]),
        "bundle": model_version,
        **{key: card["fingerprints"][key] for key in system.data},
        **{key: card[key] for key in _LISTED if card.get(key)},
        **{key: repr(float(value)) for key, value in card["metrics"].items() if value is not None},
    }
    return {f"{TAG_PREFIX}{key}": str(value) for key, value in tags.items()}


def _slug(subject: str) -> str:
    """A subject's name in the letters a model's name may have: a-z, 0-9 and single dashes between them."""
    return re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
