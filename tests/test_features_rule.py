"""The rule by which features join: the same table as brute force, whatever the order, the blocks and the workers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from features_inputs import as_features, as_table, feature_lists, in_rows, prepared
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.features_brute import Feature, mean_similarity, merge
from ms2img.io.dataset.features import PEAKS, FeatureTable
from ms2img.ms2toimg.features.across import Merged, feature_names, merge_across, partitions
from ms2img.ms2toimg.features.onto import Target
from ms2img.ms2toimg.features.similarity import EQUIVALENT, REACH, SpectrumSimilarity, Tolerances, spectrum_similarity
from ms2img.ms2toimg.features.within import merge_within

SIGMA = Tolerances(mz=0.01, rt=60.0)
SIMILARITIES = {name: spectrum_similarity(name, 0.02) for name in ("cosine", "entropy")}
similarities = st.sampled_from(sorted(SIMILARITIES)).map(SIMILARITIES.__getitem__)
SAMPLES = list("abc")


def rows_of(merged: Merged) -> list[tuple[str, str, float, dict[str, float]]]:
    """Founder's sample and spectrum, its m/z, and who has how much of it."""
    heights: list[dict[str, float]] = [{} for _ in range(len(merged.founders))]
    for feature, sample, height in zip(merged.feature, merged.sample, merged.height, strict=True):
        assert SAMPLES[sample] not in heights[feature], "twice in one sample"
        heights[feature][SAMPLES[sample]] = height
    founders = merged.founders.to_pylist()
    return [
        (row["sample_id"], row["spectrum_id"], row["precursor_mz"], own)
        for row, own in zip(founders, heights, strict=True)
    ]


@settings(deadline=None, max_examples=80)
@given(feature_lists(), similarities, st.randoms(use_true_random=False))
def test_across_samples_the_table_is_that_of_brute_force_in_any_order(features, similarity, random):
    shuffled = features.copy()
    random.shuffle(shuffled)
    merged = merge_across(as_table(shuffled), SAMPLES, SIGMA, similarity)

    entries = merge(prepared(features, similarity), SIGMA.mz, SIGMA.rt, similarity.compare, one_a_sample=True)
    expected = [(found.sample, found.spectrum, found.mz, own) for found, own in in_rows(entries)]
    assert rows_of(merged) == expected
    assert sum(sum(own.values()) for *_, own in expected) == sum(each.height for each in features)


@settings(deadline=None, max_examples=60)
@given(feature_lists(), similarities, st.randoms(use_true_random=False))
def test_within_a_sample_the_features_are_those_of_brute_force_in_any_order(features, similarity, random):
    own = [each for each in features if each.sample == features[0].sample]
    shuffled = own.copy()
    random.shuffle(shuffled)
    merged = merge_within(as_table(shuffled), SIGMA, similarity)

    entries = merge(prepared(own, similarity), SIGMA.mz, SIGMA.rt, similarity.compare, one_a_sample=False)
    found = merged.select(["spectrum_id", "height"]).to_pylist()
    assert found == [{"spectrum_id": each.founder.spectrum, "height": each.height} for each in entries]
    assert merged["height"].to_numpy().sum() == sum(each.height for each in own)


@settings(deadline=None, max_examples=40)
@given(feature_lists(), similarities)
def test_ranges_of_mz_that_are_merged_by_themselves_give_the_same_table(features, similarity):
    table = as_table(features)
    mz = table["precursor_mz"].to_numpy()
    ranges = partitions(mz, SIGMA.window, at_least=1)
    assert all(low[1] + SIGMA.window < high[0] for low, high in pairwise(ranges))

    pieces = []
    for low, high in ranges:
        rows = table.filter(pa.array((mz >= low) & (mz <= high)))
        pieces += rows_of(merge_across(rows, SAMPLES, SIGMA, similarity))
    assert pieces == rows_of(merge_across(table, SAMPLES, SIGMA, similarity))


def test_ranges_hold_at_least_what_is_asked_and_everything_once():
    mz = np.sort(np.random.default_rng(0).uniform(100, 200, 3000))
    ranges = partitions(mz[::-1], 0.05, at_least=100)
    sizes = [np.count_nonzero((mz >= low) & (mz <= high)) for low, high in ranges]
    assert sum(sizes) == len(mz)
    assert len(ranges) > 5
    assert min(sizes[:-1]) >= 100


def test_beyond_the_window_no_pair_can_be_equivalent_and_within_it_some_are():
    """A mean of three over 0.8 needs each over 0.4; the two others are perfect here."""
    peaks = np.array([[100.0, 1.0]])
    here = Feature("a", "1", 300.0, 10.0, 1.0, peaks)
    for factor, is_equivalent in ((0.999, True), (1.001, False)):
        there = Feature("b", "1", 300.0 + factor * SIGMA.window, 10.0, 1.0, peaks)
        mean = mean_similarity(here, there, SIGMA.mz, SIGMA.rt, lambda a, b: 1.0)
        assert (mean > EQUIVALENT) is is_equivalent
        merged = merge_across(as_table([here, there]), ["a", "b"], SIGMA, SIMILARITIES["cosine"])
        assert len(merged.founders) == (1 if is_equivalent else 2)
    assert pytest.approx(1.3537, abs=1e-4) == REACH


def test_an_absent_retention_time_leaves_the_mean_to_the_other_two():
    """At one sigma of m/z, equal spectra: the mean of two is 0.803, that of three with RT at 1.3 sigma is 0.679."""
    peaks = np.array([[100.0, 1.0]])
    one = Feature("a", "1", 300.0, None, 2.0, peaks)
    for rt, shift, n_features in ((78.0, 0.01, 1), (None, 0.01, 1), (78.0, 0.0105, 2)):
        other = Feature("b", "1", 300.0 + shift, rt, 1.0, peaks)
        assert len(merge_across(as_table([one, other]), SAMPLES, SIGMA, SIMILARITIES["cosine"]).founders) == n_features
    timed = Feature("a", "1", 300.0, 0.0, 2.0, peaks)
    late = Feature("b", "1", 300.01, 78.0, 1.0, peaks)
    assert len(merge_across(as_table([timed, late]), SAMPLES, SIGMA, SIMILARITIES["cosine"]).founders) == 2


def test_more_entries_than_there_was_room_for():
    features = [Feature("a", str(row), 100.0 + row, 1.0, 1.0 + row % 7, np.array([[50.0, 1.0]])) for row in range(300)]
    again = [Feature("b", each.spectrum, each.mz + 0.001, 1.0, each.height, each.peaks) for each in features]
    merged = merge_across(as_table(features + again), SAMPLES, SIGMA, SIMILARITIES["entropy"])
    assert len(merged.founders) == 300
    assert np.bincount(merged.feature).tolist() == [2] * 300
    assert (np.diff(merged.founders["precursor_mz"].to_numpy()) > 0).all()


@settings(deadline=None, max_examples=40)
@given(feature_lists(), feature_lists(max_size=12), similarities)
def test_onto_a_table_each_feature_joins_its_best_free_entry_or_is_counted(features, new, similarity):
    merged = merge_across(as_table(features), SAMPLES, SIGMA, similarity)
    target = Target(table_of(merged), SIGMA, similarity)
    own = [each for each in new if each.sample == new[0].sample]
    target.place(as_table(features))  # another sample before it changes nothing
    placed = target.place(as_table(own))

    founders = prepared(as_features(merged.founders), similarity)
    expected = place_plainly(founders, prepared(own, similarity), similarity)
    assert dict(zip(placed.feature.tolist(), placed.height.tolist(), strict=True)) == expected
    assert len(expected) + placed.n_unmatched == len(own)


def place_plainly(founders: list[Feature], own: list[Feature], similarity: SpectrumSimilarity) -> dict[int, float]:
    taken: dict[int, float] = {}
    ordered = sorted(own, key=lambda each: (-each.height, each.mz, each.rt is None, each.rt or 0, each.spectrum))
    for feature in ordered:
        best, best_mean = None, 0.8
        for row, founder in enumerate(founders):
            mean = mean_similarity(founder, feature, SIGMA.mz, SIGMA.rt, similarity.compare)
            if row not in taken and mean > best_mean:
                best, best_mean = row, mean
        if best is not None:
            taken[best] = feature.height
    return taken


def table_of(merged: Merged) -> FeatureTable:
    founders = merged.founders
    mz, rt = founders["precursor_mz"].to_numpy(), founders["rt_seconds"].to_numpy()
    names = tuple(feature_names(mz, rt))
    assert len(set(names)) == len(names)
    return FeatureTable((), names, mz, rt, founders.select(PEAKS.names), np.zeros((0, len(mz))), {}, "")
