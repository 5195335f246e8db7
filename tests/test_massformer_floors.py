"""The floors and the rule of the closest conditions, against plain loops and RDKit's Tanimoto."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.closest import Conditions, closest_rows, rows_by_condition
from ms2img.massformer.evaluate.floors import nearest_neighbour, precursor_only, tanimoto

ADDUCTS = ("[M+H]+", "[M+Na]+", "[M-H]-")


def _conditions(random: np.random.Generator, n: int, adducts: tuple[str, ...] = ADDUCTS) -> Conditions:
    nce = random.choice([15.0, 30.0, 35.0, 60.0, np.nan], n)
    return Conditions(random.choice(adducts, n), random.choice(["QFT", "ITFT"], n), nce * random.random(n), nce)


def _asked(random: np.random.Generator, n: int) -> list[Condition]:
    return [
        Condition(
            adduct=str(random.choice(ADDUCTS)),
            energy=random.choice([15.0, 30.0, 33.0, None]),
            energy_unit=str(random.choice(["eV", "NCE"])),
            instrument_type=str(random.choice(["QFT", "ITFT", "QTOF"])),
        )
        for _ in range(n)
    ]


def _key(asked: Condition, of: Conditions, row: int) -> tuple[float, bool, int]:
    """What the closest row has least of."""
    energy = (of.energy_ev if asked.energy_unit == "eV" else of.energy_nce)[row]
    if asked.energy is None or math.isnan(energy):
        off = 0.0 if asked.energy is None and math.isnan(energy) else math.inf
    else:
        off = abs(energy - asked.energy)
    return off, of.instrument[row] != asked.instrument_type, row


def test_precursor_only_is_one_peak_in_a_half_open_bin() -> None:
    spectra = precursor_only(np.array([0.0, 99.999, 100.0, 100.05, 1000.0]), bin_width=1.0, n_bins=1000)
    assert spectra.sum(axis=1).tolist() == [1, 1, 1, 1, 0]
    assert spectra.argmax(axis=1)[:4].tolist() == [0, 99, 100, 100]
    fine = precursor_only(np.array([100.05]), bin_width=0.1, n_bins=10_000)
    assert fine.argmax() == 1000


def test_tanimoto_is_that_of_rdkit() -> None:
    from rdkit import DataStructs

    random = np.random.default_rng(0)
    first, second = (random.random((5, 64)) < 0.3 for _ in range(2))
    first[4] = second[4] = False
    ours = tanimoto(first.astype(np.uint8), second.astype(np.uint8))
    vectors = [
        [DataStructs.CreateFromBitString("".join("01"[int(bit)] for bit in row)) for row in x] for x in (first, second)
    ]
    expected = [[DataStructs.TanimotoSimilarity(one, other) for other in vectors[1]] for one in vectors[0]]
    expected[4][4] = 0.0  # RDKit calls two empty ones equal
    assert ours == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize("within", [math.inf, 5.0])
def test_closest_rows_against_a_loop(within: float) -> None:
    random = np.random.default_rng(1)
    of, molecule = _conditions(random, 80), random.integers(0, 12, 80)
    for asked in _asked(random, 20):
        found = closest_rows(asked, of=of, molecule=molecule, within=within)
        expected = []
        for each in range(12):
            rows = [row for row in range(80) if molecule[row] == each and of.adduct[row] == asked.adduct]
            best = min((_key(asked, of, row) for row in rows), default=None)
            expected += [best[2]] if best is not None and best[0] <= within else []
        assert found.tolist() == expected


def test_rows_by_condition_part_all_rows_by_what_they_share() -> None:
    asked = _asked(np.random.default_rng(2), 100)
    groups = rows_by_condition(asked)
    assert sorted(row for rows in groups.values() for row in rows) == list(range(100))
    assert all(asked[row] == condition for condition, rows in groups.items() for row in rows)


def test_nearest_neighbour_against_a_loop() -> None:
    random = np.random.default_rng(3)
    asked, library = _asked(random, 40), _conditions(random, 90, ADDUCTS[:2])
    molecule, library_molecule = random.integers(0, 7, 40), random.integers(0, 15, 90)
    ours, theirs = ((random.random((n, 24)) < 0.4).astype(np.uint8) for n in (7, 15))
    found = nearest_neighbour(
        ours, asked, molecule, library_fingerprint=theirs, library=library, library_molecule=library_molecule
    )
    for row in range(40):
        rows = [other for other in range(90) if library.adduct[other] == asked[row].adduct]
        if not rows:
            assert found[row] == -1
            continue
        mine = ours[molecule[row]].astype(bool)
        best = min(
            {int(library_molecule[other]) for other in rows},
            key=lambda each: (-(mine & (theirs[each] > 0)).sum() / (mine | (theirs[each] > 0)).sum(), each),
        )
        expected = min(_key(asked[row], library, other) for other in rows if library_molecule[other] == best)
        assert found[row] == expected[2]
    assert (found == -1).any()
