"""How much more a model attends to heteroatoms than to carbon (MassFormer, section 4.7; Fig. 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ms2img.learn.intervals import Interval, bootstrap_mean
from ms2img.massformer.molecule.graph import MolecularGraph

#: Fig. 5's five, and fluorine, which the paper's element filter lets in (ours).
HETEROATOMS = ("Cl", "N", "O", "P", "S", "F")
_SYMBOLS = {6: "C", 7: "N", 8: "O", 9: "F", 15: "P", 16: "S", 17: "Cl"}


def elements_of(graph: MolecularGraph) -> list[str]:
    """The symbols of a molecule's heavy atoms; "?" for those that Fig. 5 does not speak of."""
    return [_SYMBOLS.get(int(number) + 1, "?") for number in graph.atoms[:, 0]]  # column 0: atomic number - 1


def attention_ratios(elements: Sequence[str], attention: NDArray[np.float32]) -> dict[str, float]:
    """Of one molecule: element -> mean attention of its atoms over the mean attention of the carbon atoms (Fig. 5).

    elements: the symbols of [a] heavy atoms; attention: [a]. Empty for a molecule without carbon, or without attention
    on it.
    """
    symbols = np.array(elements)
    carbon = attention[symbols == "C"]
    if len(carbon) == 0 or carbon.mean() == 0:
        return {}
    base = float(carbon.mean())
    return {
        symbol: float(attention[symbols == symbol].mean()) / base for symbol in HETEROATOMS if symbol in set(elements)
    }


def mean_ratios(molecules: Iterable[dict[str, float]], *, seed: int = 0) -> dict[str, Interval]:
    """Element -> its ratio's mean over the molecules that have it, with a 95 % interval; elements never met are absent.

    The released code counts a molecule once for each of its spectra; here a molecule counts once.
    """
    found: dict[str, list[float]] = {}
    for ratios in molecules:
        for symbol, ratio in ratios.items():
            found.setdefault(symbol, []).append(ratio)
    return {symbol: bootstrap_mean(found[symbol], seed=seed) for symbol in HETEROATOMS if symbol in found}
