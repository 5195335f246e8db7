"""How a spectrum was acquired, as the numbers that a model is conditioned on (MassFormer, sections 3.1 and 3.3).

The released code appends the collision energy twice and quantises it from ones; here it stands once in each unit,
with the unit that was stated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.errors import UsageError
from ms2img.learn.settings import Settings
from ms2img.massformer.library.adducts import spelled

ENERGY_UNITS = ("eV", "NCE")
OTHER = "other"  # the instrument type of spectra that state none
# What a column is divided by, so that typical values lie between 0 and 1 (ours).
ENERGY_SCALE = 100.0  # eV, and normalised collision energy in per cent
MZ_SCALE = 1000.0  # Da
#: Columns before the adducts: energy in both units, is it known, is it stated in eV, in NCE, and the precursor m/z.
_NUMBERS = ("energy_ev", "energy_nce", "energy_known", "stated_ev", "stated_nce", "precursor_mz")


@dataclass(frozen=True)
class Condition:
    """How one spectrum is acquired, as a user states it.

    adduct: in any spelling ("M+H"); kept in the library's ("[M+H]+"), and as it is if it is none.
    energy: in `energy_unit`, "eV" or "NCE" (per cent); None where it is unknown.
    instrument_type: as in the library ("LC-ESI-QFT"); what one that a model does not know counts as, the model's
    vocabulary says.
    """

    adduct: str
    energy: float | None
    energy_unit: str = "NCE"
    instrument_type: str = ""

    def __post_init__(self) -> None:
        if self.energy_unit not in ENERGY_UNITS:
            raise UsageError(f"energy unit '{self.energy_unit}'; expected {' or '.join(ENERGY_UNITS)}")
        if self.energy is not None and not (math.isfinite(self.energy) and self.energy >= 0):
            raise UsageError(f"collision energy {self.energy}; expected a number of {self.energy_unit}, 0 or more")
        object.__setattr__(self, "adduct", spelled(self.adduct))


@dataclass(frozen=True)
class ConditionVocabulary(Settings):
    """The adducts and instrument types that a model knows; it travels with the weights.

    Columns of an encoded condition: energy in eV and in NCE (over 100), whether it is known, stated in eV, stated in
    NCE, precursor m/z (over 1000), one column an adduct, "other" instrument, one column an instrument type.

    shares: of the spectra that the model was trained on, of "other" (no type stated) and of each instrument type; none:
    not known.
    """

    adducts: tuple[str, ...]
    instruments: tuple[str, ...] = ()  # without "other", which is always there
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("adducts", "instruments"):
            values = tuple(getattr(self, name))  # JSON brings lists
            if len(set(values)) < len(values):
                raise UsageError(f"{name}: {', '.join(values)}; expected each once")
            object.__setattr__(self, name, values)
        if not self.adducts:
            raise UsageError("adducts: none; expected at least one, such as [M+H]+")
        shares = tuple(float(share) for share in self.shares)
        fits = len(shares) == 1 + len(self.instruments) and min(shares) >= 0 and math.isclose(sum(shares), 1)
        if shares and not fits:
            raise UsageError(f"shares: {shares}; expected of 'other' and of each instrument type one, together 1")
        object.__setattr__(self, "shares", shares)

    @classmethod
    def of(
        cls, adducts: Sequence[str], instruments: Sequence[str], *, before: ConditionVocabulary | None = None
    ) -> ConditionVocabulary:
        """The vocabulary of some spectra (the training part's), a row a spectrum, in whatever order.

        before: what a model knows already; what is new comes behind it.
        """
        counts = Counter(instruments)
        kinds = _appended(before.instruments if before else (), set(counts) - {""})
        return cls(
            adducts=_appended(before.adducts if before else (), adducts),
            instruments=kinds,
            shares=tuple(counts[kind] / len(instruments) for kind in ("", *kinds)),
        )

    @property
    def size(self) -> int:
        """Columns of an encoded condition."""
        return len(_NUMBERS) + len(self.adducts) + 1 + len(self.instruments)

    @property
    def columns(self) -> tuple[str, ...]:
        """What each column holds."""
        return (*_NUMBERS, *self.adducts, OTHER, *self.instruments)

    @property
    def another(self) -> NDArray[np.float32]:
        """What an unknown instrument type counts as, the shares of "other" and of each type: float32 [1 + types].

        It is "other" if spectra without a type were trained on. If none were, nothing has trained the weights of
        "other", and it is the known types in the proportion of their spectra: a cosine .004-.006 better (held-out
        molecules of MassBank, scaffold split, all four models; ``python -m bench.massformer_instruments``).
        """
        if self.shares and not self.shares[0]:
            return np.array(self.shares, dtype=np.float32)
        return np.eye(1, 1 + len(self.instruments), dtype=np.float32)[0]

    def encode(
        self,
        adduct: str,
        instrument_type: str,
        energy_ev: float | None,
        energy_nce: float | None,
        energy_unit: str,
        precursor_mz: float,
    ) -> NDArray[np.float32]:
        """One condition as float32 [size]; see `encode_all`."""
        return self.encode_all([adduct], [instrument_type], [energy_ev], [energy_nce], [energy_unit], [precursor_mz])[0]

    def encode_all(
        self,
        adducts: Sequence[str],
        instrument_types: Sequence[str],
        energy_ev: Sequence[float | None] | NDArray[np.float64],
        energy_nce: Sequence[float | None] | NDArray[np.float64],
        energy_units: Sequence[str],
        precursor_mz: Sequence[float] | NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """Conditions as float32 [n, size].

        An energy that is None or NaN is unknown: zeros. Raises `UsageError` for an adduct that is not in the
        vocabulary, naming those that are.
        """
        n = len(adducts)
        ev = np.array(energy_ev, dtype=np.float64).reshape(n)  # None becomes NaN
        nce = np.array(energy_nce, dtype=np.float64).reshape(n)
        known = np.isfinite(ev) & np.isfinite(nce)
        units = np.array(energy_units, dtype=object).reshape(n)
        encoded = np.zeros((n, self.size), dtype=np.float32)
        encoded[:, 0] = np.where(known, ev, 0) / ENERGY_SCALE
        encoded[:, 1] = np.where(known, nce, 0) / ENERGY_SCALE
        encoded[:, 2] = known
        for column, unit in enumerate(ENERGY_UNITS, start=3):
            encoded[:, column] = known & (units == unit)
        encoded[:, 5] = np.asarray(precursor_mz, dtype=np.float64) / MZ_SCALE
        rows = np.arange(n)
        encoded[rows, len(_NUMBERS) + self._adduct_numbers(adducts)] = 1
        number = {name: place for place, name in enumerate(self.instruments, start=1)}
        coded = np.eye(1 + len(self.instruments), dtype=np.float32)
        coded[0] = self.another
        encoded[:, -len(coded) :] = coded[[number.get(name, 0) for name in instrument_types]]
        return encoded

    def _adduct_numbers(self, adducts: Sequence[str]) -> NDArray[np.int64]:
        number = {name: place for place, name in enumerate(self.adducts)}
        for adduct in adducts:
            if adduct not in number:
                raise UsageError(f"adduct '{adduct}': the model knows {', '.join(self.adducts)}")
        return np.array([number[adduct] for adduct in adducts], dtype=np.int64)


def _appended(before: tuple[str, ...], found: Iterable[str]) -> tuple[str, ...]:
    """What was there, then what is new, sorted."""
    return (*before, *sorted(set(found) - set(before)))
