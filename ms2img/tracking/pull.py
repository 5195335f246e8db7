"""From what a user calls a model (a registry URI, a run id, a folder) to a bundle on this machine."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ms2img.errors import UsageError
from ms2img.io.description import DESCRIPTION_NAME
from ms2img.tracking import flavor
from ms2img.tracking.catalogue import near, our_models, require_model, versions_of
from ms2img.tracking.store import Store, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

open_existing = functools.partial(open_store, create=False)

_MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))/?")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_EXPECTED = "expected models:/NAME@ALIAS, models:/NAME/VERSION, a run id or the folder of a bundle"


@dataclass(frozen=True)
class Source:
    """Where a model reference leads. ``uri`` is for messages; the rest is None where it does not apply."""

    uri: str
    name: str | None = None
    version: str | None = None
    run_id: str | None = None
    artifact_uri: str | None = None
    folder: Path | None = None


@contextmanager
def pulled(model: str, *, store: Callable[[], Store] = open_existing) -> Iterator[tuple[Path, Source]]:
    """Yield the local bundle folder of `model` and where it came from; a downloaded copy is removed afterwards.

    A folder needs no store, and so no MLflow. Raises `UsageError` when there is no such model, naming near ones.
    """
    source = find(model, store=store)
    if source.folder is not None:
        yield source.folder, source
        return
    if source.artifact_uri is None:
        raise UsageError(f"run {model} registered no model; 'ms2img models' lists those there are")
    opened = store()
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        with opened.reporting():
            folder = _download(opened, source.artifact_uri, scratch)
        bundle = flavor.find_bundle(folder)
        if bundle is None:
            raise UsageError(f"{source.uri}: not a model of ms2img (no {DESCRIPTION_NAME} in its artefact)")
        yield bundle, source


def find(model: str, *, store: Callable[[], Store] = open_existing) -> Source:
    """Where `model` leads: a folder, or an artefact and run of the store. Raises `UsageError` as `pulled` does."""
    if Path(model).is_dir():
        folder = flavor.find_bundle(model)
        if folder is None:
            raise UsageError(f"{model}: a folder without a model bundle ({DESCRIPTION_NAME})")
        return Source(uri=model, folder=folder)
    if _RUN_ID.fullmatch(model):
        return _of_run(store(), model)
    match = _MODEL_URI.fullmatch(model)
    if match is not None:
        return _of_registry(store(), match["name"], alias=match["alias"], version=match["version"])
    if model.startswith("models:") or "/" not in model:
        opened = store()
        with opened.reporting():
            known = [f"models:/{each.name}@{alias}" for each in our_models(opened.client()) for alias in each.aliases]
        raise UsageError(f"model '{model}': {_EXPECTED}{near(model, known)}")
    raise UsageError(f"model '{model}': no such folder; {_EXPECTED}")


def _of_registry(store: Store, name: str, *, alias: str | None, version: str | None) -> Source:
    with store.reporting():
        client = store.client()
        registered = require_model(store, name, our_models(client))
        name = str(registered.name)
        aliases = {str(key): str(value) for key, value in registered.aliases.items()}
        if alias is not None:
            if alias not in aliases:
                raise UsageError(f"{name} has no alias '{alias}'; {_choice('alias', sorted(aliases))}")
            version = aliases[alias]
        versions = {str(each.version): each for each in versions_of(client, name)}
        if version not in versions:
            known = sorted(versions, key=int)
            raise UsageError(f"{name} has no version {version}; {_choice('version', known)}")
        return _of_version(client, versions[version])


def _of_version(client: MlflowClient, version: ModelVersion) -> Source:
    name, number = str(version.name), str(version.version)
    return Source(
        uri=f"models:/{name}/{number}",
        name=name,
        version=number,
        run_id=version.run_id or None,
        artifact_uri=str(client.get_model_version_download_uri(name, number)),
    )


def _of_run(store: Store, run_id: str) -> Source:
    """The model that a run registered last; a run without one is still a source, of its record."""
    from mlflow.exceptions import MlflowException

    client = store.client()
    try:
        client.get_run(run_id)
    except MlflowException:
        raise UsageError(f"{store.shown()}: no run {run_id} there") from None
    with store.reporting():
        versions = client.search_model_versions(f"run_id = '{run_id}'")
        if not versions:
            return Source(uri=run_id, run_id=run_id)
        return _of_version(client, max(versions, key=lambda version: version.creation_timestamp))


def _download(store: Store, artifact_uri: str, scratch: str) -> Path:
    """The artefact as a local folder: the store's own where that is on this machine, else a copy in `scratch`."""
    import mlflow

    local = artifact_uri.startswith(("file:", "/"))
    return Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=artifact_uri,
            dst_path=None if local else scratch,
            tracking_uri=store.tracking_uri,
            registry_uri=store.registry_uri,
        )
    )


def _choice(what: str, known: list[str]) -> str:
    return f"its {what} is {known[0]}" if len(known) == 1 else f"known: {', '.join(known) or 'none'}"
