"""A molecule as SELFIES tokens, the input of the CNN baseline (MassFormer, sections 3.2 and 4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ms2img.errors import UsageError
from ms2img.massformer.molecule.structure import Refusal, Refused

if TYPE_CHECKING:
    from rdkit import Chem

#: Code of padding.
PADDING = 0
#: Code of a symbol that the vocabulary lacks.
UNKNOWN = 1
_FIRST_SYMBOL = 2


def tokens(mol: Chem.Mol) -> tuple[str, ...]:
    """The SELFIES symbols of a molecule, in the order of its canonical SMILES; raises `Refused` (``selfies``).

    Hypervalent atoms, such as the chlorine of a perchlorate, are written although SELFIES' own rules of valence would
    not read them back: nothing is decoded here.
    """
    import selfies
    from rdkit import Chem

    smiles = Chem.MolToSmiles(mol, isomericSmiles=False, kekuleSmiles=True)
    try:
        written = selfies.encoder(smiles, strict=False)
    except selfies.EncoderError:
        raise Refused(Refusal.SELFIES, f"SELFIES cannot write '{smiles}'") from None
    return tuple(selfies.split_selfies(written))


@dataclass(frozen=True)
class SelfiesVocabulary:
    """The symbols that a model knows, as it is stored with it. Codes: 0 padding, 1 unknown, then `symbols`."""

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(self.symbols))  # JSON brings a list
        if len(set(self.symbols)) < len(self.symbols):
            raise UsageError("SELFIES vocabulary: a symbol is listed twice; expected each once")

    @classmethod
    def from_molecules(cls, molecules: Iterable[Sequence[str]]) -> SelfiesVocabulary:
        """All symbols of the `tokens` of some molecules (the training part's), sorted."""
        return cls(tuple(sorted({symbol for written in molecules for symbol in written})))

    @property
    def size(self) -> int:
        """Number of codes, padding and unknown included."""
        return _FIRST_SYMBOL + len(self.symbols)

    def encode(self, written: Sequence[str]) -> np.ndarray:
        """Codes int32 [l] of a molecule's `tokens`."""
        return np.array([self._codes.get(symbol, UNKNOWN) for symbol in written], dtype=np.int32)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {symbol: code for code, symbol in enumerate(self.symbols, start=_FIRST_SYMBOL)}
