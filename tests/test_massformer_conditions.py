"""Acquisition conditions as numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ms2img.errors import UsageError
from ms2img.massformer.conditions import Condition, ConditionVocabulary

VOCABULARY = ConditionVocabulary(adducts=("[M+H]+", "[M+Na]+"), instruments=("LC-ESI-ITFT", "LC-ESI-QFT"))


def named(encoded: np.ndarray) -> dict[str, float]:
    return dict(zip(VOCABULARY.columns, encoded.tolist(), strict=True))


def test_every_column_holds_what_its_name_says() -> None:
    found = named(VOCABULARY.encode("[M+Na]+", "LC-ESI-QFT", 24.0, 60.0, "NCE", 200.0))
    assert found == pytest.approx({
        "energy_ev": 0.24, "energy_nce": 0.6, "energy_known": 1, "stated_ev": 0, "stated_nce": 1, "precursor_mz": 0.2,
        "[M+H]+": 0, "[M+Na]+": 1, "other": 0, "LC-ESI-ITFT": 0, "LC-ESI-QFT": 1,
    })  # fmt: skip


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_an_unknown_energy_is_said_to_be_unknown(unknown: float | None) -> None:
    found = named(VOCABULARY.encode("[M+H]+", "LC-ESI-QFT", unknown, unknown, "NCE", 200.0))
    assert [found[name] for name in ("energy_ev", "energy_nce", "energy_known", "stated_ev", "stated_nce")] == [0] * 5


@pytest.mark.parametrize("instrument", ["", "GC-EI-TOF"])
@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (["LC-ESI-QFT"] * 3 + ["LC-ESI-ITFT"], {"other": 0, "LC-ESI-ITFT": 0.25, "LC-ESI-QFT": 0.75}),
        (["LC-ESI-QFT"] * 3 + ["LC-ESI-ITFT", ""], {"other": 1, "LC-ESI-ITFT": 0, "LC-ESI-QFT": 0}),
    ],
)
def test_another_instrument_counts_as_what_was_trained(
    trained: list[str], expected: dict[str, float], instrument: str
) -> None:
    vocabulary = ConditionVocabulary.of(["[M+H]+"] * len(trained), trained)
    encoded = vocabulary.encode("[M+H]+", instrument, 1.0, 1.0, "eV", 100.0)
    found = dict(zip(vocabulary.columns, encoded.tolist(), strict=True))
    assert {name: found[name] for name in expected} == expected


def test_without_shares_another_instrument_is_other() -> None:
    found = named(VOCABULARY.encode("[M+H]+", "GC-EI-TOF", 1.0, 1.0, "eV", 100.0))
    assert (found["other"], found["LC-ESI-ITFT"], found["LC-ESI-QFT"]) == (1, 0, 0)


def test_an_adduct_that_no_training_spectrum_had_is_refused() -> None:
    with pytest.raises(UsageError, match=r"adduct '\[M\+K\]\+': the model knows \[M\+H\]\+, \[M\+Na\]\+"):
        VOCABULARY.encode("[M+K]+", "LC-ESI-QFT", 1.0, 1.0, "eV", 100.0)


def test_many_at_once_are_each_as_alone() -> None:
    rows = [
        ("[M+H]+", "LC-ESI-QFT", 10.0, 25.0, "eV", 200.0),
        ("[M+Na]+", "no such", None, None, "NCE", 300.0),
        ("[M+H]+", "LC-ESI-ITFT", 15.0, 35.0, "NCE", 214.3),
    ]
    together = VOCABULARY.encode_all(*zip(*rows, strict=True))
    assert together.dtype == np.float32
    assert together.shape == (3, VOCABULARY.size)
    np.testing.assert_array_equal(together, np.stack([VOCABULARY.encode(*row) for row in rows]))


def test_the_order_of_the_spectra_does_not_matter_to_the_vocabulary() -> None:
    one = ConditionVocabulary.of(["[M+H]+", "[M+Na]+", "[M+H]+"], ["QFT", "", "ITFT"])
    assert one == ConditionVocabulary.of(["[M+Na]+", "[M+H]+", "[M+H]+"], ["", "ITFT", "QFT"])
    assert one.instruments == ("ITFT", "QFT")
    more = ConditionVocabulary.of(["[M+K]+", "[M+H]+"], ["FT", "QFT"], before=one)
    assert more.adducts == ("[M+H]+", "[M+Na]+", "[M+K]+")
    assert (more.instruments, more.shares) == (("ITFT", "QFT", "FT"), (0, 0, 0.5, 0.5))


def test_a_vocabulary_travels_as_json() -> None:
    assert ConditionVocabulary.from_dict(json.loads(json.dumps(VOCABULARY.to_dict()))) == VOCABULARY


def test_a_vocabulary_must_make_sense() -> None:
    with pytest.raises(UsageError, match="adducts: none; expected at least one"):
        ConditionVocabulary(adducts=())
    with pytest.raises(UsageError, match="instruments: a, a; expected each once"):
        ConditionVocabulary(adducts=("[M+H]+",), instruments=("a", "a"))
    for shares in ((0.5, 0.5, 0.0), (0.5, 0.6), (-0.5, 1.5), (math.nan, 1.0)):
        with pytest.raises(UsageError, match="shares: .*; expected of 'other' and of each instrument type one"):
            ConditionVocabulary(adducts=("[M+H]+",), instruments=("a",), shares=shares)


@pytest.mark.parametrize(
    ("energy", "unit", "told"),
    [
        (20.0, "V", "energy unit 'V'; expected eV or NCE"),
        (-1.0, "eV", "collision energy -1.0"),
        (math.nan, "eV", "nan"),
    ],
)
def test_a_condition_must_make_sense(energy: float, unit: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Condition("[M+H]+", energy, unit)


def test_an_adduct_may_be_spelled_otherwise() -> None:
    assert Condition("M+H", 20.0).adduct == Condition("[M+H]1+", 20.0).adduct == "[M+H]+"
    assert Condition("no adduct", 20.0).adduct == "no adduct"  # the model says what it knows
