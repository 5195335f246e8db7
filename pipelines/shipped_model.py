"""A model on its way to workers, and loaded once in each of their processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

_loaded: dict[str, Any] = {}  # of this worker process, by the model's version


class Model(Protocol):
    """A model on its way to the workers."""

    @property
    def version(self) -> str:
        """The version of its bundle."""

    def files(self) -> Mapping[str, bytes]:
        """The files of its bundle, by name."""


@dataclass(frozen=True)
class ShippedModel:
    """A model in Ray's object store: no worker needs the registry, or a disk that the driver has."""

    version: str
    place: Any  # ray.ObjectRef

    @classmethod
    def of(cls, bundle: Path, version: str, names: Iterable[str]) -> Self:
        """Put the named files of a bundle there."""
        import ray

        return cls(version, ray.put({name: (bundle / name).read_bytes() for name in names}))

    def files(self) -> Mapping[str, bytes]:
        """The files, by name."""
        import ray

        found: Mapping[str, bytes] = ray.get(self.place)
        return found


def loaded(model: Model, load: Callable[[str], Any]) -> Any:
    """What `load` makes of the model's bundle; made once in a worker process."""
    if model.version not in _loaded:
        with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
            for name, content in model.files().items():
                Path(scratch, name).write_bytes(content)
            _loaded[model.version] = load(scratch)
    return _loaded[model.version]
