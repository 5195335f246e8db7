"""Q2Y, the number of components and the permutation test of OPLS-DA, against a plain loop of R's ropls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from test_oplsda import study

from ms2img.ms2toimg.baselines.oplsda_validation import choose, fold_of, permutation_test


def ropls(
    rows: np.ndarray, target: np.ndarray, orthogonal: int, fold: np.ndarray, centre: str = "training"
) -> tuple[list[float], list[float]]:
    """R2Y and Q2Y after 0, 1, ... orthogonal components: Trygg and Wold's steps on the rows themselves, fold by fold.

    Rows centred and y scaled once over everything, as in ropls, and, but for "all", again in each training part.
    """
    x = rows - rows.mean(axis=0)
    y = (target - target.mean()) / target.std(ddof=1)
    parts = [(fold != k, fold == k) for k in np.unique(fold)]
    means = [(x[train].mean(axis=0), y[train].mean()) if centre == "training" else (0.0, 0.0) for train, _ in parts]
    trains = [x[train] - mean for (train, _), (mean, _) in zip(parts, means, strict=True)] + [x]
    tests = [x[test] - mean for (_, test), (mean, _) in zip(parts, means, strict=True)]
    ys = [(y[a] - mean, y[b] - mean) for (a, b), (_, mean) in zip(parts, means, strict=True)] + [(y, y)]
    r2y, q2y = [], []
    for _ in range(orthogonal + 1):
        press = 0.0
        for k, train in enumerate(trains):
            w = train.T @ ys[k][0]
            w /= np.sqrt(w @ w)
            t = train @ w
            c = ys[k][0] @ t / (t @ t)
            p = train.T @ t / (t @ t)
            w_o = p - (w @ p) / (w @ w) * w
            w_o /= np.sqrt(w_o @ w_o)
            t_o = train @ w_o
            p_o = train.T @ t_o / (t_o @ t_o)
            trains[k] = train - np.outer(t_o, p_o)
            if k < len(tests):
                press += np.sum((ys[k][1] - tests[k] @ w * c) ** 2)
                tests[k] = tests[k] - np.outer(tests[k] @ w_o, p_o)
            else:
                r2y.append(float(np.sum((t * c) ** 2) / np.sum(y**2)))
        q2y.append(float(1 - press / np.sum(y**2)))
    return r2y, q2y


@pytest.mark.parametrize("centre", ["training", "all"])
@pytest.mark.parametrize(("shape", "seed"), [((40, 60), 0), ((30, 300), 1), ((60, 12), 2)])
def test_the_measures_are_those_of_ropls(shape, seed, centre):
    rows, target = study(seed, *shape, shift=1.0)
    r2y, q2y = ropls(rows, target, 4, np.arange(len(target)) % 7, centre)  # ropls: rows 1, 8, ... are the first fold
    for orthogonal in range(5):
        found = choose(rows, target, orthogonal=orthogonal, centre=centre)
        assert (found.r2y, found.q2y) == pytest.approx((r2y[orthogonal], q2y[orthogonal]), abs=1e-8)


def chosen_by_the_rules(r2y: list[float], q2y: list[float]) -> int | None:
    """The number of orthogonal components by ropls's rules, told one component after another; None: no model."""
    kept = 0
    for step in range(len(r2y)):
        gain_r, gain_q = (each[step] - (each[step - 1] if step else 0.0) for each in (r2y, q2y))
        if gain_r < 0.01 or gain_q < 0.01:
            break
        kept += 1
    return kept - 1 if kept >= 2 else None


def test_components_are_chosen_by_the_rules_of_ropls():
    numbers = set()
    for seed in range(40):
        rows, target = study(seed, 40, 60, shift=seed / 20)
        expected = chosen_by_the_rules(*ropls(rows, target, 9, np.arange(40) % 7))
        found = choose(rows, target)
        assert (found.orthogonal, found.significant) == ((1, False) if expected is None else (expected, True)), seed
        numbers.add(expected)
    assert {None, 1, 2, 3} <= numbers  # the studies reach every kind of end


def test_groups_of_one_row_are_ropls_itself_and_groups_stay_together():
    rows, target = study(3)
    groups = np.array([f"{row:03d}" for row in range(40)])
    assert choose(rows, target, groups) == choose(rows, target)
    groups = np.repeat(["d", "a", "c", "b", "h", "g", "f", "e"], 5)
    fold = fold_of(groups, 40)
    np.testing.assert_array_equal(fold, np.repeat([0, 1, 2, 3, 4, 5, 6, 0], 5))  # dealt in order of appearance
    target = np.repeat([0, 1, 0, 1, 0, 1, 0, 1], 5)
    _, q2y = ropls(rows, target, 1, fold)
    assert choose(rows, target, groups, orthogonal=1).q2y == pytest.approx(q2y[1], abs=1e-8)


@pytest.mark.parametrize(("orthogonal", "groups"), [(1, False), (2, True), (None, False)])
def test_random_labels_are_predicted_no_better_than_by_chance(orthogonal, groups):
    """Over 200 labellings that mean nothing: Q2Y is 0 at most, and every p-value is as likely as any other."""
    # One in a hundred fails by chance, so seeds are fixed; 1,000 labellings of either kind gave p of .29 to .45.
    rng = np.random.default_rng(18 if groups else 17)
    results = []
    for number in range(200):
        each = 2 if groups else 1
        rows = np.repeat(rng.normal(size=(24 // each, 8)), each, axis=0) + 0.1 * rng.normal(size=(24, 8))
        target = np.repeat(rng.permutation(np.arange(24 // each) % 2), each)
        names = np.repeat(np.arange(24 // each), each) if groups else None
        results.append(permutation_test(rows, target, names, orthogonal=orthogonal, permutations=99, seed=number))
    assert np.mean([each.observed.q2y for each in results]) <= 0
    for p in ([each.p_r2y for each in results], [each.p_q2y for each in results]):
        assert stats.kstest(p, "uniform").pvalue > 0.01
        assert min(p) >= 0.01
        assert max(p) <= 1


def test_replicates_that_straddle_the_folds_would_have_looked_like_prediction():
    """What `groups` is for: the same meaningless labels are 'predicted' as soon as a replicate is left in training."""
    rng = np.random.default_rng(5)
    together, apart = [], []
    for _ in range(20):
        rows = np.repeat(rng.normal(size=(14, 200)), 3, axis=0) + 0.1 * rng.normal(size=(42, 200))
        target, groups = np.repeat(rng.permutation(np.arange(14) % 2), 3), np.repeat(np.arange(14), 3)
        together.append(choose(rows, target, groups, orthogonal=1).q2y)
        apart.append(choose(rows, target, orthogonal=1).q2y)
    assert np.mean(together) < 0
    assert np.mean(apart) > 0.5


def test_centring_over_all_rows_would_have_told_the_labels_that_are_left_out():
    """Why each training part is centred by itself: ropls finds prediction in labels that mean nothing."""
    rng = np.random.default_rng(9)
    ours, theirs = [], []
    for _ in range(50):
        rows, target = rng.normal(size=(20, 1000)), rng.permutation(np.arange(20) % 2)
        ours.append(choose(rows, target, orthogonal=1).q2y)
        theirs.append(choose(rows, target, orthogonal=1, centre="all").q2y)
    assert np.mean(ours) < -0.05
    assert np.mean(theirs) > 0.05


def test_a_difference_that_is_there_has_the_smallest_p_value():
    rows, target = study(6, shift=3)
    test = permutation_test(rows, target, permutations=99)
    alone = choose(rows, target)
    assert test.observed.orthogonal == alone.orthogonal
    assert (test.observed.r2y, test.observed.q2y) == pytest.approx((alone.r2y, alone.q2y), abs=1e-9)
    assert test.observed.q2y > 0.5
    assert test.p_q2y == pytest.approx(1 / 100)
    assert test.q2y.shape == test.r2y.shape == (99,)
    again = permutation_test(rows, target, permutations=99)
    np.testing.assert_array_equal(test.q2y, again.q2y)
    assert (permutation_test(rows, target, permutations=99, seed=1).q2y != test.q2y).any()


def test_a_permuted_labelling_is_measured_as_any_other():
    """The batch of labellings gives what each gives alone, whatever has been used up by another."""
    rows, target = study(7, 20, 4)  # four features: nothing is left to explain after four components
    test = permutation_test(rows, target, orthogonal=3, permutations=5, seed=2)
    rng = np.random.default_rng(2)
    for number in range(5):
        alone = choose(rows, target[rng.permutation(20)], orthogonal=3)
        assert (test.r2y[number], test.q2y[number]) == pytest.approx((alone.r2y, alone.q2y), abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"orthogonal": 12}, "0 to 11"),
        ({"orthogonal": -1}, "0 to 11"),
        ({"groups": np.zeros(60)}, "two groups"),
    ],
)
def test_what_cannot_be_computed_is_refused(arguments, message):
    rows, target = study(8, 60, 12)
    with pytest.raises(ValueError, match=message):
        choose(rows, target, **arguments)
    with pytest.raises(ValueError, match="expected two classes"):
        choose(rows, np.ones(60))
