"""A model in MLflow's own scoring server: the folder it serves, its command, and answers that JSON can say."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ms2img.errors import UsageError
from ms2img.tracking import flavor
from ms2img.tracking.store import prepare_mlflow

NEEDED = ("fastapi", "uvicorn")  # by MLflow's scoring server; a slim MLflow has them not


def require_server() -> None:
    """Raise `UsageError` unless MLflow's scoring server can be started here."""
    prepare_mlflow()
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"MLflow's scoring server needs {name}: pip install 'ms2img[predict]'")
    if shutil.which("bash") is None:
        raise UsageError("MLflow's scoring server is started by bash, which is not installed here")


def write_served(folder: str | Path, bundle: str | Path) -> None:
    """Write what is served: an MLflow model folder around a copy of the bundle, loaded by this module.

    Never the folder that the registry holds: that one names its loader itself, and might name another one.
    """
    flavor.save_model(folder, bundle, loader=__name__)


def server_command(folder: str | Path, host: str, port: int) -> list[str]:
    """``mlflow models serve`` of that folder, in this environment; it holds no address of a store and no secret."""
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    return [*serve, "--model-uri", str(folder), "--host", host, "--port", str(port)]


def server_environment() -> dict[str, str]:
    """This process's environment without the tracking store, with the programs of this Python first on the path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_TRACKING_", "MLFLOW_REG"))}
    programs = str(Path(sys.executable).parent)
    return {**kept, "PATH": os.pathsep.join(filter(None, [programs, kept.get("PATH")]))}


class Served:
    """A predictor whose answers hold None where there is no number: JSON has no NaN, and MLflow writes one."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Answer the rows as the system's predictor does."""
        answer: pd.DataFrame = self._predictor.predict(frame)
        numbers = {str(name): answer[name] for name in answer.select_dtypes("number").columns}
        finite = {name: each.astype(object).where(np.isfinite(each), None) for name, each in numbers.items()}
        return answer.assign(**finite)


def _load_pyfunc(data_path: str) -> Served:
    """MLflow's entry; the name is MLflow's."""
    return Served(flavor.load_pyfunc(data_path))
