"""The systems whose models are registered: how each loads, what it is named after, and by which figure it is compared.

A closed table: nothing in an artefact is ever imported or executed. This is the only file of the tracking room that
knows the systems.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms2img.errors import UsageError
from ms2img.io.description import DESCRIPTION_NAME, read_description


@dataclass(frozen=True)
class System:
    """A system's models in the registry.

    module: has ``load_bundle(folder)``, ``bundle_version``, ``read_checked_description`` and ``FILE_NAMES``.
    pyfunc: the function of the module whose answer MLflow calls ``predict(frame)`` of.
    subject: the field of the card that a registered model is named after, one name a subject; `infix` comes before it.
    measure: the metric that decides between two versions, higher is better; `shown`: in words, `figures`: its plural.
    data: what must be equal before it may be compared, by fingerprint, in words.
    taken_by: the command that a model is given to.
    """

    module: str
    pyfunc: str
    subject: str
    infix: str
    measure: str
    shown: str
    figures: str
    data: Mapping[str, str]
    taken_by: str

    def load(self) -> Any:
        """The module."""
        return importlib.import_module(self.module)


DEFAULT = "ms2toimg"  # of versions registered before there was another
#: By the name in ``bundle.json``.
SYSTEMS = {
    DEFAULT: System(
        module="ms2img.ms2toimg.bundle",
        pyfunc="load_bundle",
        subject="assay",
        infix="",
        measure="auc_mean",
        shown="mean AUC",
        figures="AUCs",
        data={"samples": "samples", "labels": "labels", "folds": "folds"},
        taken_by="ms2img predict",
    ),
    "massformer": System(
        module="ms2img.massformer.bundle",
        pyfunc="load_pyfunc",
        subject="library",
        infix="massformer-",
        measure="cosine_mean",
        shown="mean cosine",
        figures="cosines",
        data={"samples": "library", "labels": "binning", "folds": "split"},
        taken_by="ms2img massformer predict",
    ),
    "deepion": System(
        module="ms2img.deepion.bundle",
        pyfunc="load_pyfunc",
        subject="section",
        infix="deepion-",
        measure="retrieval_mean",
        shown="mean retrieval",
        figures="retrievals",
        data={"samples": "ion images", "labels": "views"},
        taken_by="ms2img deepion embed",
    ),
}


def system_of(folder: str | Path) -> System:
    """The system that made the bundle in `folder`. Raises `UsageError` when it is not a bundle we know."""
    return SYSTEMS[name_of(folder)]


def name_of(folder: str | Path) -> str:
    """The name of the system that made the bundle in `folder`. Raises `UsageError` as `system_of`."""
    name = read_description(folder).get("system")
    if not isinstance(name, str) or name not in SYSTEMS:
        place = Path(folder) / DESCRIPTION_NAME
        raise UsageError(f"{place}: made by system {name!r}; this ms2img knows {', '.join(SYSTEMS)}")
    return name
