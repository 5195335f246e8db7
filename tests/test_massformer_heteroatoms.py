"""The heteroatom ratios of Fig. 5, on attention that is known."""

from __future__ import annotations

import numpy as np
import pytest

from ms2img.massformer.evaluate.heteroatoms import attention_ratios, mean_ratios


def test_ratio_is_of_the_means_within_a_molecule() -> None:
    ratios = attention_ratios(["C", "N", "C", "O", "N"], np.array([0.1, 0.2, 0.3, 0.1, 0.4], np.float32))
    assert ratios == pytest.approx({"N": 0.3 / 0.2, "O": 0.1 / 0.2})


def test_even_attention_gives_one_whatever_the_composition() -> None:
    elements = ["C"] * 9 + ["N", "O", "O", "S", "Cl", "P", "F", "Br"]
    ratios = attention_ratios(elements, np.full(17, 1 / 17, np.float32))
    assert ratios == pytest.approx(dict.fromkeys(("Cl", "N", "O", "P", "S", "F"), 1.0))


def test_a_molecule_without_carbon_says_nothing() -> None:
    assert attention_ratios(["O", "P"], np.array([0.5, 0.5], np.float32)) == {}
    assert attention_ratios(["C", "O"], np.array([0, 1], np.float32)) == {}


def test_mean_is_over_molecules_that_have_the_element() -> None:
    means = mean_ratios([{"N": 2.0}, {"N": 1.0, "O": 1.2}, {}])
    assert list(means) == ["N", "O"]
    assert means["N"].mean == 1.5
    assert (means["N"].n, means["O"].n) == (2, 1)
    assert means["N"].low <= 1.5 <= means["N"].high
