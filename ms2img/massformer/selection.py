"""Which spectra of a library a training is about, and which molecules it may learn from.

A laboratory, or another library, may be held out: its spectra are the second library that the paper evaluates on, and
what is too near to its molecules is dropped from training (MassFormer, section 4.4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import UsageError
from ms2img.learn.settings import Settings
from ms2img.massformer.split import DROPPED, TEST, VALIDATION, split_molecules

PARTS = ("train", "validation", "test", "dropped")
CELLS = ("HCD", "CID")
SPLITS = ("scaffold", "inchikey")


@dataclass(frozen=True)
class DataSettings(Settings):
    """What is trained on; raises `UsageError` for a value out of range."""

    cell: str | None = "HCD"  # collision cell: the paper's models see one; None: both
    adducts: tuple[str, ...] = ("[M+H]+",)  # ours; none: all
    split: str = "scaffold"  # MassFormer, section 4.4; or "inchikey", the first block
    split_seed: int = 0
    held_out: str = ""  # a laboratory of the library, or the name of the second library
    train_fraction: float = 1.0  # of the training molecules, for learning curves; a smaller one lies in a larger
    #: Ids of molecules that a model which is trained further has learnt from before: neither validated nor tested on.
    learnt: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("adducts", "learnt"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        if self.cell is not None:
            self._require_one_of("cell", CELLS)
        self._require_one_of("split", SPLITS)
        self._require_int("split_seed", low=0)
        if not 0 < self.train_fraction <= 1:
            raise UsageError(f"train_fraction: {self.train_fraction!r}; expected above 0 and up to 1")


@dataclass(frozen=True)
class Selection:
    """The spectra that the settings ask for (LIBRARY_SPECTRA) and their molecules' part.

    part: molecule_id -> one of `PARTS`, of every molecule with a spectrum in `spectra`.
    second: the held-out laboratory's spectra, no row of which is in `spectra`; empty where another library, or
        nothing, is held out.
    """

    spectra: pa.Table
    part: Mapping[str, str]
    second: pa.Table

    @property
    def fingerprint(self) -> str:
        """A hash of the assignment: equal hashes, equal parts."""
        return split_fingerprint(self.part)

    def of_part(self, part: str) -> pa.Table:
        """The spectra of the molecules in one part."""
        inside = [self.part[each] == part for each in self.spectra["molecule_id"].to_pylist()]
        return self.spectra.filter(pa.array(inside, type=pa.bool_()))


def select(
    molecules: pa.Table,
    spectra: pa.Table,
    settings: DataSettings,
    *,
    second_library: pa.Table | None = None,
) -> Selection:
    """Filter by cell and adducts, set the held-out spectra aside, and split the molecules that are left.

    Parameters
    ----------
    molecules, spectra: a library's tables (MOLECULES, LIBRARY_SPECTRA).
    second_library: MOLECULES of the held-out library, where ``settings.held_out`` is not a laboratory of this one.

    Raises `UsageError` when nothing is left, naming what the library has instead.
    """
    kept = _filtered(spectra, settings)
    second = kept.slice(0, 0)
    if settings.held_out and second_library is None:
        is_second = pc.equal(kept["laboratory"], settings.held_out)
        second, kept = kept.filter(is_second), kept.filter(pc.invert(is_second))
        if not second.num_rows:
            raise UsageError(f"--held-out {settings.held_out}: {_known('laboratory', spectra)}, or a library's folder")
        if not kept.num_rows:
            raise UsageError(f"--held-out {settings.held_out}: there is no other laboratory to train on")
        second_library = _of(molecules, second)
    found = _of(molecules, kept)
    part = split_molecules(found, by=settings.split, seed=settings.split_seed, held_out=second_library)
    known = {each: DROPPED for each in settings.learnt if part.get(each) in (VALIDATION, TEST)}
    new = pc.invert(pc.is_in(second["molecule_id"], pa.array(settings.learnt, pa.string())))
    return Selection(kept, _thinned({**part, **known}, settings), second.filter(new))


def split_fingerprint(part: Mapping[str, str]) -> str:
    """A hash of which molecule is in which part."""
    return hashlib.blake2b(json.dumps(sorted(part.items())).encode(), digest_size=8).hexdigest()


def _filtered(spectra: pa.Table, settings: DataSettings) -> pa.Table:
    kept = spectra
    if settings.cell is not None:
        kept = kept.filter(pc.equal(kept["cell"], settings.cell))
        if not kept.num_rows:
            raise UsageError(f"--cell {settings.cell}: {_known('cell', spectra)}")
    if settings.adducts:
        kept = kept.filter(pc.is_in(kept["adduct"], pa.array(settings.adducts)))
        if not kept.num_rows:
            raise UsageError(f"--adducts {' '.join(settings.adducts)}: {_known('adduct', spectra)}")
    return kept


def _thinned(part: Mapping[str, str], settings: DataSettings) -> dict[str, str]:
    """The assignment with all but a fraction of the training molecules dropped, chosen by a hash of their name."""
    trained = sorted(each for each, where in part.items() if where == "train")
    n_kept = max(1, round(settings.train_fraction * len(trained)))
    ranked = sorted(trained, key=lambda each: _place(each, settings.split_seed))
    dropped = set(ranked[n_kept:])
    return {each: "dropped" if each in dropped else where for each, where in part.items()}


def _place(molecule_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {molecule_id}".encode(), digest_size=8).digest()


def _of(molecules: pa.Table, spectra: pa.Table) -> pa.Table:
    """The molecules that have a spectrum."""
    return molecules.filter(pc.is_in(molecules["molecule_id"], pc.unique(spectra["molecule_id"])))


def _known(column: str, spectra: pa.Table) -> str:
    names, counts = np.unique(np.array(spectra[column].to_pylist(), dtype=str), return_counts=True)
    most = sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True)[:8]
    return "the library has no such spectra; it has " + ", ".join(f"{name} ({n})" for n, name in most)
