"""Our models as an MLflow pyfunc: named loader and plain data, neither pickle nor code inside.

MLflow's model file names this module as its loader, and MLflow calls `_load_pyfunc` with the bundle's folder. Which
system made the bundle is looked up in a closed table (`ms2img.tracking.systems`); nothing in an artefact is ever
imported or executed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from ms2img import __version__
from ms2img.errors import UsageError
from ms2img.io.description import DESCRIPTION_NAME
from ms2img.tracking import systems

DATA_NAME = "bundle"  # MLflow keeps it at data/bundle in the model's folder


def system_of(folder: str | Path) -> Any:
    """The module that made and loads the bundle in `folder`. Raises `UsageError` when it is not a bundle we know."""
    return systems.system_of(folder).load()


def load_bundle(folder: str | Path, *, system: str = systems.DEFAULT) -> Any:
    """The predictor of the bundle in `folder`, as `system` has it.

    Raises `UsageError` for a bad bundle, and for one that another system made, naming the command that takes it.
    """
    found = systems.name_of(folder)
    if found != system:
        command = systems.SYSTEMS[found].taken_by
        raise UsageError(f"{folder}: a model of {found}, not of {system}; '{command}' takes it")
    return system_of(folder).load_bundle(folder)


def bundle_version(folder: str | Path) -> str:
    """What the bundle's answers carry as ``model_version``."""
    return str(system_of(folder).bundle_version(folder))


def read_card(folder: str | Path) -> dict[str, Any]:
    """The bundle's checked card: its subject, preset, simulated, fingerprints, metrics and more; and its ``system``."""
    description = system_of(folder).read_checked_description(folder)
    return {**description.card.model_dump(mode="json"), "system": description.system}


def load_pyfunc(folder: str | Path) -> Any:
    """What answers ``predict(frame)`` for the bundle in `folder`, whichever system made it."""
    system = systems.system_of(folder)
    return getattr(system.load(), system.pyfunc)(folder)


def _load_pyfunc(data_path: str) -> Any:
    """MLflow's entry; the name is MLflow's."""
    return load_pyfunc(data_path)


def save_model(
    folder: str | Path,
    bundle: str | Path,
    *,
    model_id: str | None = None,
    run_id: str | None = None,
    loader: str = __name__,
) -> None:
    """Write an MLflow model folder around a copy of the bundle in `bundle`; other files there are left behind.

    loader: module of this package that MLflow loads it by.
    Requirements are stated, not inferred: inferring would load the model in another process and ask package indexes.
    """
    import mlflow
    from mlflow.models import Model

    system = system_of(bundle)
    description = system.read_checked_description(bundle)
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        staged = Path(scratch) / DATA_NAME
        staged.mkdir()
        for name in system.FILE_NAMES:
            shutil.copyfile(Path(bundle) / name, staged / name)
        mlflow.pyfunc.save_model(
            path=str(folder),
            loader_module=loader,
            data_path=str(staged),
            mlflow_model=Model(model_id=model_id, run_id=run_id),
            pip_requirements=requirements(),
            metadata={"ms2img.system": description.system, "ms2img.format": str(description.format)},
        )


def requirements() -> list[str]:
    """What a process that loads the model has to have installed."""
    return [f"ms2img[tracking]=={__version__}", f"torch=={torch.__version__.partition('+')[0]}"]


def find_bundle(folder: str | Path) -> Path | None:
    """The bundle in `folder`: the folder itself, or the data of an MLflow model folder; None if there is none."""
    candidates = (Path(folder), Path(folder) / "data" / DATA_NAME)
    return next((each for each in candidates if (each / DESCRIPTION_NAME).is_file()), None)
