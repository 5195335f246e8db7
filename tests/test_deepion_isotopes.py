"""The isotope mass rules, against the authors' own table, a plain double loop and the masses of nature."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyteomics.mass import nist_mass

from ms2img.deepion.isotopes import (
    CHARGES,
    RULES,
    Candidates,
    isotope_candidates,
    isotope_groups,
    linked,
)
from ms2img.errors import UsageError

#: ``isotope_type`` of the authors' table.
TYPES = {1: "13C", 2: "34S", 4: "41K"}


@pytest.fixture(scope="module")
def peaks(shared: Path) -> np.ndarray:
    return np.loadtxt(shared / "data/deepion/Pos_brain_data_peak.csv")


@pytest.fixture(scope="module")
def table(shared: Path) -> dict[float, list[tuple[float, str, int]]]:
    """The authors' groups in positive mode: monoisotopic m/z -> (m/z, isotope, charge) of each isotope."""
    groups = {}
    with (shared / "data/deepion/Pos_ISO_result.csv").open() as file:
        for row in csv.DictReader(file):
            found = [number for number in range(1, 5) if float(row[f"isotope_{number}"]) > 0]
            members = [
                (
                    float(row[f"isotope_{number}"]),
                    TYPES[int(float(row[f"isotope_type_{number}"]))],
                    int(float(row[f"charge_{number}"])),
                )
                for number in found
            ]
            if members:
                groups[float(row["monoisotope"])] = members
    return groups


def told(mz: np.ndarray, candidates: Candidates, accepted: np.ndarray) -> dict[float, list[tuple[float, str, int]]]:
    return {
        mz[group.parent]: [
            (mz[member.ion], candidates.isotope(member.row), int(candidates.charge[member.row]))
            for member in group.members
        ]
        for group in isotope_groups(mz, candidates, accepted)
    }


def test_every_pair_of_the_authors_is_a_candidate_and_their_groups_follow(peaks, table):
    candidates = isotope_candidates(peaks, "positive")
    pairs = {(parent, member[0]) for parent, members in table.items() for member in members}
    accepted = np.array(
        [(peaks[p], peaks[c]) in pairs for p, c in zip(candidates.parent, candidates.child, strict=True)]
    )
    found = {(peaks[p], peaks[c]) for p, c in zip(candidates.parent[accepted], candidates.child[accepted], strict=True)}
    assert len(table) == 442  # section 4.2
    assert len(pairs) == 619
    assert found == pairs
    assert told(peaks, candidates, accepted) == table  # isotope for isotope, in their order


@pytest.mark.parametrize("ppm", [9.6, 10.1])
def test_another_tolerance_gives_other_groups(peaks, table, ppm):
    """The ten ppm are the authors': less loses a pair, more turns one's 41K into 34S, which is tried first."""
    pairs = {(parent, member[0]) for parent, members in table.items() for member in members}
    candidates = isotope_candidates(peaks, "positive", ppm)
    accepted = np.array(
        [(peaks[p], peaks[c]) in pairs for p, c in zip(candidates.parent, candidates.child, strict=True)]
    )
    assert told(peaks, candidates, accepted) != table


def test_steps_are_those_of_nature():
    of_nature = {"13C": ("C", 13, 12), "34S": ("S", 34, 32), "41K": ("K", 41, 39), "37Cl": ("Cl", 37, 35)}
    of_nature |= {"81Br": ("Br", 81, 79)}
    for rules in RULES.values():
        for rule in rules:
            symbol, heavy, light = of_nature[rule.isotope]
            step = nist_mass[symbol][heavy][0] - nist_mass[symbol][light][0]
            assert rule.step == pytest.approx(step, abs=1e-5)


masses = st.lists(st.floats(100, 110), min_size=0, max_size=25)


@given(masses, st.sampled_from(["positive", "negative"]), st.floats(1, 400))
def test_candidates_are_those_of_a_double_loop(values, polarity, ppm):
    mz = np.array(values, np.float64)
    found = isotope_candidates(mz, polarity, ppm)
    rows = zip(found.charge, found.rule, found.exchanges, found.parent, found.child, strict=True)
    wanted = {
        (charge, number, exchanges, parent, child)
        for charge in CHARGES
        for number, rule in enumerate(RULES[polarity])
        for exchanges in range(1, rule.most + 1)
        for parent in range(len(mz))
        for child in range(len(mz))
        if abs(mz[child] - mz[parent] - exchanges * rule.step / charge) <= mz[parent] * ppm * 1e-6 - 1e-9
    }
    got = {tuple(map(int, row)) for row in rows}
    assert wanted <= got
    assert len(got) == len(found)
    assert np.all(np.abs(found.error_ppm) <= ppm + 1e-4)
    assert np.all(np.diff(mz[found.parent]) >= 0)


@given(masses, st.floats(10, 2000), st.randoms(use_true_random=False))
def test_groups_are_ladders_without_a_missing_rung_and_share_no_ion(values, ppm, random):
    mz = np.unique(values)
    candidates = isotope_candidates(mz, "positive", ppm)
    accepted = np.array([random.random() < 0.7 for _ in range(len(candidates))], bool)
    groups = isotope_groups(mz, candidates, accepted)
    ions = [group.parent for group in groups] + [member.ion for group in groups for member in group.members]
    assert len(ions) == len(set(ions))
    for group in groups:
        for member in group.members:
            row = member.row
            assert accepted[row]
            assert (candidates.parent[row], candidates.child[row]) == (group.parent, member.ion)
            rungs = [
                candidates.exchanges[other.row]
                for other in group.members
                if (candidates.charge[other.row], candidates.rule[other.row])
                == (candidates.charge[row], candidates.rule[row])
            ]
            assert rungs == list(range(1, len(rungs) + 1))


def test_a_carbon_ladder_a_chloride_and_a_doubly_charged_ion():
    positive = np.array([500.0, 501.00336, 502.00672, 504.01344, 700.0, 700.50168])
    candidates = isotope_candidates(positive, "positive")
    groups = told(positive, candidates, np.ones(len(candidates), bool))
    assert groups == {
        500.0: [(501.00336, "13C", 1), (502.00672, "13C", 1)],  # 13C4 has no 13C3 to stand on
        700.0: [(700.50168, "13C", 2)],
    }
    negative = np.array([213.902, 213.902 + 1.99705])
    candidates = isotope_candidates(negative, "negative")
    groups = isotope_groups(negative, candidates, np.ones(len(candidates), bool))
    assert [candidates.isotope(member.row) for group in groups for member in group.members] == ["37Cl"]


def test_order_of_the_ions_does_not_matter():
    mz = np.sort(np.random.default_rng(0).uniform(100, 110, 60))
    shuffle = np.random.default_rng(1).permutation(60)
    straight, shuffled = isotope_candidates(mz, "negative", 300), isotope_candidates(mz[shuffle], "negative", 300)
    assert np.array_equal(mz[straight.child], mz[shuffle][shuffled.child])
    assert np.array_equal(straight.error_ppm, shuffled.error_ppm)


@pytest.mark.parametrize(
    ("brightness", "child", "is_linked"),
    [
        ([2.0, 1.0], [0.15, 0.2], True),  # exactly 0.25 away
        ([2.0, 1.0], [0.2, 0.2], False),
        ([1.0, 2.0], [0.15, 0.2], False),
        ([1.0, 1.0], [0.0, 0.0], False),
    ],
)
def test_images_support_a_pair_when_the_parent_is_brighter_and_near(brightness, child, is_linked):
    candidates = isotope_candidates(np.array([200.0, 201.00336]), "positive")
    found = linked(candidates, np.array(brightness), np.array([[0.0, 0.0], child]))
    assert len(found) == len(candidates) > 0
    assert set(found.tolist()) == {is_linked}


@pytest.mark.parametrize(
    ("mz", "polarity", "ppm", "words"),
    [
        ([100.0], "both", 10.0, "polarity: 'both'; expected one of positive, negative"),
        ([100.0], "positive", 0.0, "ppm: 0.0; expected a number above 0"),
        ([100.0], "positive", np.nan, "ppm: nan; expected a number above 0"),
        ([100.0, -1.0], "positive", 10.0, "mz: -1.0 at place 1; expected a number above 0"),
        ([np.inf], "positive", 10.0, "mz: inf at place 0; expected a number above 0"),
    ],
)
def test_bad_input_is_named(mz, polarity, ppm, words):
    with pytest.raises(UsageError, match=f"^{words}$"):
        isotope_candidates(np.array(mz), polarity, ppm)
