"""Quality control of the real study: planted defects are named with their reason, a sound batch is left in peace."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from qc_studies import Study, converted, flags

from ms2img.io.dataset.image_counts import COUNTS
from ms2img.ms2toimg.qc import assess
from ms2img.ms2toimg.qc_blanks import preceding_runs
from ms2img.ms2toimg.qc_drift import similarity_to_mean
from ms2img.ms2toimg.qc_findings import Finding, Flag, mark_shared
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_profiles import profiles, unit
from ms2img.ms2toimg.qc_replicates import agreement, swaps
from ms2img.ms2toimg.qc_scope import not_judged
from ms2img.ms2toimg.qc_table import QC, Placed, to_arrow

#: The first injections of the study and one later run: a tenth of the spectra that such samples have.
POOR_RUNS = {"QEC18_F1-1_NIST-3", "QEC18_F1-1_To-3", "QEC18_F2-1_NIST-3", "QEC18_Qcmix_begin"}
STRUCTURE = (
    Flag.SWAPPED,
    Flag.UNLIKE_REPLICATES,
    Flag.REPLICATES_DISAGREE,
    Flag.DRIFT,
    Flag.FULL_BLANK,
    Flag.CARRY_OVER,
)


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Study:
    return Study.load(converted(shared, tmp_path_factory) / "out", shared / "data" / "qemistree" / "samples.csv")


@pytest.fixture
def study(real: Study) -> Study:
    return real.copy()


def test_a_sound_batch_is_left_in_peace(real):
    found = real.assess()
    assert flags(found, *STRUCTURE) == {}
    few = set(flags(found, Flag.FEW_SPECTRA)["few-spectra"])
    assert few == POOR_RUNS
    spectra = real.counts["n_spectra"]
    assert (spectra[list(few)] < 0.3 * spectra[real.ids("sample")].median()).all()
    # What is left are runs beyond a 99 % limit of the components: a few of 98.
    rest = found.table[(found.table["n_flags"] > 0) & ~found.table["sample_id"].isin(few)]
    assert set(";".join(rest["flags"]).split(";")) <= {"pca-distance", "pca-residual"}
    assert len(rest) <= 0.06 * len(real.counts)
    (gap,) = not_judged(found, has_order=True)
    assert "4 QC runs, at least 5" in gap


def test_the_table_is_whole_and_typed(real):
    table = to_arrow(real.assess().table)
    assert table.schema.equals(QC)
    assert table["sample_id"].to_pylist() == [each.run.sample_id for each in real.placed]
    assert table["n_fragments"].to_pylist() == [
        real.counts.loc[each.run.sample_id, "n_fragments"] for each in real.placed
    ]
    blank = dict(zip(table["sample_id"].to_pylist(), table.to_pylist(), strict=True))[real.ids("blank")[0]]
    assert blank["replicate_similarity"] is None
    assert blank["t2"] is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("QEC18_To_20181227204313", "QEC18_NIST_20181227182328"),
        ("QEC18_F1_20181227030329", "QEC18_F2-1_To-3_20181227041925"),
        ("QEC18_F2-3_To-1", "QEC18_F1-3_NIST-1"),
    ],
)
def test_a_swap_of_two_replicates_is_named_with_both_partners(study, first, second):
    one, other = study.run(first).accession, study.run(second).accession
    study.relabel(first, accession=other).relabel(second, accession=one)
    found = study.assess()
    assert sorted(flags(found, Flag.SWAPPED)["swapped"]) == sorted([first, second])
    reasons = found.table.set_index("sample_id")["reasons"]
    assert f"looks like {one} while {second} of {one} looks like {other}: swapped" in reasons[first]


def test_most_swaps_are_noticed_and_few_bystanders_named(real):
    """Over 60 random pairs, near mixtures among them: either run is named in two thirds, a bystander seldom."""
    rng = np.random.default_rng(1)
    noticed = bystanders = 0
    samples = real.ids("sample")
    for _ in range(60):
        first, second = rng.choice(samples, 2, replace=False)
        one, other = real.run(first).accession, real.run(second).accession
        if one == other:
            continue
        study = real.copy().relabel(first, accession=other).relabel(second, accession=one)
        named = set(chain(*flags(study.assess(), Flag.SWAPPED, Flag.UNLIKE_REPLICATES).values()))
        noticed += bool(named & {first, second})
        bystanders += len(named - {first, second})
    assert noticed >= 34
    assert bystanders <= 15


def test_a_run_unlike_its_replicates_and_its_accession_are_named(study):
    first, second, _ = (each for each in study.ids("sample") if study.run(each).accession == "0_0_0_100")
    study.become(first, "QEC18_To")
    found = study.assess()
    assert first in flags(found)["unlike-replicates"]
    study.become(second, "QEC18_F1")
    found = study.assess()
    assert {first, second} <= set(flags(found)["unlike-replicates"])
    assert flags(found)["replicates-disagree"] == ["0_0_0_100"]


def test_a_blank_that_is_a_sample_is_named(study):
    blank = study.ids("blank")[5]
    study.become(blank, "QEC18_F1-3_To-1")
    found = study.assess()
    assert flags(found, Flag.FULL_BLANK) == {"full-blank": [blank]}
    assert "full-blank" in found.table.set_index("sample_id").loc[blank, "flags"]


def test_carry_over_is_named_with_the_run_before(study):
    blank = study.ids("blank")[5]
    before = real_predecessor(study, blank)
    seen = np.random.default_rng(0).random(study.images.shape[1:]) < 0.4
    study.images[study.row(blank)] = np.maximum(study.image(blank), study.image(before) * seen)
    found = study.assess()
    assert flags(found, Flag.CARRY_OVER, Flag.FULL_BLANK) == {"carry-over": [blank]}
    row = found.table.set_index("sample_id").loc[blank]
    assert row["preceding_run"] == before
    assert f"of what {before}, injected before it, has" in row["reasons"]

    # By hand: shares of pixels on the same grid (75 x 70 is compared pixel by pixel).
    shown = study.image(blank) > 0
    drawn = {each: study.image(each) > 0 for each in study.ids("sample")}
    rare = np.mean(list(drawn.values()), axis=0) <= 0.25
    own = {each: pixels & rare for each, pixels in drawn.items()}
    shares = {each: (pixels & shown).sum() / pixels.sum() for each, pixels in own.items() if pixels.sum() >= 5}
    assert row["carry_over_seen"] == pytest.approx(shares.pop(before))
    assert row["carry_over_background"] == pytest.approx(np.median(list(shares.values())))


def real_predecessor(study: Study, blank: str) -> str:
    order = {each.run.sample_id: each.order for each in study.placed}
    earlier = [each for each in study.ids("sample") + study.ids("qc") if order[each] < order[blank]]
    return max(earlier, key=order.__getitem__)


def test_an_all_but_empty_run_is_named(study):
    sample = "QEC18_F2-3_To-1"
    study.images[study.row(sample)] = 0
    study.images[study.row(sample), 10, 20] = 90
    study.counts.loc[sample, ["n_spectra", "n_fragments"]] = 2, 3
    flagged = study.assess().table.set_index("sample_id").loc[sample, "flags"].split(";")
    assert {"few-spectra", "few-fragments", "unlike-replicates", "pca-distance"} <= set(flagged)


def test_more_dropped_points_than_usual_are_named(study):
    study.counts.loc["QEC18_F1", "n_outside"] = int(study.counts.loc["QEC18_F1", "n_fragments"])
    found = study.assess()
    assert "50% of its points lie outside" in found.table.set_index("sample_id").loc["QEC18_F1", "reasons"]


def with_qc_runs(study: Study, fading: np.ndarray, batch: str | None = None) -> Study:
    """QC runs across the order, the k-th of them showing a share `fading[k]` of the pixels of one QC run."""
    rng = np.random.default_rng(7)
    source = "QEC18_Qcmix_end"
    for place, share in enumerate(fading):
        image = study.image(source) * (rng.random(study.images.shape[1:]) < share)
        fragments = int(share * study.counts.loc[source, "n_fragments"] * rng.uniform(0.98, 1.02))
        order = 3.5 + 8 * place
        labels = {"batch": batch} if batch else {}
        study.add(f"QC {batch} {place}", source, image.astype(np.uint8), order, fragments=fragments, **labels)
    return study


def test_drift_of_qc_runs_is_named_and_scatter_is_not(study):
    steady = study.copy()
    fading = np.linspace(0.55, 1, 11)
    found = with_qc_runs(study, fading).assess()
    texts = [each.text for each in found.findings if each.code is Flag.DRIFT]
    assert [text.partition(" of 15")[0] for text in texts][:2] == ["fragments", "grey of the image"]
    assert all("rises by" in text for text in texts)
    assert not any("judge drift" in gap for gap in not_judged(found, has_order=True))
    # The same runs in an order without trend.
    shuffled = fading[[5, 0, 10, 3, 8, 2, 7, 9, 1, 6, 4]]
    assert flags(with_qc_runs(steady, shuffled).assess(), Flag.DRIFT) == {}


def test_drift_is_judged_batch_by_batch(study):
    for each in list(study.placed):
        study.relabel(each.run.sample_id, batch="A" if each.order <= 50 else "B")
    with_qc_runs(study, np.full(7, 1.0), batch="A")
    with_qc_runs(study, np.linspace(0.5, 1, 7), batch="B")
    assert set(flags(study.assess(), Flag.DRIFT)["drift"]) == {"B"}


def test_an_odd_qc_run_is_named(study):
    with_qc_runs(study, np.full(8, 0.9)).become("QC None 4", "QEC18_blank_SPE")
    assert "QC None 4" in flags(study.assess())["unlike-qc"]


def test_similarities_are_those_counted_by_hand(study):
    rows = profiles(study.images)
    chosen = [study.row(each) for each in study.ids("sample")]
    accessions = np.array([study.run(each).accession for each in study.ids("sample")])
    centred = unit(rows[chosen] - rows[chosen].mean(axis=0))
    found = agreement(centred, accessions)
    cosine = centred.astype(np.float64) @ centred.T.astype(np.float64)
    for row in range(0, len(chosen), 5):
        own = [other for other in range(len(chosen)) if accessions[other] == accessions[row] and other != row]
        strangers = [other for other in range(len(chosen)) if accessions[other] != accessions[row]]
        assert found.own[row] == pytest.approx(cosine[row, own].mean(), abs=1e-5)
        assert found.strangers[row] == pytest.approx(cosine[row, strangers].mean(), abs=1e-5)
        means = {name: cosine[row, accessions == name].mean() for name in set(accessions) - {accessions[row]}}
        assert found.accessions[found.nearest[row]] == max(means, key=means.__getitem__)

    def fit(run: int, without: int, accession: str) -> float:
        return cosine[
            run, [other for other in np.flatnonzero(accessions == accession) if other not in (run, without)]
        ].mean()

    by_hand = {}
    for one, other in combinations(range(len(chosen)), 2):
        if accessions[one] != accessions[other]:
            by_hand[one, other] = min(
                fit(one, other, accessions[other]) - found.own[one], fit(other, one, accessions[one]) - found.own[other]
            )
    pairs = swaps(centred, accessions, found, 0.05)
    assert pairs
    assert (pairs[0].first, pairs[0].second) == max(by_hand, key=by_hand.__getitem__)
    for pair in pairs:
        assert pair.margin == pytest.approx(by_hand[pair.first, pair.second], abs=1e-5)


def test_similarity_to_the_mean_leaves_the_run_itself_out():
    rows = unit(np.random.default_rng(0).random((6, 40)).astype(np.float32))
    members = np.array([True, True, True, False, False, True])
    found = similarity_to_mean(rows, members)
    for row in range(6):
        mean = rows[[other for other in np.flatnonzero(members) if other != row]].mean(axis=0)
        assert found[row] == pytest.approx(rows[row] @ mean / np.linalg.norm(mean), abs=1e-6)
    assert np.isnan(similarity_to_mean(rows, np.arange(6) == 2)[2])


def test_the_preceding_run_is_the_last_that_is_no_blank_in_the_batch():
    kinds = np.array(["sample", "blank", "blank", "qc", "blank", "blank", "sample"])
    batches = np.array(["a", "a", "a", "b", "a", "b", "a"])
    order = np.array([2.0, 3, 1, 4, 5, 6, np.nan])
    assert preceding_runs(kinds, batches, order).tolist() == [-1, 0, -1, -1, 0, 3, -1]


def test_what_all_replicates_share_is_the_samples_affair():
    def finding(code: Flag, sample: str) -> Finding:
        return Finding(code, "run", sample, 0.0, 0.0, "")

    findings = [finding(Flag.FEW_SPECTRA, "a1"), finding(Flag.FEW_FRAGMENTS, "a2"), finding(Flag.PCA_RESIDUAL, "b1")]
    found = mark_shared(
        [*findings, finding(Flag.FEW_SPECTRA, "c")], {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "c": "c"}
    )
    assert [each.shared for each in found] == [True, True, False, False]


def test_runs_without_image_and_images_without_run_are_named(study):
    lost, failed = "QEC18_To", "QEC18_F1"
    keep = [row for row, sample in enumerate(study.counts.index) if sample not in (lost, failed)]
    study.counts, study.images = study.counts.iloc[keep], study.images[keep]
    study.errors = pd.DataFrame({"code": ["truncated"], "message": ["ends early"]}, index=[failed])
    study.placed = [each for each in study.placed if each.run.sample_id != "QEC18_NIST"]
    found = study.assess()
    assert flags(found, Flag.MISSING, Flag.FAILED, Flag.NOT_IN_SHEET) == {
        "missing": [lost],
        "failed": [failed],
        "not-in-sheet": ["QEC18_NIST"],
    }
    table = found.table.set_index("sample_id")
    assert table.loc[[lost, failed, "QEC18_NIST"], "status"].tolist() == ["missing", "failed", "not-in-sheet"]
    assert "ends early [truncated]" in table.loc[failed, "reasons"]
    to_arrow(found.table)


def test_what_cannot_be_judged_is_said(study):
    singles = [each for each in study.placed if each.run.kind == "sample"][:6]
    study.placed = [Placed(replace(each.run, accession=each.run.sample_id), np.nan) for each in singles]
    ids = [each.run.sample_id for each in singles]
    rows = [study.row(each) for each in ids]
    found = assess(study.placed, study.counts.loc[ids], study.images[rows], study.errors, QcLimits())
    assert set(flags(found)) <= {"few-spectra", "few-fragments"}
    gaps = " ".join(not_judged(found, has_order=False))
    for said in (
        "no column injection_order",
        "No run of kind qc",
        "No run of kind blank",
        "No accession has two",
        "6.",
    ):
        assert said in gaps
    assert set(COUNTS) <= set(found.table)
