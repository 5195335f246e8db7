"""The SIMULATED section: envelopes against brute force, counts against their statistics, files against readers."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyimzml.ImzMLParser import ImzMLParser
from pyteomics import mass
from scipy import stats

from ms2img.deepion.images import read_images
from ms2img.deepion.imzml import open_imzml
from ms2img.deepion.isotopes import isotope_candidates
from ms2img.deepion.phantom.classes import CLASSES, NAMES, pattern
from ms2img.deepion.phantom.config import Nuisance, PhantomConfig
from ms2img.deepion.phantom.counts import FAINT, count, draw_conditions, expectation, missing_odds
from ms2img.deepion.phantom.envelopes import ELECTRON, MERGE_PPM, envelope, isotopologues
from ms2img.deepion.phantom.formulae import ADDUCTS, DRUGS, FAMILIES, METABOLITES, formula, ionise, parse
from ms2img.deepion.phantom.images import ion_images
from ms2img.deepion.phantom.ions import SEPARATION_PPM, Species, draw_species
from ms2img.deepion.phantom.regions import draw_atlas
from ms2img.deepion.phantom.section import Phantom, make_phantom
from ms2img.deepion.phantom.truth import isotope_pairs, match, read_truth, score_pairs
from ms2img.deepion.phantom.write import IBD, IMZML, RECORD, TRUTH, PhantomSummary, write_phantom
from ms2img.deepion.prepare import prepare
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.errors import UsageError

SMALL = PhantomConfig(height=20, width=24, ions=60, seed=3)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(PhantomConfig(height=32, width=40, ions=200))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomSummary, Phantom]:
    config = replace(SMALL, mz_error_ppm=0.0)
    return write_phantom(tmp_path_factory.mktemp("phantom") / "out", config), make_phantom(config)


# Formulae and envelopes


@pytest.mark.parametrize(
    ("family", "carbons", "bonds", "wanted"),
    [
        ("PC", 34, 1, "C42H82NO8P"),  # formulae as LIPID MAPS has them
        ("LPC", 16, 0, "C24H50NO7P"),
        ("SM", 36, 1, "C41H83N2O6P"),
        ("PE", 34, 1, "C39H76NO8P"),
        ("PS", 34, 1, "C40H76NO10P"),
        ("PI", 38, 4, "C47H83O13P"),
        ("PA", 34, 1, "C37H71O8P"),
        ("Cer", 36, 1, "C36H71NO3"),
        ("HexCer", 36, 1, "C42H81NO8"),
        ("SHexCer", 36, 1, "C42H81NO11S"),
        ("TG", 52, 2, "C55H102O6"),
        ("FA", 20, 4, "C20H32O2"),
        ("CAR", 16, 0, "C23H45NO4"),
        ("GM1", 36, 1, "C73H131N3O31"),
        ("GD1", 36, 1, "C84H148N4O39"),
    ],
)
def test_lipid_classes_have_their_formulae(family, carbons, bonds, wanted):
    assert formula(FAMILIES[family].atoms(carbons, bonds)) == wanted


def test_every_family_has_adducts_that_exist_and_every_listed_formula_parses():
    assert {adduct for family in FAMILIES.values() for adduct in family.adducts} <= ADDUCTS.keys()
    for text in [*METABOLITES.values(), *DRUGS.values()]:
        assert mass.calculate_mass(composition=parse(text)) == pytest.approx(mass.calculate_mass(formula=text))


def brute_force(text: str) -> dict[int, tuple[float, float]]:
    """Neutrons above the lightest -> (share, mean mass), every way to choose each single atom's isotope counted."""
    atoms = [symbol for symbol, count in parse(text).items() for _ in range(count)]
    choices = [
        [(number, *pair) for number, pair in mass.nist_mass[symbol].items() if number and pair[1] > 0]
        for symbol in atoms
    ]
    lightest = sum(min(number for number, *_ in choice) for choice in choices)
    sums: dict[int, list[float]] = {}
    for chosen in itertools.product(*choices):
        share = np.prod([one[2] for one in chosen])
        total = sums.setdefault(sum(one[0] for one in chosen) - lightest, [0.0, 0.0])
        total[0] += share
        total[1] += share * sum(one[1] for one in chosen)
    return {number: (share, moment / share) for number, (share, moment) in sums.items()}


@pytest.mark.parametrize("text", ["C4H4O2S", "C3H3Cl2Br", "CH3KO3S", "C2H2Br4", "C5H5N2O"])
def test_isotopologues_are_those_of_brute_force(text):
    masses, share, number = isotopologues(parse(text))
    for extra, (wanted, centre) in brute_force(text).items():
        here = number == extra
        if wanted > 1e-3:
            assert share[here].sum() == pytest.approx(wanted, rel=1e-3)
            assert np.average(masses[here], weights=share[here]) == pytest.approx(centre, abs=1e-5)
    assert share.sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("text", ["C42H82KNO8P", "C73H130N3O31", "C63H99N18O13S", "C15H11Br4O2"])
def test_shares_of_large_ions_are_those_of_polynomials(text):
    product = np.ones(1)
    for symbol, atoms in parse(text).items():
        isotopes = {number: pair[1] for number, pair in mass.nist_mass[symbol].items() if number and pair[1] > 0}
        single = np.zeros(max(isotopes) - min(isotopes) + 1)
        for number, share in isotopes.items():
            single[number - min(isotopes)] = share
        product = np.convolve(product, np.polynomial.polynomial.polypow(single, atoms))
    _, share, number = isotopologues(parse(text))
    assert np.bincount(number, share)[:8] == pytest.approx(product[:8], abs=1e-5)


@pytest.mark.parametrize("text", ["C10H16KN5O10P", "C12H20NO3S"])
def test_isotopologues_are_those_of_pyteomics(text):
    masses, share, _ = isotopologues(parse(text))
    for composition, wanted in mass.isotopologues(formula=text, report_abundance=True, overall_threshold=1e-3):
        nearest = np.argmin(np.abs(masses - mass.calculate_mass(composition=composition)))
        assert masses[nearest] == pytest.approx(mass.calculate_mass(composition=composition), abs=2e-6)
        assert share[nearest] == pytest.approx(wanted, rel=2e-3)


elements = st.sampled_from(["C", "H", "N", "O", "S", "Cl", "K", "P", "Na", "Br"])


@given(st.dictionaries(elements, st.integers(1, 12), min_size=1, max_size=4), st.sampled_from([-2, -1, 1, 2]))
@settings(max_examples=30, deadline=None)
def test_an_envelope_keeps_the_mean_mass(atoms, charge):
    found = envelope(atoms, charge, least=1e-4)
    average = mass.calculate_mass(composition=atoms, average=True)
    mean = np.average(found.mz, weights=found.abundance)
    assert mean * abs(charge) + charge * ELECTRON == pytest.approx(average, rel=1e-5)
    assert np.all(np.diff(found.mz) >= 0)
    assert found.abundance.sum() == pytest.approx(1.0, abs=2e-3)


def test_what_the_instrument_cannot_separate_is_one_peak():
    atoms = FAMILIES["SHexCer"].atoms(42, 2)  # 34S and 13C2: 10.9 mDa, 12 ppm
    coarse, fine = (envelope(atoms, -1, least=0.02, merge_ppm=ppm) for ppm in (20.0, 5.0))
    assert coarse.number.tolist() == [0, 1, 2, 3]
    assert np.bincount(fine.number).tolist() == [1, 1, 2, 2]
    assert coarse.abundance[2] == pytest.approx(fine.abundance[fine.number == 2].sum(), rel=1e-2)
    assert fine.mz[2] < coarse.mz[2] < fine.mz[3]


def test_the_monoisotopic_ion_of_the_paper():
    ganglioside = ionise("GM1 36:1", FAMILIES["GM1"].atoms(36, 1), "[M-H]-")
    assert envelope(ganglioside.atoms, -1, least=0.01).mz[0] == pytest.approx(1544.8694, abs=1e-3)  # LIPID MAPS


@pytest.mark.parametrize(
    ("atoms", "charge", "words"),
    [
        ({"Xx": 1}, 1, "formula: 'Xx'; expected elements with natural isotopes"),
        ({"H": -1}, 1, "formula: -1 atoms of H; expected none or more"),
        ({"H": 1}, 0, "charge: 0; expected that of an ion"),
    ],
)
def test_bad_ions_are_named(atoms, charge, words):
    with pytest.raises(UsageError, match=f"^{words}$"):
        envelope(atoms, charge, least=0.0)


@pytest.mark.parametrize("text", ["", "c6", "C6-", "6C"])
def test_bad_formulae_are_named(text):
    with pytest.raises(UsageError, match=f"^formula: '{text}'; expected element symbols and counts, as C6H12O6$"):
        parse(text)


# Atlas and classes


@pytest.mark.parametrize("shape", [(8, 8), (64, 64), (50, 110)])
def test_the_atlas_fills_its_frame_at_any_size(shape):
    atlas = draw_atlas(*shape, seed=1)
    assert atlas.measured.shape == shape
    assert atlas.measured.any(axis=0).all()  # so that a reader's box around the spectra is the frame
    assert atlas.measured.any(axis=1).all()
    assert not atlas.measured.all()
    for part in atlas.parts.values():
        assert part.shape == shape
        assert part.min() >= 0
        assert part.max() <= 1
    assert np.allclose(atlas.parts["tissue"] + atlas.parts["glass"], 1)


def test_there_are_seventeen_classes_no_two_alike():
    assert len(NAMES) == 17  # section 4.1
    for seed in range(3):
        atlas = draw_atlas(64, 64, seed)
        images = np.array([pattern(label, atlas.parts).ravel() for label in range(17)])
        assert np.allclose(images.max(axis=1), 1)
        assert images.min() >= 0
        correlation = np.corrcoef(images)[np.triu_indices(17, 1)]
        assert correlation.max() < 0.95
        assert np.sum(correlation > 0.7) >= 3  # neighbours on purpose
    assert {part for weights in CLASSES.values() for part in weights} <= atlas.parts.keys()


def test_a_larger_frame_shows_the_same_section():
    small, large = draw_atlas(32, 32, 5).parts, draw_atlas(96, 96, 5).parts
    for name in small:
        pooled = large[name].reshape(32, 3, 32, 3).mean(axis=(1, 3))
        assert np.abs(pooled - small[name]).mean() < 0.02


# Ions


@pytest.mark.parametrize("polarity", ["positive", "negative"])
def test_ions_are_as_many_as_asked_and_apart(polarity):
    config = PhantomConfig(ions=400, polarity=polarity)
    species = draw_species(config)
    mz = np.sort(np.concatenate([one.mz for one in species]))
    assert len(mz) == 400
    assert mz[0] >= 100
    assert mz[-1] <= 2000
    for one in species:
        others = np.setdiff1d(mz, one.mz)
        gap = np.abs(others[None] - one.mz[:, None]).min(axis=1) / one.mz * 1e6
        assert gap.min() > SEPARATION_PPM * 0.999  # of the heavier of the two
        assert np.all(np.diff(one.mz) / one.mz[:-1] * 1e6 > MERGE_PPM / 2)
    labels = np.bincount([one.label for one in species if not one.is_decoy], minlength=17)
    assert labels.max() - labels.min() <= 3
    charges = {one.charge for one in species}
    assert charges == ({1, 2} if polarity == "positive" else {-1, -2})


def test_decoys_lie_where_the_rules_look_and_half_are_alongside():
    species = draw_species(PhantomConfig(ions=600, decoys=1.0))
    neighbours = [(one, species[place + 1]) for place, one in enumerate(species[:-1]) if species[place + 1].is_decoy]
    assert {decoy.name for _, decoy in neighbours} == {f"decoy of {one.name}" for one, _ in neighbours}
    assert len(neighbours) > 50
    for one, decoy in neighbours:
        assert len(isotope_candidates(np.array([one.mz[0], decoy.mz[0]]), "positive")) > 0
        assert decoy.brightness < one.brightness * one.abundance[0]
    alongside = sum(one.label == decoy.label for one, decoy in neighbours)
    assert stats.binomtest(alongside, len(neighbours), 0.5).pvalue > 1e-3
    assert not any(one.is_decoy for one in draw_species(PhantomConfig(ions=100, decoys=0.0)))


def test_too_many_ions_are_refused():
    with pytest.raises(UsageError, match=r"^ions: 200; expected at most \d+, for there is no room for more$"):
        draw_species(PhantomConfig(ions=200, mz_low=700.0, mz_high=720.0))


# Counts


def species(label: int = 15, brightness: float = 1.0) -> Species:
    return Species("x", "[M+H]+", "X", label, 1, brightness, np.array([500.0]), np.ones(1), np.zeros(1, np.int64))


FLAT = Nuisance(counts=20.0, background=0.0, variation=0.0, dropout=0.0, hot_pixels=0.0, stripes=0.0, edge=0.0)


def sampled(nuisance: Nuisance, one: Species, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts [times, measured pixels] of as many ions of one expectation, and that expectation."""
    atlas = draw_atlas(24, 24, 0)
    conditions = draw_conditions(atlas, nuisance, 0)
    repeats = replace(one, mz=np.arange(500.0, 500 + times), abundance=np.ones(times), number=np.zeros(times, np.int64))
    counted = count(conditions, repeats, 0, 0)
    return counted[:, atlas.measured].astype(float), expectation(conditions, one, 0, 0)[atlas.measured]


def test_counts_are_poisson():
    counted, mean = sampled(FLAT, species(), 1500)
    bright = mean > 1
    z = (counted.mean(axis=0) - mean)[bright] / np.sqrt(mean[bright] / 1500)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert np.median(counted.var(axis=0, ddof=1)[bright] / mean[bright]) == pytest.approx(1, abs=0.02)


def test_signals_go_missing_as_said_and_the_faint_more_often():
    odds = missing_odds(np.arange(100), 0.8)
    assert np.all(np.diff(odds) < 0)
    assert odds[0] == pytest.approx(0.8)
    counted, mean = sampled(replace(FLAT, dropout=0.8), species(), 1500)
    pixel = np.argmin(np.abs(mean - 5))
    values = np.arange(1, 60)
    pmf = stats.poisson.pmf(values, mean[pixel])
    wanted = stats.poisson.pmf(0, mean[pixel]) + np.sum(pmf * 0.8 * np.exp(-values / FAINT))
    lost = int((counted[:, pixel] == 0).sum())
    assert stats.binomtest(lost, 1500, wanted).pvalue > 1e-3


def test_batches_of_lines_edges_and_hot_pixels_are_seen():
    atlas = draw_atlas(60, 60, 0)
    plain = expectation(draw_conditions(atlas, FLAT, 0), species(), 0, 0)
    striped = expectation(draw_conditions(atlas, replace(FLAT, stripes=0.5), 0), species(), 0, 0) / plain
    assert np.allclose(striped, striped[:, :1])  # the same along a line
    assert len(np.unique(striped[:, 0].round(9))) == 6
    edged = expectation(draw_conditions(atlas, replace(FLAT, edge=1.0), 0), species(), 0, 0) / plain
    assert np.allclose(edged, 1 + atlas.parts["rim"])
    conditions = draw_conditions(atlas, replace(FLAT, hot_pixels=0.1), 0)
    hot = expectation(conditions, species(), 0, 0) / plain
    assert np.all(hot[~conditions.hot] == 1)
    assert 0.3 < np.mean(hot[conditions.hot] > 2) < 0.7
    assert stats.binomtest(int(conditions.hot.sum()), 3600, 0.1).pvalue > 1e-3


def test_isotopes_of_a_molecule_share_one_image():
    made = make_phantom(replace(SMALL, difficulty=0.0))
    counts, truth = made.counts[:, made.measured].astype(float), made.truth.to_pandas()
    pulls = []
    for _, rows in truth[truth.brightness > 0.2].groupby("envelope"):
        for child in rows.index[1:]:
            one, other = counts[rows.index[0]], counts[child]
            total, share = one + other, truth.abundance[child] / truth.abundance[[rows.index[0], child]].sum()
            bright = total > 50  # there the background is nothing, and the rest is binomial
            spread = np.sqrt(total[bright] * share * (1 - share))
            pulls += ((other - share * total)[bright] / spread).tolist()
    assert len(pulls) > 500
    assert np.mean(pulls) == pytest.approx(0, abs=0.1)
    assert np.std(pulls) == pytest.approx(1, abs=0.05)


def test_difficulty_is_one_knob():
    missing, of_isotopes = [], []
    for difficulty in (0.0, 0.5, 1.0):
        made = make_phantom(PhantomConfig(height=32, width=32, ions=200, difficulty=difficulty))
        missing.append(made.missing_share.mean())
        of_isotopes.append(made.missing_share[made.truth["isotope"].to_numpy() > 0].mean())
    assert np.all(np.diff(missing) > 0.15)
    assert of_isotopes[1:] == pytest.approx([0.7096, 0.8862], abs=0.05)  # the pair of section 4.2


def test_of_one_seed_only_the_noise_changes_with_difficulty():
    easy, hard = (make_phantom(replace(SMALL, difficulty=difficulty)) for difficulty in (0.1, 0.9))
    assert easy.truth.equals(hard.truth)
    assert np.array_equal(easy.measured, hard.measured)
    assert not np.array_equal(easy.counts, hard.counts)


def test_seeds_give_other_sections_and_one_seed_the_same():
    first, again, other = (make_phantom(replace(SMALL, seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.counts, again.counts)
    assert not np.array_equal(first.mz, other.mz)


def test_the_phantom_is_what_it_was():
    """Raise `PHANTOM_VERSION` when this changes."""
    made = make_phantom(SMALL)
    assert made.counts.sum() == 111284
    assert hashlib.sha256(made.mz.round(5).tobytes()).hexdigest()[:16] == "eeb2407c07834a0d"


# Truth


def test_ions_found_are_matched_to_the_truth(phantom):
    truth = phantom.truth
    shifted = phantom.mz * (1 + 4e-6)
    assert np.array_equal(match(shifted, truth, 5.0), np.arange(len(truth)))
    assert np.all(match(shifted, truth, 3.0) == -1)
    assert match(np.array([1.0, 1e6]), truth, 5.0).tolist() == [-1, -1]


def test_pairs_are_scored(phantom):
    truth = phantom.truth
    pairs = isotope_pairs(truth)
    frame = truth.to_pandas()
    assert all(frame.formula[parent] == frame.formula[child] for parent, child in pairs)
    assert len(pairs) == int((frame.isotope > 0).sum())
    everyone = np.arange(len(truth))
    perfect = score_pairs(pairs, everyone, truth)
    assert (perfect.precision, perfect.recall) == (1.0, 1.0)
    some = sorted(pairs)[:10]
    decoy = int(np.flatnonzero(frame.is_decoy)[0])
    mixed = score_pairs([*some, (some[0][0], decoy), (some[0][1], some[0][0])], everyone, truth)
    assert (mixed.found, mixed.right, mixed.present) == (12, 10, len(pairs))
    child = some[0][1]
    unseen = np.where(everyone == child, -1, everyone)
    assert score_pairs(some, unseen, truth).right == 9
    assert score_pairs(some, unseen, truth).present == len(pairs) - 1
    assert np.isnan(score_pairs([], everyone, truth).precision)


def test_a_strange_truth_is_named(tmp_path, written):
    strange = tmp_path / "truth.parquet"
    strange.write_bytes(b"no parquet")
    with pytest.raises(UsageError, match=r"no Parquet file; expected the truth\.parquet of a phantom$"):
        read_truth(strange)


# Files


@pytest.mark.parametrize("mode", ["processed", "continuous"])
def test_pyimzml_and_our_reader_read_the_counts_back(tmp_path, mode):
    config = replace(SMALL, mode=mode, mz_error_ppm=0.0, polarity="negative")
    summary, made = write_phantom(tmp_path / "out", config), make_phantom(config)
    parser = ImzMLParser(str(summary.imzml))
    seen = np.zeros_like(made.counts)
    for number, (x, y, _) in enumerate(parser.coordinates):
        mz, intensity = parser.getspectrum(number)
        seen[np.searchsorted(made.mz, mz), y - 1, x - 1] = intensity
    assert np.array_equal(seen, made.counts)
    assert len(parser.coordinates) == made.measured.sum()
    ours = open_imzml(str(summary.imzml))
    assert np.array_equal(ours.grid.mask, made.measured)
    assert ours.header.pixel_size_um == (50.0, 50.0)
    assert (ours.header.polarity, ours.header.mode, ours.header.spectra) == ("negative", mode, "centroid")


def test_prepared_from_the_file_or_at_once_the_images_are_the_same(tmp_path, written):
    summary, made = written
    prepare(str(summary.imzml), tmp_path / "images", PrepareSettings(), is_simulated=True)
    from_file, (at_once, rows) = read_images(tmp_path / "images"), ion_images(made)
    assert at_once.is_simulated
    assert np.allclose(from_file.mz, at_once.mz, rtol=1e-9)
    assert np.array_equal(match(from_file.mz, made.truth, 1.0), rows)
    assert np.allclose(from_file.images, at_once.images, atol=1e-6)
    assert np.allclose(from_file.presence, at_once.presence)
    assert np.allclose(from_file.intensity, at_once.intensity)
    assert np.array_equal(from_file.mask, at_once.mask)
    assert (at_once.pixel_size_um, at_once.polarity) == (from_file.pixel_size_um, from_file.polarity)


def test_mass_errors_and_peaks_of_chance_are_as_said(tmp_path):
    config = replace(SMALL, mz_error_ppm=3.0, noise_peaks=25)
    summary, made = write_phantom(tmp_path / "out", config), make_phantom(config)
    parser = ImzMLParser(str(summary.imzml))
    errors, strays = [], 0
    for number in range(len(parser.coordinates)):
        mz, _ = parser.getspectrum(number)
        assert np.all(np.diff(mz) >= 0)
        nearest = made.mz[np.abs(made.mz[:, None] - mz).argmin(axis=0)]
        error = (mz - nearest) / nearest * 1e6
        strays += int((np.abs(error) >= 15).sum())
        errors += error[np.abs(error) < 15].tolist()
    assert np.std(errors) == pytest.approx(3.0, rel=0.05)
    assert strays == pytest.approx(25 * len(parser.coordinates), rel=0.02)


def test_a_spectrum_without_peaks_is_a_measured_pixel(tmp_path):
    config = replace(SMALL, ions=17, difficulty=1.0)
    summary, made = write_phantom(tmp_path / "out", config), make_phantom(config)
    assert np.any(made.counts.sum(axis=0)[made.measured] == 0)
    assert len(ImzMLParser(str(summary.imzml)).coordinates) == made.measured.sum()


def test_equal_configs_give_equal_files_and_a_second_call_writes_nothing(tmp_path, written):
    summary, _ = written
    config = replace(SMALL, mz_error_ppm=0.0)
    again = write_phantom(tmp_path / "again", config)
    for name in (IMZML, IBD, TRUTH, RECORD, "README.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (Path(summary.folder) / name).read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "again" / IMZML).read_bytes()
    assert not again.unchanged
    assert write_phantom(tmp_path / "again", config) == replace(again, unchanged=True)
    assert read_truth(again.truth).equals(make_phantom(config).truth)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_a_folder_with_anything_else_is_refused(tmp_path, written):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no phantom; name a new folder$"):
        write_phantom(tmp_path, SMALL)
    with pytest.raises(UsageError, match="is a file; name a new folder for the phantom$"):
        write_phantom(tmp_path / "notes.txt", SMALL)
    with pytest.raises(UsageError, match=r"holds a phantom with mz_error_ppm 0\.0, not 2\.0; name a new folder$"):
        write_phantom(Path(written[0].folder), SMALL)
    lost = write_phantom(tmp_path / "lost", SMALL)
    (tmp_path / "lost" / IBD).unlink()
    with pytest.raises(UsageError, match=r"SIMULATED\.ibd of the phantom is gone; remove the folder"):
        write_phantom(Path(lost.folder), SMALL)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("height", 7, "height: 7; expected an integer, from 8 to 10000"),
        ("ions", 16, "ions: 16; expected an integer, from 17 to 5000"),
        ("difficulty", 1.1, "difficulty: 1.1; expected a number from 0 to 1"),
        ("polarity", "both", "polarity: 'both'; expected one of positive, negative"),
        ("mode", "auto", "mode: 'auto'; expected one of processed, continuous"),
        ("mz_high", 100.0, "mz_high: 100.0; expected a number above 100"),
        ("seed", -1, "seed: -1; expected an integer, 0 or more"),
        ("pixel_um", 0.0, "pixel_um: 0.0; expected a number above 0"),
    ],
)
def test_bad_settings_are_named(field, value, words):
    with pytest.raises(UsageError, match=f"^{words}$"):
        PhantomConfig(**{field: value})
