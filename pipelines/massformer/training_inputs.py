"""From a library's folder to a training set in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ms2img.io import storage

if TYPE_CHECKING:
    import pyarrow as pa

    from ms2img.massformer.dataset import TrainingSet
    from ms2img.massformer.selection import DataSettings
    from ms2img.massformer.spectrum import SpectrumConfig


def training_set(
    library: str, settings: DataSettings, spectrum: SpectrumConfig, *, name: str | None = None, **known: Any
) -> TrainingSet:
    """The training set of a prepared library; its features are computed, and kept in its folder, if they are not there.

    name: what the library is called instead of its sources' names. known: vocabularies of a model that is trained
    further, see `TrainingSet.load`. Raises `UsageError` for whatever cannot be trained on.
    """
    from ms2img.massformer.dataset import TrainingSet
    from ms2img.massformer.library.folder import read_library
    from ms2img.massformer.molecule.features import cached_features

    storage.require_access([library])
    found = read_library(library)
    second, settings = second_library(settings)
    features = cached_features(library, found.molecules)
    data = TrainingSet.load(found, features, settings, spectrum, second_library=second, **known)
    return data if name is None else replace(data, library=name)


def second_library(settings: DataSettings) -> tuple[pa.Table | None, DataSettings]:
    """The molecules of the held-out library where one is named by its folder, and the settings with its name."""
    from ms2img.massformer.library.folder import read_library

    if not settings.held_out or not storage.is_folder(settings.held_out):
        return None, settings
    second = read_library(settings.held_out)
    names = "+".join(sorted(set(second.spectra["library"].to_pylist())))
    return second.molecules, replace(settings, held_out=names)
