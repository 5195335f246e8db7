"""The benchmark of Table 1: who is scored, what scores are, isotope pairs, cells that are kept. SIMULATED sections."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from ms2img.deepion.benchmark.labelled import Labelled, by_list, by_truth
from ms2img.deepion.benchmark.methods import ENCODER, METHODS, SIMILARITY, UMAP, VECTORS, unlearned
from ms2img.deepion.benchmark.networks import network_of
from ms2img.deepion.benchmark.pairs import PairSearch
from ms2img.deepion.benchmark.scores import score
from ms2img.deepion.images import IonImages
from ms2img.deepion.isotopes import FURTHEST, isotope_candidates, isotope_groups, linked
from ms2img.deepion.measures import cosine
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.images import ion_images
from ms2img.deepion.phantom.section import make_phantom
from ms2img.deepion.phantom.truth import score_pairs
from ms2img.deepion.presets import TRAINING
from ms2img.deepion.probe import leave_one_out
from ms2img.errors import UsageError
from ms2img.learn.intervals import bootstrap_mean, bootstrap_ratio
from pipelines.deepion import benchmark as command
from pipelines.deepion.benchmark_data import read_labels

OF_IONS = ("mz", "images", "presence", "intensity")  # the fields of `IonImages` with a row an ion


@pytest.fixture(scope="module")
def section() -> Labelled:
    """A section of 130 ions at 16x16."""
    phantom = make_phantom(PhantomConfig(height=16, width=16, ions=130, difficulty=0.2))
    ions, _ = ion_images(phantom)
    return by_truth("section", replace(ions, polarity="positive"), phantom.truth, difficulty=0.2)


def _ions(mz: list[float]) -> IonImages:
    random = np.random.default_rng(0)
    images = random.random((len(mz), 8, 8)).astype(np.float32)
    return IonImages(np.array(mz), images, np.ones((8, 8), bool))


def test_scored_are_monoisotopic_ions_of_molecules_that_are_not_alone_in_their_class(section: Labelled) -> None:
    assert section.truth is not None
    truth, row_of = section.truth.table.to_pylist(), section.truth.rows
    chosen = {
        row: truth[row_of[row]]["class"]
        for row in range(len(section.ions))
        if truth[row_of[row]]["isotope"] == 0 and not truth[row_of[row]]["is_decoy"]
    }
    classes = list(chosen.values())
    expected = {row: label for row, label in chosen.items() if classes.count(label) > 1}
    assert dict(zip(section.rows.tolist(), section.labels.tolist(), strict=True)) == expected
    counts = section.counts
    assert counts["alone_in_class"] == len(chosen) - len(expected) > 0
    assert counts["isotopes"] + counts["decoys"] + counts["alone_in_class"] + counts["scored"] == len(section.ions)


def test_of_two_images_of_one_ion_the_nearest_in_mass_is_its_own(section: Labelled) -> None:
    assert section.truth is not None
    ions, row = section.ions, int(section.rows[0])
    again = ions.mz[row] * (1 + 4e-6)
    mz = np.insert(ions.mz, row + 1, again)
    order = np.argsort(mz)
    images = np.insert(ions.images, row + 1, ions.images[row], axis=0)[order]
    found = by_truth("section", IonImages(mz[order], images, ions.mask), section.truth.table, difficulty=0.2)
    assert found.counts["not_in_truth"] == 1
    assert found.ions.mz[found.rows].tolist() == ions.mz[section.rows].tolist()


def test_labels_of_a_list_go_to_the_nearest_images_and_what_has_none_is_counted() -> None:
    ions, asked = _ions([100.0, 200.0, 300.0, 400.0, 500.0]), [200.001, 100.0, 300.0, 400.0, 450.0]
    found = by_list("real", ions, asked, list("babac"), source="l")
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.labels.tolist() == ["a", "b", "b", "a"]
    assert found.counts == {"ion_images": 5, "labels": 5, "labels_without_image": 1, "alone_in_class": 0, "scored": 4}
    assert found.truth is None
    with pytest.raises(UsageError, match=r"l: m/z 100.00000 and 100.00010 are the same ion image"):
        by_list("real", _ions([100.0, 200.0]), [100.0, 100.0001], ["a", "a"], source="l")
    with pytest.raises(UsageError, match="3 ion images of known class, 1 of them alone in theirs"):
        by_list("real", _ions([100.0, 200.0, 300.0]), [100.0, 200.0, 300.0], list("aab"), source="l")


def test_every_method_of_the_table_is_there_and_makes_what_it_says(section: Labelled) -> None:
    assert tuple(METHODS) == command.METHODS
    assert len(METHODS) == 11 + 1  # Table 1, and METASPACE
    ions, n = replace(section.ions, **{name: getattr(section.ions, name)[:24] for name in OF_IONS}), 24
    for method in METHODS.values():
        if method.kind == "network" or method.name == "umap":  # UMAP: test_deepion_embed
            continue
        [(space, values)] = unlearned(method.name, ions, seed=0).items()
        assert (space,) == method.spaces
        assert values.shape == (n, n) if space == SIMILARITY else (n, 20 if method.name == "pca" else 2)
        assert np.isfinite(values).all()
    assert np.array_equal(unlearned("cosine", ions, seed=0)[SIMILARITY], cosine(ions.images[:, ions.mask]))


def test_scores_are_those_of_the_scored_ions_alone(section: Labelled) -> None:
    similar = unlearned("cosine", section.ions, seed=0)[SIMILARITY]
    some = similar[np.ix_(section.rows, section.rows)]
    found = score(section, SIMILARITY, similar, top=3)
    assert found.accuracy.mean() == leave_one_out(some, section.labels).accuracy
    for ion in range(len(section.rows)):  # by hand
        others = sorted((other for other in range(len(some)) if other != ion), key=lambda other: -some[ion, other])
        alike = [section.labels[other] == section.labels[ion] for other in others]
        assert found.precision[ion] == pytest.approx(sum(alike[:3]) / min(3, sum(alike)))


def test_an_encoders_neighbours_are_by_direction_and_all_others_by_distance() -> None:
    ions = _ions([100.0, 200.0, 300.0, 400.0])
    data = Labelled("four", ions, np.arange(4), np.array(list("aabb")))
    vectors = np.array([[1.0, 0.0], [9.0, 1.0], [0.0, 1.0], [1.0, 9.0]])
    assert score(data, ENCODER, vectors, top=1).precision.tolist() == [1, 1, 1, 1]
    for space in (VECTORS, UMAP):
        assert score(data, space, vectors, top=1).precision.tolist() == [0, 1, 0, 1]


def test_simsiam_and_deepion_differ_in_their_views_alone() -> None:
    fit = replace(TRAINING["small"], seed=3)
    natural, ours, iso = (
        network_of(*each, "small", fit) for each in (("simsiam", "col"), ("deepion", "col"), ("deepion", "iso"))
    )
    assert natural.model == ours.model == iso.model
    assert natural.fit == ours.fit == iso.fit
    assert len({repr(each.views) for each in (natural, ours, iso)}) == 3
    assert network_of("simsiam", "col", "released", fit).model.method == "simsiam"
    assert network_of("deepion", "col", "released", fit).model.method == "byol"


def test_what_a_network_follows_from_is_no_matter_of_the_machine() -> None:
    fit = TRAINING["small"]
    one = network_of("deepion", "col", "small", fit).follows_from()
    assert network_of("deepion", "col", "small", replace(fit, threads=7, device="cuda")).follows_from() == one
    assert network_of("deepion", "col", "small", replace(fit, epochs=fit.epochs + 1)).follows_from() != one
    assert network_of("deepion", "iso", "small", fit).follows_from() != one
    untrained = network_of("resnet18", "col", "small", fit)
    assert untrained.views is None
    longer = network_of("resnet18", "col", "small", replace(fit, epochs=fit.epochs + 1))
    assert longer.follows_from() == untrained.follows_from()
    json.dumps(one)


def test_pairs_at_a_limit_are_those_of_the_isotope_search(section: Labelled) -> None:
    assert section.truth is not None
    ions, truth = section.ions, section.truth
    candidates = isotope_candidates(ions.mz, "positive")
    vectors = np.random.default_rng(0).random((len(ions), 2)) * 0.4
    accepted = linked(candidates, ions.intensity, vectors)
    pairs = [(g.parent, m.ion) for g in isotope_groups(ions.mz, candidates, accepted) for m in g.members]
    expected = score_pairs(pairs, truth.rows, truth.table)
    search = PairSearch(section)
    found = search.score(search.apart(UMAP, vectors), limit=FURTHEST)
    assert (found.found.sum(), found.right.sum(), found.present.sum()) == (
        expected.found,
        expected.right,
        expected.present,
    )
    assert (found.precision, found.recall) == (expected.precision, expected.recall)
    assert 0 < expected.right < expected.found


def test_distances_that_know_the_molecule_order_all_candidates_and_find_what_mass_allows(section: Labelled) -> None:
    assert section.truth is not None
    molecule = section.truth.table["envelope"].to_numpy()[section.truth.rows]
    search = PairSearch(section)
    knowing = search.apart(SIMILARITY, (molecule[:, None] == molecule).astype(float))
    best = search.best_limit(knowing)
    assert best == 0
    mass, found = search.without_images(), search.score(knowing, limit=best)
    assert found.average_precision == 1
    assert found.precision > mass.precision  # not 1: of a large molecule the first isotope may be the brightest ion
    assert found.recall >= mass.recall
    assert mass.precision < 1
    assert 0 < mass.average_precision < 1


def test_the_best_limit_is_where_a_roc_curve_is_farthest_above_its_diagonal(section: Labelled) -> None:
    search = PairSearch(section)
    apart = np.round(search.apart(VECTORS, np.random.default_rng(1).random((len(section.ions), 3))), 2)
    ranked, alike = search._ranked(apart)
    false, true, limits = roc_curve(alike, -ranked, drop_intermediate=False)
    index = dict(zip(-limits, true - false, strict=True))
    assert index[search.best_limit(apart)] == pytest.approx(max(index.values()))


def test_a_search_needs_truth_and_polarity(section: Labelled) -> None:
    with pytest.raises(UsageError, match="section: has no truth about its isotopes"):
        PairSearch(replace(section, truth=None))
    with pytest.raises(UsageError, match="section: has no polarity"):
        PairSearch(replace(section, ions=replace(section.ions, polarity=None)))


def test_a_ratios_interval_is_that_of_a_mean_where_each_example_counts_once() -> None:
    values = np.random.default_rng(0).random(50)
    mean, ratio = bootstrap_mean(values), bootstrap_ratio(values, np.ones(50))
    assert (ratio.low, ratio.high, ratio.n) == pytest.approx((mean.low, mean.high, mean.n))
    weights = np.array([0.0, 0.0, 4.0])  # most draws of three lack the last one or repeat it: the ratio is the same
    assert bootstrap_ratio([0.0, 0.0, 1.0], weights).low == bootstrap_ratio([0.0, 0.0, 1.0], weights).high == 0.25
    assert np.isnan(bootstrap_ratio([0.0], [0.0]).mean)
    with pytest.raises(ValueError, match="one length"):
        bootstrap_ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m,label\n1,a\n", "columns m, label; expected mz and label"),
        ("\n", "columns none; expected mz and label"),
        ("mz,label\n100,a\nx,b\n", "line 3: mz 'x'; expected a number above 0"),
        ("mz,label\n-1,a\n", "line 2: mz '-1'; expected a number above 0"),
        ("mz,label\n100\n", "line 2: no label"),
    ],
)
def test_a_list_of_labels_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as refused:
        read_labels(str(path))
    assert str(refused.value).startswith(str(path))


def test_a_list_of_labels_may_have_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("\ufeffname,label,mz\none,b ,100.5\ntwo,a,200\n".encode())
    assert read_labels(str(path)) == ([100.5, 200.0], ["b", "a"])
    with pytest.raises(UsageError, match="no such file|not found|does not exist"):
        read_labels(str(tmp_path / "none.csv"))
