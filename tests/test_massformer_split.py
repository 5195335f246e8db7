"""Splits by scaffold and by molecule: what must hold for any library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ms2img.errors import UsageError
from ms2img.massformer.split import PARTS, split_molecules


def library(scaffolds: Sequence[str], first: int = 0) -> pa.Table:
    """Molecules M000, M001, ... with these scaffolds."""
    ids = [f"M{number:03}" for number in range(first, first + len(scaffolds))]
    return pa.table({"molecule_id": pa.array(ids, pa.string()), "scaffold": pa.array(scaffolds, pa.string())})


def scaffolds(names: int = 30) -> st.SearchStrategy[list[str]]:
    """Few names, some of them common; "" is an acyclic molecule."""
    common = st.sampled_from(["", "", "c1ccccc1", "C1CC1"])
    return st.lists(common | st.integers(0, names).map(lambda number: f"S{number}"), min_size=25, max_size=150)


def dealt(table: pa.Table, **options: object) -> dict[str, str]:
    """A split, where the groups are enough to fill each part."""
    try:
        return split_molecules(table, **{"by": "scaffold", "seed": 0, **options})  # type: ignore[arg-type]
    except UsageError as error:
        assume("part empty" not in str(error))
        raise


def group_of(table: pa.Table, by: str) -> dict[str, str]:
    rows = zip(table["molecule_id"].to_pylist(), table["scaffold"].to_pylist(), strict=True)
    return {each: each if by == "inchikey" or not scaffold else scaffold for each, scaffold in rows}


@settings(max_examples=80, deadline=None)
@given(names=scaffolds(), by=st.sampled_from(["scaffold", "inchikey"]), seed=st.integers(0, 99))
def test_groups_never_straddle_and_each_part_is_within_one_group_of_its_share(
    names: list[str], by: str, seed: int
) -> None:
    table = library(names)
    parts = dealt(table, by=by, seed=seed)
    groups = group_of(table, by)
    assert set(parts) == set(groups)
    assert len({(groups[each], part) for each, part in parts.items()}) == len(set(groups.values()))
    largest = max(Counter(groups.values()).values())
    counts = Counter(parts.values())
    for part, share in zip(PARTS, (0.7, 0.1, 0.2), strict=True):
        assert abs(counts[part] - share * len(names)) <= largest


@settings(max_examples=60, deadline=None)
@given(
    names=scaffolds(),
    by=st.sampled_from(["scaffold", "inchikey"]),
    seed=st.integers(0, 99),
    shuffle=st.integers(0, 99),
    fractions=st.sampled_from([(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.4, 0.2, 0.4)]),
)
def test_the_order_of_the_rows_does_not_matter(
    names: list[str], by: str, seed: int, shuffle: int, fractions: tuple[float, float, float]
) -> None:
    table = library(names)
    order = np.random.default_rng(shuffle).permutation(len(names))
    first = dealt(table, by=by, seed=seed, fractions=fractions)
    second = dealt(table.take(order), by=by, seed=seed, fractions=fractions)
    assert first == second
    assert list(first) == list(second)


@settings(max_examples=80, deadline=None)
@given(
    names=scaffolds(),
    out=st.lists(st.sampled_from(["", "c1ccccc1", "S1", "S2", "Z"]), max_size=8),
    first=st.integers(0, 40),
    by=st.sampled_from(["scaffold", "inchikey"]),
)
def test_exactly_what_the_held_out_library_shares_is_dropped(
    names: list[str], out: list[str], first: int, by: str
) -> None:
    table, held_out = library(names), library(out, first)
    parts = dealt(table, by=by, held_out=held_out)
    groups = group_of(table, by)
    ids_out, groups_out = set(held_out["molecule_id"].to_pylist()), set(group_of(held_out, by).values())
    assert {each for each, part in parts.items() if part == "dropped"} == {
        each for each in groups if each in ids_out or groups[each] in groups_out
    }
    assert Counter(parts.values()).total() == len(names)


def test_acyclic_molecules_are_dealt_one_by_one() -> None:
    parts = dealt(library([""] * 100))
    assert Counter(parts.values()) == {"train": 70, "validation": 10, "test": 20}


def test_an_acyclic_molecule_held_out_drops_only_itself() -> None:
    parts = dealt(library([""] * 40), held_out=library([""], first=7))
    assert [each for each, part in parts.items() if part == "dropped"] == ["M007"]


def test_a_held_out_tautomer_is_dropped_though_its_scaffold_is_another() -> None:
    held_out = pa.table({"molecule_id": ["M003"], "scaffold": ["O=C1CC=CN1"]})
    parts = dealt(library(["Oc1ccc[nH]1"] * 4 + [""] * 40), held_out=held_out)
    assert [each for each, part in parts.items() if part == "dropped"] == ["M003"]


def test_seeds_differ_and_the_share_is_of_molecules_not_of_scaffolds() -> None:
    names = [f"S{number}" for number in range(40) for _ in range(1 + number % 3)]
    splits = [dealt(library(names), seed=seed) for seed in range(5)]
    assert len({tuple(parts.values()) for parts in splits}) == 5
    for parts in splits:
        assert abs(Counter(parts.values())["test"] - 0.2 * len(names)) <= 3


@pytest.mark.parametrize("seed", range(5))
def test_a_scaffold_too_common_for_a_small_part_is_learnt_from(seed: int) -> None:
    parts = dealt(library(["c1ccccc1"] * 18 + [f"S{number}" for number in range(82)]), seed=seed)
    assert {parts[f"M{number:03}"] for number in range(18)} == {"train"}
    assert Counter(parts.values()) == {"train": 70, "validation": 10, "test": 20}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "formula"}, "split by 'formula'; expected one of scaffold, inchikey"),
        ({"fractions": (0.7, 0.3, 0.0)}, "expected three above 0"),
        ({"fractions": (0.7, 0.2, 0.2)}, "sum 1"),
        ({"fractions": (0.7, float("nan"), 0.2)}, "expected three above 0"),
        ({"fractions": (0.7, 0.3)}, "expected three above 0"),
        ({"held_out": library(["S0"])}, "leave the train part empty"),
    ],
)
def test_a_split_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split_molecules(library(["S0"] * 9), **{"by": "scaffold", "seed": 0, **options})  # type: ignore[arg-type]


def test_one_scaffold_cannot_fill_three_parts() -> None:
    with pytest.raises(UsageError, match="9 molecules in 1 groups leave the validation part empty"):
        split_molecules(library(["S0"] * 9), by="scaffold", seed=0)


def test_a_molecule_listed_twice_is_refused() -> None:
    table = pa.concat_tables([library([""] * 3), library([""])])
    with pytest.raises(UsageError, match="'M000' is listed twice"):
        split_molecules(table, by="inchikey", seed=0)
