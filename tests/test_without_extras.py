"""The science imports and runs where neither Ray nor MLflow is installed; its training loop with numpy and torch."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
from bundle_samples import make_bundle, write_mgf
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ms2img.tracking.registry import register
from ms2img.tracking.runs import track_cross_validation
from ms2img.tracking.store import open_store

REPOSITORY = Path(__file__).resolve().parent.parent

#: Put before any import: packages in ABSENT are not found, as where they are not installed.
BLOCKER = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""

NO_EXTRAS = {
    "ray",
    "mlflow",
    "boto3",
    "botocore",
    "rdkit",
    "jinja2",
    "sklearn",
    "scipy",
    "matchms",
    "ms_entropy",
    "captum",
}

SCIENCE = """
import importlib, pkgutil
import numpy as np, pandas as pd
import ms2img
# They need RDKit, boto3, matchms, and scikit-learn with SciPy.
apart = ("ms2toimg.simulation.", "io.s3.", "ms2toimg.features.", "ms2toimg.baselines.", "ms2toimg.memo")
for module in pkgutil.walk_packages(ms2img.__path__, "ms2img."):
    if not module.name.removeprefix("ms2img.").startswith(apart):
        importlib.import_module(module.name)

from bundle_samples import CNN, RENDER, card, write_mgf
from pathlib import Path
from ms2img.errors import UsageError
from ms2img.io.read import read_runs
from ms2img.io.sheet import Sheet
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.bundle import load_bundle, save_bundle
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.crossvalidate import plan_folds, run_fold
from ms2img.ms2toimg.labels import LabelConfig, make_labels

names = [f"run{number:02d}" for number in range(12)]
for number, name in enumerate(names):
    write_mgf(Path(f"{name}.mgf"), seed=number)
table = pd.DataFrame({"sample_id": names, "path": [f"{name}.mgf" for name in names], "dpph": [0, 100] * 6})
table.to_csv("s.csv", index=False)
sheet = Sheet.read("s.csv")
rows = {run.sample_id: image_row(run, spectra, RENDER, source_fingerprint="") for run, spectra in read_runs(sheet.runs)}
labels = make_labels(sheet, LabelConfig(assay="dpph"), rows)
images = np.stack([rows[sample]["image"] for sample in labels.sample_ids])
task = plan_folds(labels, 2, CNN, FitConfig(epochs=1, batch_size=4, threads=1))[0]
result, weights = run_fold(images, labels.target, task)
assert len(result.history) == 1

save_bundle("bundle", model_state=weights, cnn=CNN, render=RENDER, card=card())
held_out = [labels.sample_ids[row] for row in task.fold.test]
answer = load_bundle("bundle").predict(pd.DataFrame({"path": [f"{name}.mgf" for name in held_out]}))
assert (answer["error"] == "").all(), answer
np.testing.assert_allclose(answer["probability"], result.probability, rtol=1e-5)

from pipelines.models import ModelsConfig, models
from pipelines.predict import PredictConfig, predict
assert predict(PredictConfig(model="bundle", input=("run00.mgf",), out="p.csv"), quiet=True).failed == 0
for needs_mlflow in (
    lambda: predict(PredictConfig(model="models:/ms2img-dpph@champion", input=("run00.mgf",)), quiet=True),
    lambda: models(ModelsConfig()),
):
    try:
        needs_mlflow()
    except UsageError as error:
        assert "pip install 'ms2img[tracking]'" in str(error), error
    else:
        raise AssertionError("MLflow was needed and absent, and nobody said so")
try:
    Sheet.read("s3://bucket/s.csv")
except UsageError as error:
    assert "pip install 'ms2img[s3]'" in str(error), error
else:
    raise AssertionError("boto3 was needed and absent, and nobody said so")
assert not {"ray", "mlflow"} & set(sys.modules)
print("done")
"""

TRAINING_LOOP = """
import importlib, pkgutil
import ms2img.learn
for module in pkgutil.walk_packages(ms2img.learn.__path__, "ms2img.learn."):
    importlib.import_module(module.name)
from ms2img.ms2toimg.cnn import PRESETS, build_cnn
build_cnn(PRESETS["small"], 75, 70)
print("done")
"""


def _run(code: str, absent: set[str], folder: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    finished = subprocess.run(
        [sys.executable, "-c", f"ABSENT = {absent!r}\n{BLOCKER}{code}"],
        cwd=folder,
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "done\n"


def test_the_science_runs_without_any_extra(tmp_path: Path) -> None:
    _run(SCIENCE, NO_EXTRAS, tmp_path)


def test_the_training_loop_needs_numpy_and_torch_alone(tmp_path: Path) -> None:
    installed = {
        "pydantic",
        "pandas",
        "pyarrow",
        "safetensors",
        "matplotlib",
        "scipy",
        "yaml",
        "rich",
        "typer",
        "numba",
    }
    _run(TRAINING_LOOP, NO_EXTRAS | installed | {"pyteomics", "skimage"}, tmp_path)


def test_the_blocker_blocks(tmp_path: Path) -> None:
    code = "try:\n    import mlflow.pyfunc\nexcept ModuleNotFoundError:\n    print('done')"
    _run(code, {"mlflow"}, tmp_path)


#: What ``pip install ms2img[predict]`` does not bring is not found; then a registered model scores a run.
FROM_THE_REGISTRY = """
from pipelines.cli import main
assert main(["predict", "models:/ms2img-dpph@champion", "run.mgf", "--out", "p.csv", "--quiet"]) == 0
assert main(["predict", "models:/ms2img-dpph@champion", "run.mgf", "--distributed", "--quiet"]) == 2
assert main(["models", "dpph", "--quiet"]) == 0
assert not ABSENT & {name.partition(".")[0] for name in sys.modules}
print("done")
"""


def _closure(extra: str) -> set[str]:
    """The names of all packages that ``ms2img[extra]`` brings here, in canonical form."""
    found: set[tuple[str, str]] = set()
    left = [("ms2img", extra), ("ms2img", "")]
    while left:
        name, wanted = left.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        try:
            requirements = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                named = canonicalize_name(requirement.name)
                left += [(named, each) for each in ("", *requirement.extras)]
    return {name for name, _ in found}


def test_a_registered_model_needs_the_predict_extra_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / '.ms2img' / 'mlflow.db'}")
    store = open_store()
    with track_cross_validation(store, name="x", config={}, tags={}) as run:
        register(store, make_bundle(tmp_path / "bundle"), run_id=run.run_id)
    write_mgf(tmp_path / "run.mgf")
    brought = _closure("predict")
    absent = {
        module
        for module, packages in metadata.packages_distributions().items()
        if module.isidentifier() and not brought & set(map(canonicalize_name, packages))
    } - {"pipelines", "tune", "cluster", "ms2img", "pip", "setuptools", "pkg_resources", "_distutils_hack"}
    assert {"ray", "optuna", "matchms", "rdkit"} <= absent
    assert {"mlflow", "torch", "boto3", "sqlalchemy"} & absent == set()
    _run(FROM_THE_REGISTRY, absent, tmp_path)
    assert len(pd.read_csv(tmp_path / "p.csv")) == 1
