"""``ms2img massformer rank``: candidates of a query, against the predictor and loops; the spectra are SIMULATED."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from massformer_bundles import SPECTRUM, library_folder, tiny_bundle
from massformer_data import COMPOUNDS, simulated_peaks

from ms2img.errors import UsageError
from ms2img.massformer.bundle import load_bundle
from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.similarity import cosine
from ms2img.massformer.spectrum import binned, transformed
from pipelines.command import Output
from pipelines.massformer.rank import COLUMNS, RankConfig, rank_command

QUIET = Output(quiet=True, json=False)
NAMES = ("Caffeine", "Paracetamol", "Atenolol", "Metoprolol", "Diuron")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rank")
    return tiny_bundle(folder / "fp", library_folder(folder / "library", compounds=24), epochs=2)


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """Three spectra: one that states its conditions, one of another adduct, one that states no energy."""
    lines: list[str] = []
    for name, extra in (
        ("Caffeine", ["ADDUCT=[M+H]+", "COLLISION_ENERGY=30 NCE"]),
        ("Diuron", ["ADDUCT=[M+K]+", "COLLISION_ENERGY=30 NCE"]),
        ("Atenolol", []),
    ):
        mz, peaks = simulated_peaks(COMPOUNDS[name], 30)
        lines += ["BEGIN IONS", f"TITLE={name}", f"SCANS={len(lines)}", f"PEPMASS={mz:.4f}", "CHARGE=1+", *extra]
        lines += [f"{peak:.4f} {height:.2f}" for peak, height in peaks] + ["END IONS", ""]
    path = tmp_path / "queries.mgf"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    path = tmp_path / "candidates.csv"
    rows = [f"{name},{COMPOUNDS[name]}" for name in NAMES] + ["salt,[Na+].[Cl-]", "no molecule,C(("]
    path.write_text("\n".join(["name,SMILES", *rows]) + "\n")
    return path


def _ranked(model: Path, queries: Path, candidates: Path, out: Path, **options: object) -> tuple[list[dict], dict]:
    config = RankConfig(query=str(queries), model=str(model), candidates=str(candidates), out=str(out), **options)
    result = rank_command(config, QUIET)
    with out.open() as stream:
        return list(csv.DictReader(stream)), result.values


def test_rows_are_the_predictors_similarities_in_their_order(
    model: Path, queries: Path, candidates: Path, tmp_path: Path
) -> None:
    rows, values = _ranked(model, queries, candidates, tmp_path / "ranks.csv")
    assert list(rows[0]) == list(COLUMNS)
    predictor = load_bundle(model)
    smiles = [COMPOUNDS[name] for name in NAMES]
    predicted = predictor.predict(smiles, [Condition("[M+H]+", 30.0)] * 5)
    _, peaks = simulated_peaks(COMPOUNDS["Caffeine"], 30)
    real = binned(*np.array(peaks).T, SPECTRUM)
    expected = cosine(transformed(np.stack([real] * 5), SPECTRUM), transformed(predicted, SPECTRUM))
    mine = [row for row in rows if row["query"] == rows[0]["query"] and not row["error"]]
    assert [float(row["cosine"]) for row in mine] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
    assert [row["smiles"] for row in mine] == [smiles[place] for place in np.argsort(-expected)]
    assert [float(row["rank"]) for row in mine] == [1, 2, 3, 4, 5]
    assert [int(row["candidate"]) for row in mine] == [1 + place for place in np.argsort(-expected)]
    assert all(0 <= float(row["entropy"]) <= 1 for row in mine)
    assert values["queries"] == 2  # the third's adduct is one that the model does not know
    assert values["left_out"] == {"adduct": 1}
    assert values["energy_unknown"] == 1


def test_refused_candidates_are_rows_with_a_reason(
    model: Path, queries: Path, candidates: Path, tmp_path: Path
) -> None:
    rows, values = _ranked(model, queries, candidates, tmp_path / "ranks.csv")
    refused = [row for row in rows if row["error"]]
    assert [(row["candidate"], row["error"].partition(":")[0]) for row in refused] == [
        ("6", "disconnected"),
        ("7", "unparsable"),
    ]
    assert values["refused"] == 2
    assert len(rows) == 2 * 5 + 2


def test_several_energies_are_averaged(model: Path, queries: Path, candidates: Path, tmp_path: Path) -> None:
    rows, values = _ranked(model, queries, candidates, tmp_path / "ranks.csv", energy="15,60")
    predictor = load_bundle(model)
    pair = predictor.predict([COMPOUNDS["Diuron"]] * 2, [Condition("[M+H]+", each) for each in (15.0, 60.0)])
    _, peaks = simulated_peaks(COMPOUNDS["Caffeine"], 30)
    real = binned(*np.array(peaks).T, SPECTRUM)
    expected = cosine(transformed(real[None], SPECTRUM), transformed(pair.mean(axis=0)[None], SPECTRUM))[0]
    [found] = [row for row in rows if row["query"] == rows[0]["query"] and row["smiles"] == COMPOUNDS["Diuron"]]
    assert float(found["cosine"]) == pytest.approx(expected, abs=1e-5)
    assert values["energy_unknown"] == 0


def test_only_candidates_of_the_querys_mass_and_the_first_few_are_written(
    model: Path, queries: Path, candidates: Path, tmp_path: Path
) -> None:
    rows, _ = _ranked(model, queries, candidates, tmp_path / "ranks.csv", mass_ppm=20.0)
    assert [row["smiles"] for row in rows if not row["error"]] == [COMPOUNDS["Caffeine"], COMPOUNDS["Atenolol"]]
    rows, _ = _ranked(model, queries, candidates, tmp_path / "ranks.csv", top=2)
    assert [row["rank"] for row in rows if not row["error"]] == ["1", "2", "1", "2"]


def test_candidates_in_pieces_are_candidates_at_once(
    model: Path, queries: Path, candidates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = _ranked(model, queries, candidates, tmp_path / "whole.csv", energy="20,40")
    monkeypatch.setattr("ms2img.massformer.evaluate.candidates.AT_ONCE", 4)
    pieces, _ = _ranked(model, queries, candidates, tmp_path / "pieces.csv", energy="20,40")
    assert [row["smiles"] for row in pieces] == [row["smiles"] for row in whole]
    numbers = [[float(row["cosine"]) for row in each if row["cosine"]] for each in (pieces, whole)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [("name,structure\na,C\n", "no column 'smiles'"), ("smiles\n", "no candidates"), ("", "cannot be read as a table")],
)
def test_a_table_without_candidates_is_refused(
    model: Path, queries: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "candidates.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message if text else "candidates.csv"):
        _ranked(model, queries, path, tmp_path / "ranks.csv")


def test_a_query_file_without_a_query_is_refused(model: Path, candidates: Path, tmp_path: Path) -> None:
    path = tmp_path / "queries.mgf"
    path.write_text("BEGIN IONS\nPEPMASS=195.1\nCHARGE=1+\nADDUCT=[M+K]+\n50 1\nEND IONS\n")
    with pytest.raises(UsageError, match=r"nothing to rank for: 1 adduct; the model knows \[M\+H\]\+"):
        _ranked(model, path, candidates, tmp_path / "ranks.csv")
    with pytest.raises(UsageError, match=r"missing\.mgf"):
        _ranked(model, tmp_path / "missing.mgf", candidates, tmp_path / "ranks.csv")
