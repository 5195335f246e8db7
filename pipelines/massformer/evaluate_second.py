"""The second library of an evaluation: the one that a training held out, or one that it knew nothing of.

The first kind decides the split: what shares a group with it was not trained on. Of the second kind, a laboratory's own
library, say, whatever shares a group with a molecule that may have been trained or chosen on is left out: with any
outside of the test part, since of the models that are compared one may have seen less of the training part.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import UsageError
from ms2img.massformer.library.folder import Library
from ms2img.massformer.selection import DataSettings, Selection
from ms2img.massformer.split import TEST, sharing


@dataclass(frozen=True)
class SecondPart:
    """Molecules (MOLECULES) and the spectra to score (LIBRARY_SPECTRA). left_out: molecules that were learnt from."""

    molecules: pa.Table
    spectra: pa.Table
    left_out: int


def was_held_out(settings: DataSettings, library: Library) -> bool:
    """Whether a training held a whole library out, not a laboratory of its own library, nor nothing."""
    return bool(settings.held_out) and settings.held_out not in library.spectra["laboratory"].to_pylist()


def second_part(
    place: str, second: Library, library: Library, selection: Selection, settings: DataSettings
) -> SecondPart:
    """The spectra of `second` with a cell and an adduct of the selection, without molecules that were learnt from.

    Raises `UsageError`, naming the library's `place`, when nothing is left.
    """
    spectra = second.spectra
    for column in ("cell", "adduct"):
        spectra = spectra.filter(pc.is_in(spectra[column], selection.spectra[column].unique()))
    learnt = set(settings.learnt)
    if not was_held_out(settings, library):
        trained = {each for each, part in selection.part.items() if part != TEST}
        known = library.molecules.filter(pc.is_in(library.molecules["molecule_id"], _ids(trained)))
        learnt |= sharing(second.molecules, known, by=settings.split)
    kept = spectra.filter(pc.invert(pc.is_in(spectra["molecule_id"], _ids(learnt))))
    left_out = pc.count_distinct(spectra["molecule_id"]).as_py() - pc.count_distinct(kept["molecule_id"]).as_py()
    if not kept.num_rows:
        raise UsageError(
            f"{place}: no spectra to score: {second.spectra.num_rows} in all, {spectra.num_rows} of the cell and the "
            f"adducts of the model, and none of a molecule that it has not learnt from (by {settings.split})"
        )
    return SecondPart(second.molecules, kept, left_out)


def _ids(molecules: set[str]) -> pa.Array:
    return pa.array(sorted(molecules), pa.string())
