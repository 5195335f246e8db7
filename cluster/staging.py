"""What travels with a submitted job: this package as it runs here, and small files that its command names."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("ms2img", "pipelines", "tune", "cluster")
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", ".*")


@contextmanager
def staged(inputs: Mapping[str, bytes]) -> Iterator[Path]:
    """A temporary folder with the packages and `inputs` (relative name -> content), for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="ms2img-job-") as scratch:
        folder = Path(scratch)
        for package in PACKAGES:
            shutil.copytree(package_folder(package), folder / package, ignore=NOT_SHIPPED)
        for name, content in inputs.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        yield folder


def package_folder(package: str) -> Path:
    """Where an installed package lies, whether it was installed or is used from its repository."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"the package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))
