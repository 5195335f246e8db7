"""Which models the store holds: the registered ones that are ours, their versions, and what their tags say."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ms2img.errors import UsageError
from ms2img.tracking.store import Store
from ms2img.tracking.systems import DEFAULT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

PREFIX = "ms2img-"
SIMULATED_PREFIX = "ms2img-sim-"
TAG_PREFIX = "ms2img."
PROMOTED = "promoted_"  # begins the tags of a promotion, behind the prefix
_PAGE = 1000  # rows a call


@dataclass(frozen=True)
class ModelRow:
    """One registered version, as ``ms2img models`` lists it.

    samples, labels, folds: fingerprints of the images it was trained on, of their classes, and of what was held out
    together. bundle: what its predictions carry as ``model_version``. created: ISO 8601, UTC. promoted: why a person
    last made it champion (reason, by, time, over, compared), empty where nobody did.

    system: "ms2toimg", a model of an assay, judged by ``auc_mean``; "massformer", a model of a library's spectra,
    judged by ``cosine_mean``, with its kind and what it was fine-tuned from; or "deepion", an encoder of a section's
    ion images, judged by ``retrieval_mean``, with its mode. What does not apply is empty, or None.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    assay: str
    auc_mean: float | None
    auc_sd: float | None
    preset: str
    simulated: bool
    samples: str
    labels: str
    folds: str
    bundle: str
    run_id: str
    created: str
    promoted: dict[str, str]
    system: str
    library: str
    kind: str
    cosine_mean: float | None
    cosine_sd: float | None
    parent: str
    section: str
    mode: str
    retrieval_mean: float | None
    retrieval_sd: float | None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON types."""
        return {**asdict(self), "aliases": list(self.aliases)}


def list_models(store: Store, name: str | None = None) -> list[ModelRow]:
    """Every version of our registered models, or of model `name`, by name, the newest version first.

    Raises `UsageError` for an unknown `name`, naming near ones.
    """
    with store.reporting():
        client = store.client()
        models = our_models(client)
        if name is not None:
            models = [require_model(store, name, models)]
        return [
            _row(version, model)
            for model in sorted(models, key=lambda model: str(model.name))
            for version in sorted(versions_of(client, model.name), key=lambda version: -int(version.version))
        ]


def require_model(store: Store, name: str, models: Sequence[RegisteredModel]) -> RegisteredModel:
    """The one of `models` called `name`, also without its prefix. Raises `UsageError` naming near ones."""
    by_name = {str(model.name): model for model in models}
    for candidate in (name, f"{PREFIX}{name}", f"{SIMULATED_PREFIX}{name}"):
        if candidate in by_name:
            return by_name[candidate]
    raise UsageError(f"{store.shown()}: no model '{name}'{near(name, list(by_name))}")


def near(name: str, known: Sequence[str]) -> str:
    """The end of an error message: the known names nearest to `name`, or that there are none."""
    if not known:
        return "; no model of ms2img is registered there yet"
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    return f"; did you mean {' or '.join(nearest)}?"


def our_models(client: MlflowClient) -> list[RegisteredModel]:
    """Every registered model whose name starts with our prefix."""
    found, token = [], None
    while True:
        page = client.search_registered_models(f"name LIKE '{PREFIX}%'", max_results=_PAGE, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def versions_of(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Every version of one registered model, in no particular order, aliases not filled in."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=_PAGE, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def our_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that ms2img set, without their prefix."""
    return {key.removeprefix(TAG_PREFIX): value for key, value in tags.items() if key.startswith(TAG_PREFIX)}


def number(text: str | None) -> float | None:
    """A tag's value as a finite number; None where it is none."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _row(version: ModelVersion, model: RegisteredModel) -> ModelRow:
    tags = our_tags(version.tags)
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return ModelRow(
        name=str(version.name),
        version=str(version.version),
        aliases=tuple(sorted(alias for alias, at in model.aliases.items() if str(at) == str(version.version))),
        assay=tags.get("assay", ""),
        auc_mean=number(tags.get("auc_mean")),
        auc_sd=number(tags.get("auc_sd")),
        preset=tags.get("preset", ""),
        simulated=tags.get("simulated") == "true",
        samples=tags.get("samples", ""),
        labels=tags.get("labels", ""),
        folds=tags.get("folds", ""),
        bundle=tags.get("bundle", ""),
        run_id=version.run_id or "",
        created=created.isoformat(timespec="seconds"),
        promoted={key.removeprefix(PROMOTED): value for key, value in sorted(tags.items()) if key.startswith(PROMOTED)},
        system=tags.get("system", DEFAULT),
        library=tags.get("library", ""),
        kind=tags.get("kind", ""),
        cosine_mean=number(tags.get("cosine_mean")),
        cosine_sd=number(tags.get("cosine_sd")),
        parent=tags.get("parent", ""),
        section=tags.get("section", ""),
        mode=tags.get("mode", ""),
        retrieval_mean=number(tags.get("retrieval_mean")),
        retrieval_sd=number(tags.get("retrieval_sd")),
    )
