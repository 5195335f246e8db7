"""Bundles of spectrum models: round trips, what is refused, larger vocabularies, peaks, and MLflow's way in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from massformer_data import COMPOUNDS
from massformer_trained import KINDS, SETTINGS, SPECTRUM, data, features, library, tiny
from safetensors.torch import load_file, save_file

from ms2img.errors import UsageError
from ms2img.massformer.bundle import bundle_version, load_bundle, read_checked_description, read_split, save_bundle
from ms2img.massformer.conditions import Condition, ConditionVocabulary
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.model import build
from ms2img.massformer.molecule.selfies_tokens import SelfiesVocabulary
from ms2img.massformer.peaks import BASE_PEAK, PeakRule, peaks_of
from ms2img.massformer.spectrum import SpectrumConfig
from ms2img.massformer.transfer import extended_weights
from ms2img.tracking import flavor

SMILES = list(COMPOUNDS.values())[:5]
CARD: dict[str, Any] = {
    "library": "small",
    "kind": "fp",
    "preset": "small",
    "seed": 0,
    "seeds": 1,
    "epoch": 3,
    "molecules": 29,
    "spectra": 116,
    "licences": ["CC0"],
    "parent": "",
    "simulated": True,
    "metrics": {"cosine_mean": 0.5, "cosine_sd": float("nan")},
}


def make_bundle(folder: Path, kind: str = "fp", *, seed: int = 0, **changes: Any) -> Path:
    """A bundle of an untrained network whose weights follow from `seed`; `changes` go to its card."""
    made, model = data(), tiny(kind)
    network = build(model, SPECTRUM, made.vocabulary, made.selfies, seed=seed)
    save_bundle(
        folder,
        model_state=network.state_dict(),
        model=model,
        spectrum=SPECTRUM,
        vocabulary=made.vocabulary,
        selfies=made.selfies,
        data=SETTINGS,
        part=made.part,
        card={**CARD, "kind": kind, "fingerprints": made.fingerprints, **changes},
    )
    return folder


def asked(energy: float | None = 30.0, adduct: str = "[M+H]+", instrument: str = "LC-ESI-QFT") -> list[Condition]:
    return [Condition(adduct, energy, "NCE", instrument)] * len(SMILES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_answers_as_the_network_did(kind: str, tmp_path: Path) -> None:
    predictor = load_bundle(make_bundle(tmp_path, kind))
    again = load_bundle(shutil.copytree(tmp_path, tmp_path / "elsewhere"))
    spectra = predictor.predict(SMILES, asked())
    np.testing.assert_array_equal(spectra, again.predict(SMILES, asked()))
    assert spectra.shape == (5, SPECTRUM.n_bins)
    np.testing.assert_allclose(spectra.max(axis=1), 1.0, rtol=1e-5)
    assert not np.array_equal(spectra, load_bundle(make_bundle(tmp_path / "b", kind, seed=1)).predict(SMILES, asked()))
    shown = predictor.spectra(SMILES, asked(), transformed=True)
    np.testing.assert_allclose(shown.sum(axis=1), 1.0, rtol=1e-5)
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"bundle.json", "model.safetensors", "split.json"}


def test_a_row_is_answered_by_itself_whatever_stands_beside_it(tmp_path: Path) -> None:
    """Energies, order and neighbours change nothing but rounding."""
    predictor = load_bundle(make_bundle(tmp_path, "massformer"))
    smiles = [each for each in SMILES for _ in range(3)]
    conditions = [Condition("[M+H]+", energy) for _ in SMILES for energy in (10.0, 30.0, 60.0)]
    together = predictor.predict(smiles, conditions)
    for row in (0, 4, 14):
        alone = predictor.predict([smiles[row]], [conditions[row]])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-4)
    back = predictor.predict(smiles[::-1], conditions[::-1])
    np.testing.assert_allclose(together, back[::-1], atol=1e-4)


def test_a_library_s_rows_are_conditions(tmp_path: Path) -> None:
    """As a table of LIBRARY_SPECTRA, or stated by hand: the same question."""
    predictor = load_bundle(make_bundle(tmp_path))
    rows = library().spectra.slice(0, 6)
    smiles = dict(zip(*(library().molecules[name].to_pylist() for name in ("molecule_id", "smiles")), strict=True))
    asked_of = [smiles[each] for each in rows["molecule_id"].to_pylist()]
    by_hand = [Condition(row["adduct"], row["energy_nce"], "NCE", row["instrument_type"]) for row in rows.to_pylist()]
    np.testing.assert_array_equal(predictor.predict(asked_of, rows), predictor.predict(asked_of, by_hand))
    volts = [
        replace(each, energy=row["energy_ev"], energy_unit="eV")
        for each, row in zip(by_hand, rows.to_pylist(), strict=True)
    ]
    assert not np.array_equal(predictor.predict(asked_of, rows), predictor.predict(asked_of, volts))  # the unit counts


def test_refused_rows_are_told_apart(tmp_path: Path) -> None:
    predictor = load_bundle(make_bundle(tmp_path))
    smiles = ["CCO", "C1CC", "CCO", "C[N+](C)(C)C"]
    conditions = [
        Condition("[M+H]+", 20.0),
        Condition("[M+H]+", 20.0),
        Condition("[M+Na]+", 20.0),
        Condition("[M+H]+", 1),
    ]
    answer = predictor.answer(smiles, conditions)
    assert {row: error.partition(":")[0] for row, error in answer.errors.items()} == {
        1: "unparsable", 2: "adduct", 3: "charged",
    }  # fmt: skip
    assert answer.precursor_mz[0] == pytest.approx(46.0418648 + 1.00727646)
    assert not answer.spectra[1:].any()
    with pytest.raises(UsageError, match="row 2: unparsable"):
        predictor.predict(smiles, conditions)
    with pytest.raises(UsageError, match="4 molecules and 1 conditions"):
        predictor.predict(smiles, conditions[:1])


def test_a_library_of_more_elements_makes_a_model_that_takes_them(tmp_path: Path) -> None:
    wide = replace(library(), settings={**library().settings, "elements": "H,C,O,N,Br", "max_atoms": 9})
    made = TrainingSet.load(wide, features(), SETTINGS, SPECTRUM)
    network = build(tiny("fp"), SPECTRUM, made.vocabulary, made.selfies)
    card = {**CARD, "fingerprints": made.fingerprints}
    told = {"model": tiny("fp"), "spectrum": SPECTRUM, "vocabulary": made.vocabulary, "selfies": made.selfies}
    save_bundle(
        tmp_path, model_state=network.state_dict(), **told, data=SETTINGS, part=made.part, card=card,
        structures=made.structures,
    )  # fmt: skip
    answer = load_bundle(tmp_path).answer(["CCBr", "CCCl", "C" * 10], [Condition("[M+H]+", 20.0)] * 3)
    assert {row: error.partition(":")[0] for row, error in answer.errors.items()} == {1: "elements", 2: "too_large"}


# ---- what is refused


def _shape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["head.enter_condition.bias"] = weights["head.enter_condition.bias"][:-1].contiguous()
    save_file(weights, folder / "model.safetensors")


def _without_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["head.enter_condition.bias"]
    save_file(weights, folder / "model.safetensors")


def _changed(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps({**content, **values}))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_shape, r"tensor 'head.enter_condition.bias' is \(\(47,\)"),
        (_without_tensor, "tensor 'head.enter_condition.bias' is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "not the weights of a model bundle"),
        (lambda folder: (folder / "split.json").unlink(), "split.json: not a model bundle: No such file"),
        (_changed(format=2), "format 2 of system 'massformer'; this ms2img"),
        (_changed(system="ms2toimg"), "of system 'ms2toimg'"),
        (_changed(model={"kind": "gnn"}), "bundle.json: ModelConfig: kind: 'gnn'"),
        (_changed(model={"kinds": "fp"}), "unknown key 'kinds'; did you mean 'kind'"),
        (_changed(spectrum={"bin_width": 0}), "bundle.json: SpectrumConfig: bin_width: 0"),
        (_changed(colour="blue"), "unknown key 'colour'"),
    ],
)
def test_a_damaged_bundle_is_refused_by_its_file(damage: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    damage(make_bundle(tmp_path))
    with pytest.raises(UsageError, match=message):
        load_bundle(tmp_path)


def test_the_split_travels_with_the_model(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    assert read_split(tmp_path) == data().part
    content = json.loads((tmp_path / "split.json").read_text())
    content["parts"]["train"] += content["parts"]["test"][:1]
    content["parts"]["test"] = content["parts"]["test"][1:]
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="not the split that this model was trained with"):
        read_split(tmp_path)


def test_a_card_is_closed_and_has_no_nan(tmp_path: Path) -> None:
    description = read_checked_description(make_bundle(tmp_path))
    assert description.card.metrics == {"cosine_mean": 0.5, "cosine_sd": None}
    with pytest.raises(UsageError, match="model card: unknown key 'assay'"):
        make_bundle(tmp_path, assay="dpph")


def test_the_other_system_s_commands_refuse_it(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    with pytest.raises(UsageError, match="a model of massformer, not of ms2toimg; 'ms2img massformer predict' takes"):
        flavor.load_bundle(tmp_path)
    assert flavor.load_bundle(tmp_path, system="massformer").model_version == bundle_version(tmp_path)


# ---- larger vocabularies


@pytest.mark.parametrize("kind", KINDS)
def test_a_grown_vocabulary_leaves_the_answers_as_they_were(kind: str, tmp_path: Path) -> None:
    before = load_bundle(make_bundle(tmp_path, kind))
    known = before.vocabulary
    assert known.shares == (0, 1)
    grown = ConditionVocabulary(adducts=(*known.adducts, "[M+Na]+"), instruments=("new", *known.instruments))
    selfies = SelfiesVocabulary(("[Xe]", *before.selfies.symbols, "[Kr]"))
    weights = extended_weights(before.model, (before.vocabulary, before.selfies), (grown, selfies))
    network = build(before.model.config, SPECTRUM, grown, selfies, seed=5)
    network.load_state_dict(weights)
    after = type(before)(network, spectrum=SPECTRUM, vocabulary=grown, selfies=selfies, model_version="grown")
    np.testing.assert_allclose(after.predict(SMILES, asked()), before.predict(SMILES, asked()), atol=1e-5)
    # Another instrument type counted as the only one known: a new one starts there, and spectra that state none.
    for instrument in ("new", ""):
        new = after.predict(SMILES, asked(instrument=instrument))
        np.testing.assert_allclose(new, before.predict(SMILES, asked()), atol=1e-5)
    with pytest.raises(UsageError, match=r"the adducts lack \[M\+H\]\+, which the model knows"):
        smaller = replace(grown, adducts=("[M+Na]+",))
        extended_weights(before.model, (before.vocabulary, before.selfies), (smaller, selfies))


# ---- peaks


def test_peaks_are_bins_above_the_cut() -> None:
    spectrum = np.zeros(10, dtype=np.float32)
    spectrum[[2, 5, 7]] = [0.02, 0.4, 0.001]
    config = SpectrumConfig(bin_width=0.5, mz_max=5.0)
    assert peaks_of(spectrum, config, PeakRule(cut=0.05, mass="centre")) == [(1.25, 50.0), (2.75, BASE_PEAK)]
    assert len(peaks_of(spectrum, config, PeakRule(cut=0.0))) == 3
    assert peaks_of(np.zeros(10, dtype=np.float32), config, PeakRule()) == []


def test_masses_by_defect_are_near_real_ions() -> None:
    """In the right bin, and nearer to the fragments of real molecules than the centres are."""
    config = SpectrumConfig(mz_max=1000.0)
    real = np.array([109.0284, 138.0662, 195.0877, 286.1438, 609.2807])  # caffeine's and others' ions
    for mass, off in (("defect", 0.25), ("centre", 0.5)):
        spectrum = np.zeros(1000, dtype=np.float32)
        spectrum[real.astype(int)] = 1.0
        found = np.array([mz for mz, _ in peaks_of(spectrum, config, PeakRule(mass=mass))])
        assert (found.astype(int) == real.astype(int)).all()
        assert np.abs(found - real).max() < off


# ---- MLflow


def test_mlflow_predicts_a_frame_without_our_help(tmp_path: Path) -> None:
    flavor.save_model(tmp_path / "model", make_bundle(tmp_path / "bundle"))
    frame = pd.DataFrame(
        {"smiles": ["CCO", "C1CC", "CCO"], "collision_energy": [20, 20, np.nan], "energy_unit": ["eV", "NCE", None]},
        index=[7, 8, 9],
    )
    answer = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(frame)
    assert list(answer.index) == [7, 8, 9]
    assert [error.partition(":")[0] for error in answer["error"]] == ["", "unparsable", ""]
    assert answer["adduct"].tolist() == ["[M+H]+"] * 3
    predictor = load_bundle(tmp_path / "bundle")
    expected = peaks_of(predictor.predict(["CCO"], [Condition("[M+H]+", 20.0, "eV")])[0], SPECTRUM, PeakRule())
    assert answer["mz"][7] == [mz for mz, _ in expected]
    np.testing.assert_allclose(answer["intensity"][7], [height for _, height in expected], atol=0.05)
    assert (answer["mz"][8], np.isnan(answer["precursor_mz"][8])) == ([], True)
    assert set(answer["model_version"]) == {bundle_version(tmp_path / "bundle")}
    for bad, message in (
        ({"mols": ["C"]}, "a column 'smiles'"),
        ({"smiles": ["C"], "collision_energy": ["x"]}, "number"),
    ):
        with pytest.raises(UsageError, match=message):
            predictor_frame(predictor).predict(pd.DataFrame(bad))


def predictor_frame(predictor: Any) -> Any:
    from ms2img.massformer.frame import FramePredictor

    return FramePredictor(predictor)


def test_torch_s_random_state_is_nobody_s(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    load_bundle(make_bundle(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)
