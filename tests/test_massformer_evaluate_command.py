"""``ms2img massformer evaluate`` from bundles and a library on disk to tables, figures, a page; SIMULATED spectra."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from massformer_bundles import SETTINGS, library_folder, tiny_bundle
from PIL import Image

from ms2img.errors import UsageError
from ms2img.massformer.bundle import load_bundle
from ms2img.massformer.evaluate.similarity import cosine
from ms2img.massformer.library.folder import read_library
from ms2img.massformer.molecule.description import features_of
from ms2img.massformer.molecule.drawing import draw_atoms
from ms2img.massformer.selection import DataSettings, select
from ms2img.massformer.spectrum import transformed
from pipelines.command import Output
from pipelines.massformer.attention import AttentionConfig, attention_command
from pipelines.massformer.evaluate import EvaluateConfig, evaluate_command
from pipelines.massformer.evaluate_figures import attention_of, heteroatom_figure
from pipelines.massformer.evaluate_models import load_models
from pipelines.massformer.evaluate_parts import TEST, evaluation_parts
from pipelines.massformer.evaluate_second import second_part
from pipelines.massformer.figures_attention import attention_colours
from pipelines.massformer.figures_energy import joint_distribution

QUIET = Output(quiet=True, json=False)
TABLES = ("summary.csv", "differences.csv", "molecules.csv", "queries.csv")
FIGURES = ("scores.png", "fig2_mirrors.png", "fig3_energy.png", "fig4_one_molecule.png", "fig5_heteroatoms.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library, a MassFormer, two FP models, and the evaluation of the first beside the others."""
    folder = tmp_path_factory.mktemp("evaluate")
    library = library_folder(folder / "library")
    tiny_bundle(folder / "massformer", library, kind="massformer", epochs=1)
    for seed in (0, 1):
        tiny_bundle(folder / f"fp{seed}", library, seed=seed, epochs=1)
    evaluate_command(_config(folder, compare=("fp0", "fp1")), QUIET)
    return folder


def _config(folder: Path, *, compare: tuple[str, ...] = (), out: str = "out", **options: object) -> EvaluateConfig:
    return EvaluateConfig(
        model=str(folder / "massformer"),
        library=str(folder / "library"),
        out=str(folder / out),
        compare=tuple(str(folder / each) for each in compare),
        **options,
    )


def test_every_table_and_figure_is_there_and_the_record_last(made: Path) -> None:
    out = made / "out"
    for name in (*TABLES, *FIGURES, "evaluation.html", "evaluation.json"):
        assert (out / name).stat().st_size > 0
    newest = max(out.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name == "evaluation.json"
    for name in FIGURES:
        picture = np.asarray(Image.open(out / name).convert("L"))
        assert picture.shape[0] > 200
        assert picture.std() > 5  # not blank


def test_the_summary_is_what_the_molecules_say(made: Path) -> None:
    summary, molecules = (pd.read_csv(made / "out" / name) for name in ("summary.csv", "molecules.csv"))
    assert set(summary["source"]) == {"massformer (tiny)", "fp (tiny)", "precursor only", "nearest neighbour"}
    assert set(summary["part"]) == {"test", "second"}
    for _, row in summary.iterrows():
        own = molecules[(molecules["source"] == row["source"]) & (molecules["part"] == row["part"])]
        by_seed = own.groupby("seed", dropna=False)[row["measure"]].mean()
        assert row["mean"] == pytest.approx(by_seed.mean())
        assert row["low"] <= row["mean"] <= row["high"]
        assert row["sd"] == pytest.approx(by_seed.std(), nan_ok=True)
        assert row["molecules"] == own["molecule_id"].nunique()
        assert (row["split"], row["held_out"], row["bin_width"], row["transform"]) == ("inchikey", "Beta", 1.0, "log")
    fp = summary[(summary["source"] == "fp (tiny)") & (summary["measure"] == "cosine")]
    assert set(fp["seeds"]) == {"0 1"}


def test_the_cosine_of_single_spectra_is_that_of_the_predictor(made: Path) -> None:
    """From the bundle and the library's tables, by another way than the command's."""
    library, predictor = read_library(str(made / "library")), load_bundle(made / "fp0")
    selection = select(library.molecules, library.spectra, SETTINGS)
    test = selection.of_part("test")
    smiles = dict(zip(*(library.molecules[name].to_pylist() for name in ("molecule_id", "smiles")), strict=True))
    names = test["molecule_id"].to_pylist()
    predicted = predictor.predict([smiles[name] for name in names], test)
    real = np.zeros_like(predicted)
    for row, (mz, intensity) in enumerate(zip(test["mz"].to_pylist(), test["intensity"].to_pylist(), strict=True)):
        for peak, height in zip(mz, intensity, strict=True):
            real[row, int(peak)] = max(real[row, int(peak)], height)
    values = cosine(*(transformed(each, predictor.spectrum) for each in (predicted, real)))
    expected = pd.Series(values).groupby(names).mean()
    molecules = pd.read_csv(made / "out" / "molecules.csv")
    found = molecules[(molecules["source"] == "fp (tiny)") & (molecules["seed"] == 0) & (molecules["part"] == "test")]
    assert found.set_index("molecule_id")["cosine_each"].to_dict() == pytest.approx(expected.to_dict(), abs=1e-5)


def test_differences_favour_whoever_is_better_over_the_same_molecules(made: Path) -> None:
    differences, molecules = (pd.read_csv(made / "out" / name) for name in ("differences.csv", "molecules.csv"))
    means = molecules.groupby(["part", "source"]).mean(numeric_only=True)
    for _, row in differences.iterrows():
        first, second = (means.loc[(row["part"], row[side]), row["measure"]] for side in ("first", "second"))
        assert row["difference"] == pytest.approx(first - second)
        if isinstance(row["better"], str):
            less_is_better = row["measure"].startswith("norm_rank")
            assert row["better"] == (row["first"] if (first > second) != less_is_better else row["second"])


def test_the_page_needs_nothing_else_and_says_what_was_measured(made: Path) -> None:
    page = (made / "out" / "evaluation.html").read_text()
    assert not re.search(r"<script|https?://|src=\"(?!data:)", page)
    assert "SIMULATED DATA" in page
    for said in ("inchikey split, seed 0", "Held out: Beta", "1&nbsp;Da", "log transform", "nearest neighbour", "0 1"):
        assert said.lower() in page.lower()
    pictures = [Image.open(io.BytesIO(base64.b64decode(each))) for each in re.findall(r"base64,([^\"]+)", page)]
    assert len(pictures) == len(FIGURES)


def test_an_evaluation_is_made_once_and_never_mixed_with_another(made: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (made / "out").iterdir()}
    result = evaluate_command(_config(made, compare=("fp0", "fp1")), QUIET)
    assert result.values["simulated"]
    assert {path.name: path.stat().st_mtime_ns for path in (made / "out").iterdir()} == before
    with pytest.raises(UsageError, match=r"another models .*write to another folder"):
        evaluate_command(_config(made), QUIET)


def test_a_library_with_another_split_is_refused(made: Path, tmp_path: Path) -> None:
    library_folder(tmp_path / "smaller", compounds=30)
    config = _config(made).model_copy(update={"library": str(tmp_path / "smaller"), "out": str(tmp_path / "out")})
    with pytest.raises(UsageError, match=r"smaller: its split is not the one that .*massformer was trained with"):
        evaluate_command(config, QUIET)
    assert not (tmp_path / "out").exists()


def test_another_library_is_scored_without_what_was_learnt_from(made: Path, tmp_path: Path) -> None:
    """By brute force: no molecule that was trained or chosen on, and none of the scaffold of one."""
    library, settings = library_folder(tmp_path / "library", compounds=30), DataSettings(split="scaffold")
    model = tiny_bundle(tmp_path / "model", library, epochs=1, settings=settings)
    known, own = (read_library(str(each)) for each in (library, made / "library"))
    part = select(known.molecules, known.spectra, settings).part
    learnt = {each for each, where in part.items() if where != "test"}
    scaffold_of = {row["molecule_id"]: row["scaffold"] for row in own.molecules.to_pylist()}
    near = {scaffold_of[each] for each in learnt} - {""}
    expected = {each for each, scaffold in scaffold_of.items() if each not in learnt and scaffold not in near}
    given = {"model": str(model), "library": str(library), "second": str(made / "library"), "ranking": False}
    result = evaluate_command(EvaluateConfig(out=str(tmp_path / "out"), **given), QUIET)
    molecules = pd.read_csv(tmp_path / "out" / "molecules.csv")
    scored = {name: set(rows["molecule_id"]) for name, rows in molecules.groupby("part")}
    assert scored == {"second": expected, "test": {each for each, where in part.items() if where == "test"}}
    assert result.values["left_out"] == len(scaffold_of) - len(expected) > len(learnt)
    assert (
        f"{len(scaffold_of) - len(expected)} of its molecules are left out"
        in (tmp_path / "out" / "evaluation.html").read_text()
    )


def test_another_library_of_nothing_new_is_refused(made: Path) -> None:
    library, settings = read_library(str(made / "library")), DataSettings(split="inchikey")
    selection = select(library.molecules, library.spectra, settings)
    found = second_part("mine/", library, library, selection, settings)
    assert set(found.spectra["molecule_id"].to_pylist()) == {e for e, part in selection.part.items() if part == "test"}
    learnt = replace(library, spectra=selection.of_part("train"))
    with pytest.raises(UsageError, match="mine/: no spectra to score: .* none of a molecule that it has not learnt"):
        second_part("mine/", learnt, library, selection, settings)


def test_models_that_cannot_be_compared_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a second massformer"):
        load_models([str(made / "massformer")] * 2)
    other = tiny_bundle(tmp_path / "other", made / "library", epochs=1, settings=DataSettings(split_seed=5))
    config = _config(made, compare=(str(other),), out="never")
    with pytest.raises(UsageError, match="its test part is not that of"):
        evaluate_command(config, QUIET)


def test_attention_is_on_the_atoms_of_the_structure_drawn(made: Path) -> None:
    """Whatever the order and size of the molecules in a batch, each gets its own atoms' attention."""
    predictor = load_bundle(made / "massformer")
    library = read_library(str(made / "library"))
    smiles = library.molecules["smiles"].to_pylist()
    together = attention_of(predictor, smiles)
    for text, attention in zip(smiles[::7], together[::7], strict=True):
        [alone] = attention_of(predictor, [text])
        assert attention is not None
        assert alone is not None
        assert len(attention) == features_of(text).graph.n_atoms
        assert attention == pytest.approx(alone, abs=1e-5)
        assert attention.sum() == pytest.approx(1, abs=1e-5)
        assert draw_atoms(text, attention_colours(attention))[:4] == b"\x89PNG"
    assert attention_of(load_bundle(made / "fp0"), smiles[:2]) == [None, None]


def test_darker_is_less_attention() -> None:
    colours = attention_colours(np.array([0.1, 0.5, 0.2], np.float32))
    brightness = colours @ [0.2126, 0.7152, 0.0722]
    assert np.argsort(brightness).tolist() == [0, 2, 1]
    with pytest.raises(ValueError, match="3 colours for the 2 heavy atoms"):
        draw_atoms("CO", colours)


def test_heteroatom_ratios_are_of_the_test_part(made: Path) -> None:
    predictor = load_bundle(made / "massformer")
    library = read_library(str(made / "library"))
    parts = evaluation_parts(
        library.molecules, select(library.molecules, library.spectra, SETTINGS), predictor.spectrum
    )
    ratios, _ = heteroatom_figure(parts.held_out[TEST], predictor)
    told = json.loads((made / "out" / "evaluation.json").read_text())["heteroatom_ratios"]
    assert {symbol: each["mean"] for symbol, each in told.items()} == {s: each.mean for s, each in ratios.items()}
    with_oxygen = [name for name in parts.held_out[TEST].molecules if "O" in parts.held_out[TEST].smiles[name].upper()]
    assert told["O"]["n"] == len(with_oxygen)


def test_the_energy_figure_takes_one_energy_and_unknown_values() -> None:
    energy = np.array([30.0, 30.0, np.nan, 30.0])
    assert joint_distribution(energy, np.array([100.0, 120, 130, np.nan]), np.full(4, 90.0))[:4] == b"\x89PNG"


def test_the_attention_command_gives_each_atom_of_the_normal_form_a_number(made: Path, tmp_path: Path) -> None:
    table = tmp_path / "molecules.csv"
    table.write_text("smiles\nOCC\n[Na+].[Cl-]\nCN1C=NC2=C1C(=O)N(C)C(=O)N2C\n")
    config = AttentionConfig(molecules=str(table), model=str(made / "massformer"), out=str(tmp_path / "out"))
    values = attention_command(config, QUIET).values
    assert (values["molecules"], values["refused"], values["pictures"]) == (2, 1, 2)
    found = pd.read_csv(tmp_path / "out" / "attention.csv")
    assert found.groupby("molecule")["attention"].sum().to_dict() == pytest.approx({1: 1, 3: 1}, abs=1e-4)
    ethanol = found[found["molecule"] == 1]
    assert set(ethanol["smiles"]) == {"CCO"}
    [expected] = attention_of(load_bundle(made / "massformer"), ["CCO"])
    assert ethanol["attention"].tolist() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(UsageError, match="a model of kind 'fp' has no attention"):
        attention_command(config.model_copy(update={"model": str(made / "fp0")}), QUIET)
