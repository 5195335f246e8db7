"""The two measured experiments on whole parts, against loops over queries and candidates."""

from __future__ import annotations

import numpy as np
import pytest
from massformer_parts import CONFIG, MadeUp, random_part

from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.experiment import ranking, similarity
from ms2img.massformer.evaluate.ranking import ENERGY_TOLERANCE
from ms2img.massformer.evaluate.sources import Asked, NeighbourSource, PrecursorSource
from ms2img.massformer.spectrum import transformed


def _mz(adduct: str, exact_mass: float) -> float:
    return exact_mass + (1.007276 if adduct == "[M+H]+" else 22.989218)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = (transformed(each, CONFIG).astype(float) for each in (one, other))
    length = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / length) if length else 0.0


def test_ranks_of_a_part_against_a_loop_over_queries_and_candidates() -> None:
    part = random_part(0, 40, prefix="T", n_molecules=12)
    others = random_part(1, 90, prefix="L", n_molecules=30)
    scores = ranking(part, MadeUp(), others, CONFIG, precursor_of=_mz)
    for row, query in enumerate(part.condition):
        candidates = {name: MadeUp().one(name, query) for name in part.molecules}
        for name in others.molecules:
            off = np.abs(others.conditions.energy(query.energy_unit) - query.energy)
            near = [
                (off[other], others.conditions.instrument[other] != query.instrument_type, other)
                for other in range(90)
                if others.molecule_id[other] == name and others.conditions.adduct[other] == query.adduct
            ]
            if near and min(near)[0] <= ENERGY_TOLERANCE:
                candidates[name] = others.spectra[min(near)[2]]
        cosines = {name: round(_cosine(part.spectra[row], each), 5) for name, each in candidates.items()}
        own = cosines[part.molecule_id[row]]
        places = [place for place, each in enumerate(sorted(cosines.values(), reverse=True), 1) if each == own]
        assert scores.queries.rank[row] == pytest.approx(np.mean(places))
        assert scores.queries.n_candidates[row] == len(candidates)
    assert len(set(scores.queries.n_candidates.tolist())) > 1  # metadata did restrict the distractors
    for name, rank, top in zip(scores.molecule_id, scores.norm_rank, scores.top5, strict=True):
        own_rows = [row for row in range(40) if part.molecule_id[row] == name]
        assert rank == pytest.approx(scores.queries.normalised[own_rows].mean())
        assert top == pytest.approx(scores.queries.top[own_rows].mean())


def test_candidates_in_pieces_are_candidates_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    part, others = random_part(2, 30, prefix="T", n_molecules=8), random_part(3, 20, prefix="L", n_molecules=9)
    whole = ranking(part, MadeUp(), others, CONFIG, precursor_of=_mz)
    monkeypatch.setattr("ms2img.massformer.evaluate.experiment.CANDIDATES_AT_ONCE", 20)
    assert (ranking(part, MadeUp(), others, CONFIG, precursor_of=_mz).queries.rank == whole.queries.rank).all()


def test_a_source_that_knows_the_answer_is_first() -> None:
    part = random_part(4, 60, prefix="T", n_molecules=60)
    keys = list(zip(part.molecule_id, part.condition, strict=True))
    truth = dict(zip(keys, part.spectra, strict=True))

    class Oracle(MadeUp):
        def one(self, molecule: str, condition: Condition) -> np.ndarray:
            return truth.get((molecule, condition), super().one(molecule, condition))

    scores = ranking(part, Oracle(), random_part(5, 50, prefix="L", n_molecules=50), CONFIG, precursor_of=_mz)
    single = [row for row, key in enumerate(keys) if keys.count(key) == 1]
    assert len(single) > 50
    assert (scores.queries.rank[single] == 1).all()


def test_similarity_of_a_part_to_itself_is_one_and_an_empty_prediction_has_none() -> None:
    part = random_part(6, 50, prefix="T", n_molecules=10)
    scores = similarity(part, part.spectra, CONFIG)
    assert scores.cosine == pytest.approx(np.ones(len(part.molecules)), abs=1e-6)
    assert scores.entropy == pytest.approx(np.ones(len(part.molecules)), abs=1e-5)
    nothing = similarity(part, np.zeros_like(part.spectra), CONFIG)
    assert (nothing.cosine == 0).all()
    assert (nothing.entropy == 0).all()


def test_floors_answer_every_question() -> None:
    part, training = random_part(7, 30, prefix="T", n_molecules=9), random_part(8, 40, prefix="L", n_molecules=12)
    random = np.random.default_rng(9)
    bits = {name: (random.random(32) < 0.4).astype(np.uint8) for name in [*part.molecules, *training.molecules]}
    peaks = PrecursorSource(CONFIG).spectra(Asked.of(part))
    assert peaks.argmax(axis=1).tolist() == np.floor(part.precursor_mz).astype(int).tolist()
    neighbours = NeighbourSource(training, bits).spectra(Asked.of(part))
    rows = {spectrum.tobytes() for spectrum in training.spectra}
    assert all(each.tobytes() in rows for each in neighbours)
    same = NeighbourSource(training, bits).spectra(Asked.of(training))
    assert (same == training.spectra).mean() > 0.9  # its own nearest neighbour, at its own conditions


def test_a_neighbour_is_empty_where_the_training_part_lacks_the_adduct() -> None:
    training = random_part(10, 40, prefix="L", n_molecules=12)
    part = random_part(11, 5, prefix="L", n_molecules=12)
    foreign = Asked(
        part.molecule_id,
        [Condition("[M-H]-", each.energy, each.energy_unit, each.instrument_type) for each in part.condition],
        precursor_mz=part.precursor_mz,
        smiles=part.smiles,
    )
    bits = {name: np.ones(8, np.uint8) for name in [*part.molecules, *training.molecules]}
    assert not NeighbourSource(training, bits).spectra(foreign).any()
