"""The models that are evaluated together: what each was trained on, and that they may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ms2img.errors import UsageError
from ms2img.io.description import settings_of
from ms2img.massformer.bundle import Description, load_bundle, read_checked_description
from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.sources import ModelSource
from ms2img.massformer.library.folder import Library
from ms2img.massformer.predictor import SpectrumPredictor
from ms2img.massformer.selection import DataSettings, Selection, select
from pipelines.massformer.evaluate_second import was_held_out

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class LoadedModel:
    """A model with its description. `unanswered`: questions so far that it could not be asked, by reason."""

    reference: str
    predictor: SpectrumPredictor
    description: Description
    settings: DataSettings
    unanswered: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tables call it and its other seeds: kind, preset, and the share of the training part if not all."""
        share = self.settings.train_fraction
        part = "" if share == 1 else f", {100 * share:g} % of the training part"
        return f"{self.description.card.kind} ({self.description.card.preset}{part})"

    @property
    def seed(self) -> int:
        """The seed of its weights."""
        return self.description.card.seed

    def source(self) -> ModelSource:
        """The model as something that can be scored."""
        return ModelSource(self.name, self._predict)

    def _predict(self, smiles: Sequence[str], conditions: Sequence[Condition]) -> np.ndarray:
        answer = self.predictor.answer(smiles, conditions)
        for error in answer.errors.values():
            reason = error.partition(":")[0]
            self.unanswered[reason] = self.unanswered.get(reason, 0) + 1
        return answer.spectra


def load_models(references: Sequence[str]) -> list[LoadedModel]:
    """Load the models by registry name, run id or folder.

    Raises `UsageError` for one that is not there or is no spectrum model, for two of one kind, preset and seed, and
    where binning or transform differ: figures of different ones are never compared.
    """
    from ms2img.tracking.pull import pulled

    models: list[LoadedModel] = []
    for reference in references:
        with pulled(reference) as (folder, _):
            description = read_checked_description(folder)
            settings: DataSettings = settings_of(DataSettings, description.data, folder)
            models.append(LoadedModel(reference, load_bundle(folder), description, settings))
    first = models[0]
    for number, other in enumerate(models[1:], 1):
        if other.predictor.spectrum != first.predictor.spectrum:
            raise UsageError(
                f"--compare {other.reference}: {other.predictor.spectrum}, but {first.reference} has "
                f"{first.predictor.spectrum}; figures of different spectra cannot be compared"
            )
        if any((other.name, other.seed) == (each.name, each.seed) for each in models[:number]):
            raise UsageError(f"--compare {other.reference}: a second {other.name} of seed {other.seed}")
    return models


def selections(models: Sequence[LoadedModel], library: Library, place: str, second: Library | None) -> Selection:
    """The split of the first model, once every model's own is that of the library and their test parts are one.

    second: the library that the training held out; one that it knew nothing of does not matter here.

    Raises `UsageError`, naming the model and how many molecules differ.
    """
    chosen = [_selection(model, library, place, second) for model in models]
    tested = [{name for name, part in each.part.items() if part == "test"} for each in chosen]
    for model, own in zip(models, tested, strict=True):
        if own != tested[0] or _same_spectra(model) != _same_spectra(models[0]):
            raise UsageError(
                f"--compare {model.reference}: its test part is not that of {models[0].reference} "
                f"({len(own ^ tested[0])} molecules, cell, adducts or the held-out library differ)"
            )
    return chosen[0]


def _selection(model: LoadedModel, library: Library, place: str, second: Library | None) -> Selection:
    molecules: pa.Table | None = None
    if was_held_out(model.settings, library):
        if second is None:
            held_out = model.settings.held_out
            raise UsageError(f"{model.reference}: was trained without library {held_out}; give its folder as --second")
        molecules = second.molecules
    selection = select(library.molecules, library.spectra, model.settings, second_library=molecules)
    if selection.fingerprint != model.description.card.fingerprints.folds:
        raise UsageError(
            f"{place}: its split is not the one that {model.reference} was trained with: some of its test molecules "
            f"may have been trained on; evaluate on the library '{model.description.card.library}' as it was then"
        )
    return selection


def _same_spectra(model: LoadedModel) -> tuple[object, ...]:
    settings = model.settings
    return settings.cell, settings.adducts, settings.split, settings.split_seed, settings.held_out
