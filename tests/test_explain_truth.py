"""Where the truth is known: in a SIMULATED study the pairs of the active compounds come first, and matter most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.explain import area, interval, score
from bench.explain_truth import StudyTruth, beside_causal
from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.sheet import Run, Sheet
from ms2img.learn.batches import ImageBatches
from ms2img.learn.fit import fit
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.explain.explanation import Explanation, explain_run
from ms2img.ms2toimg.labels import ACTIVE, LabelConfig, make_labels
from ms2img.ms2toimg.linear_model import LinearModel
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.predictor import Predictor
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.simulation import SimulationConfig, write_study

CONFIG = RenderConfig(height=75, width=70)
HELD_OUT = 25  # the first accessions, of which some are active
Case = tuple[Run, RunSpectra, Explanation]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "study"
    write_study(folder, SimulationConfig(accessions=80, replicates=1))
    return folder


@pytest.fixture(scope="module")
def predictor_and_cases(study: Path) -> tuple[Predictor, list[Case]]:
    """A linear model of the pixels, and explanations of held-out runs that are active and predicted active."""
    sheet = Sheet.read(study / "samples.csv")
    spectra = {run.sample_id: content for run, content in read_runs(sheet.runs) if isinstance(content, RunSpectra)}
    labels = make_labels(sheet, LabelConfig(assay="dpph"), spectra)
    images = np.stack(
        [render(points_from_spectra(spectra[name].table, CONFIG, path=""), CONFIG) for name in labels.sample_ids]
    )
    held_out = np.array([int(name[3:7]) <= HELD_OUT for name in labels.accessions])
    network = LinearModel(75, 70)
    network.reset()
    train = np.flatnonzero(~held_out & (labels.target >= 0))
    batches = ImageBatches(
        images, labels.target, train=train, validation=train[:0], batch_size=16, seed=0, device="cpu"
    )
    fit(network, batches, FitConfig(epochs=25, batch_size=16, keep="last", threads=1))
    predictor = Predictor(network=network, render=CONFIG, threshold=0.5, model_version="linear")
    runs = {run.sample_id: run for run in sheet.runs}
    cases = []
    for row in np.flatnonzero(held_out & (labels.target == ACTIVE)):
        run = runs[labels.sample_ids[row]]
        found = explain_run(run, spectra[run.sample_id], predictor)
        if found.label == "active":
            cases.append((run, spectra[run.sample_id], found))
    return predictor, cases


def test_pairs_of_active_compounds_are_enriched_and_their_deletion_lowers_the_score(
    study: Path, predictor_and_cases: tuple[Predictor, list[Case]]
) -> None:
    predictor, cases = predictor_and_cases
    truth = StudyTruth.of_folder(study, "dpph")
    assert len(cases) >= 6
    top, random = [], []
    for run, spectra, found in cases:
        order = np.arange(len(found.pairs))
        top.append(score("top", run, found, spectra.table, predictor, truth, [order]))
        drawn = np.random.default_rng(0).permutation(order)
        random.append(score("random", run, found, spectra.table, predictor, truth, [drawn]))
    above_chance = np.array([row.precision["causal"] - row.chance["causal"] for row in top])
    assert above_chance.mean() > 0.1
    assert interval(above_chance, seed=0)[0] > 0.05
    for greys in ("kept", "rescaled"):
        assert interval(area(random, greys) - area(top, greys), seed=0)[0] > 0.05


def test_the_truth_of_a_run_is_what_its_compounds_say(
    study: Path, predictor_and_cases: tuple[Predictor, list[Case]]
) -> None:
    _, [(_, spectra, found), *_] = predictor_and_cases
    truth = StudyTruth.of_folder(study, "dpph")
    told = truth.of_run(found, spectra.table)
    kinds = np.stack([told.causal, told.correlated, told.inert, told.noise])
    assert (kinds.sum(axis=0) <= 1).all()
    assert kinds.any(axis=0).mean() > 0.98  # all but pairs whose peaks are of several kinds, half and half
    assert (told.main <= told.causal).all()
    assert 0.2 < told.causal.mean() < 0.6
    assert 0.02 < told.noise.mean() < 0.5
    # Quercetin 3-glucoside and its isomers are potent: m/z 463.088 to the aglycone at 301.035.
    pairs = found.pairs
    known = (np.abs(pairs["precursor_mz"] - 463.0882) < 0.01) & (np.abs(pairs["fragment_mz"] - 301.0354) < 0.01)
    assert told.causal[known.to_numpy()].all()
    names = np.array([compound.name for compound in truth.compounds])
    assert {"Quercetin", "Catechin"} <= set(names[truth.effect > 0])
    assert not set(names[truth.effect > 0]) & {"Sucrose", "Palmitic acid", "Tryptophan"}
    assert not (told.beside & told.causal).any()
    assert beside_causal(found, np.zeros(len(pairs), bool)).sum() == 0


def test_causal_compounds_rise_with_the_assay_and_the_main_ones_are_few(study: Path) -> None:
    truth = StudyTruth.of_folder(study, "dpph")
    causal = truth.effect > 0
    assert truth.correlation[causal].mean() > 0.1 > np.abs(truth.correlation[~causal].mean())
    main = truth.main_compounds(0)
    dose = truth.effect * truth.collection.abundance[0]
    assert dose[main].sum() >= 0.8 * dose.sum() > dose[main].sum() - dose[main].min()
    assert 1 <= main.sum() < causal.sum() / 3
