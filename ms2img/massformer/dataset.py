"""A training set in memory: the molecules and spectra of a library's training and validation parts, ready for batches.

The test part is not in it: what is never loaded cannot be looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ms2img.errors import UsageError
from ms2img.massformer.conditions import ConditionVocabulary
from ms2img.massformer.library.folder import Library
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.selfies_tokens import SelfiesVocabulary
from ms2img.massformer.questions import Structures
from ms2img.massformer.selection import DataSettings, select, split_fingerprint
from ms2img.massformer.spectrum import SpectrumConfig, binned, transformed

SPECTRA_AT_ONCE = 4096  # binned before they are transformed (ours): the transform works in float64


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """n spectra of the training and validation parts, and their molecules.

    features: of the molecules, m of them; molecules: their ids. molecule_of: int64 [n], rows of `features`.
    conditions: float32 [n, c]. precursor_mz: float32 [n], Da. target: float32 [n, bins], transformed.
    train, validation: int64, the rows of the two parts.
    part: molecule_id -> part of the split, of every molecule that the library has spectra of, test included.
    vocabulary, selfies: of the training part.
    library: the names of its sources. fingerprint: of its tables. licences: of the training part.
    structures: which molecules the library takes.
    """

    features: tuple[MoleculeFeatures, ...]
    molecules: tuple[str, ...]
    molecule_of: NDArray[np.int64]
    conditions: NDArray[np.float32]
    precursor_mz: NDArray[np.float32]
    target: NDArray[np.float32]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    part: Mapping[str, str]
    vocabulary: ConditionVocabulary
    selfies: SelfiesVocabulary
    spectrum: SpectrumConfig
    settings: DataSettings
    library: str
    simulated: bool
    fingerprint: str
    licences: tuple[str, ...]
    structures: Structures

    @classmethod
    def load(
        cls,
        library: Library,
        features: Mapping[str, MoleculeFeatures],
        settings: DataSettings,
        spectrum: SpectrumConfig,
        *,
        second_library: pa.Table | None = None,
        vocabulary: ConditionVocabulary | None = None,
        selfies: SelfiesVocabulary | None = None,
        learnt: Collection[str] = (),
    ) -> Self:
        """Select, split, bin and encode.

        Parameters
        ----------
        features: of the library's molecules by `molecule_id`; one without features has no part in the training.
        second_library: MOLECULES of the held-out library, see `select`.
        vocabulary, selfies: of the model that is trained further; what is new is appended. None: those of the data.
        learnt: ids of molecules that this model has learnt from, see `DataSettings`.

        Raises `UsageError` when nothing is left to train on.
        """
        selection = select(library.molecules, library.spectra, settings, second_library=second_library)
        if learnt:
            settings = replace(settings, learnt=tuple(sorted(learnt)))
            selection = select(library.molecules, library.spectra, settings, second_library=second_library)
        usable = selection.spectra.filter(pc.is_in(selection.spectra["molecule_id"], pa.array(list(features))))
        parts = [selection.part[each] for each in usable["molecule_id"].to_pylist()]
        seen = usable.filter(pa.array([each in ("train", "validation") for each in parts], type=pa.bool_()))
        of_row = np.array([selection.part[each] for each in seen["molecule_id"].to_pylist()])
        trained = seen.filter(pa.array(of_row == "train"))
        if not trained.num_rows:
            raise UsageError("no spectra to train on are left after the split; expected more molecules")
        names = pc.unique(seen["molecule_id"]).sort().to_pylist()
        own = tuple(features[name] for name in names)
        known = _vocabulary(trained, vocabulary)
        is_known = np.array([each in known.adducts for each in seen["adduct"].to_pylist()])
        place = {name: number for number, name in enumerate(names)}
        return cls(
            features=own,
            molecules=tuple(names),
            molecule_of=np.array([place[each] for each in seen["molecule_id"].to_pylist()], dtype=np.int64),
            conditions=_conditions(seen, known, is_known),
            precursor_mz=seen["precursor_mz"].to_numpy().astype(np.float32),
            target=_targets(seen, spectrum),
            train=np.flatnonzero(of_row == "train"),
            validation=np.flatnonzero((of_row == "validation") & is_known),
            part=selection.part,
            vocabulary=known,
            selfies=_symbols((features[name].tokens for name in names if selection.part[name] == "train"), selfies),
            spectrum=spectrum,
            settings=settings,
            library="+".join(sorted(set(seen["library"].to_pylist()))),
            simulated=library.is_simulated,
            fingerprint=library.fingerprint,
            licences=tuple(sorted(set(trained["licence"].to_pylist()) - {""})),
            structures=_structures(library),
        )

    @property
    def n_molecules(self) -> int:
        """Molecules of the training part."""
        return len(np.unique(self.molecule_of[self.train]))

    @property
    def validation_molecules(self) -> list[str]:
        """Ids of the molecules of the validation part, in the order of `molecules`."""
        return [self.molecules[number] for number in np.unique(self.molecule_of[self.validation])]

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """What must be equal before the cosines of two models may be compared."""
        settings = {"cell": self.settings.cell, "adducts": self.settings.adducts, **self.spectrum.to_dict()}
        return {
            "samples": self.fingerprint,
            "labels": _digest(json.dumps(settings, sort_keys=True).encode()),
            "folds": split_fingerprint(self.part),
        }


def _structures(library: Library) -> Structures:
    """Which molecules the library took, by the rules that it was prepared with."""
    told, usual = library.settings, Structures()
    elements = str(told.get("elements", ",".join(usual.elements)))
    return Structures(tuple(elements.split(",")), int(told.get("max_atoms", usual.max_atoms)))


def _vocabulary(trained: pa.Table, before: ConditionVocabulary | None) -> ConditionVocabulary:
    """The adducts and instruments of the training part, behind those that a model knows already."""
    return ConditionVocabulary.of(trained["adduct"].to_pylist(), trained["instrument_type"].to_pylist(), before=before)


def _symbols(tokens: Iterable[tuple[str, ...]], before: SelfiesVocabulary | None) -> SelfiesVocabulary:
    found = SelfiesVocabulary.from_molecules(tokens)
    return found if before is None else SelfiesVocabulary(_appended(before.symbols, found.symbols))


def _appended(before: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, ...]:
    return (*before, *(each for each in found if each not in before))


def _conditions(spectra: pa.Table, vocabulary: ConditionVocabulary, is_known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32 [n, c]; zeros for a validation spectrum whose adduct no training spectrum has."""
    rows = spectra.filter(pa.array(is_known)).to_pydict()
    conditions = np.zeros((spectra.num_rows, vocabulary.size), dtype=np.float32)
    conditions[is_known] = vocabulary.encode_all(
        rows["adduct"],
        rows["instrument_type"],
        rows["energy_ev"],
        rows["energy_nce"],
        [unit or "" for unit in rows["energy_unit"]],
        rows["precursor_mz"],
    )
    return conditions


def _targets(spectra: pa.Table, config: SpectrumConfig) -> NDArray[np.float32]:
    """Binned and transformed, float32 [n, bins]."""
    targets = np.empty((spectra.num_rows, config.n_bins), dtype=np.float32)
    for start in range(0, spectra.num_rows, SPECTRA_AT_ONCE):
        some = spectra.slice(start, SPECTRA_AT_ONCE)
        peaks = zip(some["mz"].to_pylist(), some["intensity"].to_pylist(), strict=True)
        targets[start : start + some.num_rows] = transformed(
            np.stack([binned(mz, intensity, config) for mz, intensity in peaks]), config
        )
    return targets


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
