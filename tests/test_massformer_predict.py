"""``ms2img massformer predict``: libraries that other tools read, refusals, streaming, and the same file from Ray."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from massformer_data import COMPOUNDS
from massformer_trained import SPECTRUM
from matchms.importing import load_from_mgf, load_from_msp
from test_massformer_bundle import make_bundle

from ms2img.errors import UsageError
from ms2img.io.formats.msp import read_msp
from ms2img.massformer.bundle import bundle_version, load_bundle
from ms2img.massformer.conditions import Condition
from ms2img.massformer.peaks import PeakRule, peaks_of
from ms2img.massformer.predicted import PREDICTED, PredictedSpectrum, mgf, msp
from pipelines.massformer.molecule_rows import parts_of
from pipelines.massformer.predict import PredictConfig
from pipelines.massformer.predict_job import PredictSummary, predict

BAD = [("bad", "C1CC", "unparsable"), ("salt", "CC(=O)[O-].[Na+]", "disconnected"), ("none", "", "empty")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve molecules, three of them impossible, with a column that is nobody's business."""
    path = tmp_path_factory.mktemp("table") / "molecules.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["ID", "note", "SMILES"])
        writer.writerows([name, "x, y", smiles] for name, smiles in list(COMPOUNDS.items())[:9])
        writer.writerows([name, "", smiles] for name, smiles, _ in BAD)
    return path


def run(bundle: Path, table: Path, out: Path, **options: Any) -> PredictSummary:
    values = {"model": str(bundle), "molecules": str(table), "out": str(out), "energy": "20,40", **options}
    return predict(PredictConfig.checked(values, source="test"), quiet=True)


@pytest.mark.parametrize("kind", ["msp", "mgf"])
def test_matchms_reads_the_library_back(kind: str, bundle: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / f"library.{kind}"
    summary = run(bundle, table, out, instrument_type="LC-ESI-QFT")
    assert (summary.molecules, summary.spectra, summary.refused) == (9, 18, 3)
    spectra = list((load_from_msp if kind == "msp" else load_from_mgf)(str(out)))
    assert len(spectra) == 18
    predictor = load_bundle(bundle)
    for number, spectrum in enumerate(spectra):
        name, smiles = list(COMPOUNDS.items())[number // 2]
        energy = (20.0, 40.0)[number % 2]
        expected = predictor.predict([smiles], [Condition("[M+H]+", energy, "NCE", "LC-ESI-QFT")])[0]
        peaks = np.array(peaks_of(expected, SPECTRUM, PeakRule()))
        np.testing.assert_allclose(spectrum.peaks.mz, peaks[:, 0], atol=1e-4)
        np.testing.assert_allclose(spectrum.peaks.intensities, peaks[:, 1], atol=0.05)
        told = {key: spectrum.get(key) for key in ("compound_name", "adduct", "ionmode", "collision_energy")}
        assert told == {
            "compound_name": name, "adduct": "[M+H]+", "ionmode": "positive", "collision_energy": f"{energy:g} NCE",
        }  # fmt: skip
        assert spectrum.get("instrument_type") == "LC-ESI-QFT"
        assert bundle_version(bundle) in spectrum.get("comment")
    caffeine = spectra[0]
    assert caffeine.get("precursor_mz") == pytest.approx(195.08765, abs=1e-4)
    assert (caffeine.get("formula"), caffeine.get("inchikey")) == ("C8H10N4O2", "RYYVLZVUVIJVGH-UHFFFAOYSA-N")


def test_msp_has_the_fields_of_ms_dial_and_our_own_reader_agrees(bundle: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "library.msp"
    run(bundle, table, out)
    lines = out.read_text().split("\n\n")[0].splitlines()
    assert [line.partition(":")[0] for line in lines if ":" in line] == [
        "NAME", "PRECURSORMZ", "PRECURSORTYPE", "IONMODE", "FORMULA", "SMILES", "INCHIKEY", "COLLISIONENERGY",
        "COMMENT", "Num Peaks",
    ]  # fmt: skip
    assert read_msp(str(out)).num_rows == 18


def test_parquet_holds_what_the_text_does(bundle: Path, table: Path, tmp_path: Path) -> None:
    run(bundle, table, tmp_path / "a.parquet", part_size=2)
    run(bundle, table, tmp_path / "a.mgf", part_size=5)  # another parting, the same library but for rounding
    found = pq.read_table(tmp_path / "a.parquet")
    assert found.schema.equals(PREDICTED)
    spectra = list(load_from_mgf(str(tmp_path / "a.mgf")))
    assert found["id"].to_pylist() == [spectrum.get("compound_name") for spectrum in spectra]
    for row, spectrum in zip(found.to_pylist(), spectra, strict=True):
        np.testing.assert_allclose(spectrum.peaks.intensities, row["intensity"], atol=0.05)
        assert row["collision_energy"] in (20.0, 40.0)


def test_refused_molecules_are_listed_with_their_reason(bundle: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.msp"
    run(bundle, table, out)
    with (tmp_path / "a.msp.refused.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["smiles"], row["code"]) for row in rows] == BAD
    assert [row["row"] for row in rows] == ["10", "11", "12"]
    good = tmp_path / "good.csv"
    good.write_text("smiles\nCCO\n")
    assert run(bundle, good, out).refused == 0
    assert not (tmp_path / "a.msp.refused.csv").exists()  # what an earlier run refused is no news
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.msp", "good.csv"]


def test_rows_may_state_their_own_adduct_and_energy(bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "m.tsv"
    table.write_text("smiles\tadduct\tenergy\nCCO\t\t\nCCN\t[M+H]+\t35.5\nCCC\t[M+Na]+\t\nCCCC\t\tlow\nCC\t\t-3\n")
    summary = run(bundle, table, tmp_path / "a.parquet")
    found = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [(row["id"], row["collision_energy"]) for row in found] == [
        ("molecule 1", 20.0), ("molecule 1", 40.0), ("molecule 2", 35.5),
    ]  # fmt: skip
    assert [(row["row"], row["code"]) for row in summary.examples] == [(3, "adduct"), (4, "energy"), (5, "energy")]


@pytest.mark.ray
def test_ray_writes_the_same_file_and_goes_on_from_what_is_done(
    ray_session: None, bundle: Path, table: Path, tmp_path: Path
) -> None:
    run(bundle, table, tmp_path / "a.msp", part_size=2)
    out, parts = tmp_path / "b.msp", tmp_path / "b.msp.parts"
    run(bundle, table, out, part_size=2, distributed=True)
    assert out.read_bytes() == (tmp_path / "a.msp").read_bytes()
    assert (tmp_path / "b.msp.refused.csv").read_bytes() == (tmp_path / "a.msp.refused.csv").read_bytes()
    assert not parts.exists()
    # A job that ended before its library was written, with one part lost and one of another question.
    _leave_parts(bundle, table, parts)
    out.unlink()
    kept = sorted(parts.glob("*.json"))
    kept[0].unlink()
    marked = kept[1].with_suffix(".part")
    marked.write_bytes(b"NAME: kept\n\n" + marked.read_bytes())
    run(bundle, table, out, part_size=2, distributed=True)
    assert out.read_bytes().replace(b"NAME: kept\n\n", b"") == (tmp_path / "a.msp").read_bytes()
    assert b"NAME: kept" in out.read_bytes()  # it was not predicted again
    assert not parts.exists()


def _leave_parts(bundle: Path, table: Path, parts: Path) -> None:
    from ms2img.io.storage import folder
    from pipelines.massformer.predict_job import _asked, write_part
    from pipelines.massformer.predict_work import predict_part

    predictor = load_bundle(bundle)
    config = PredictConfig.checked(
        {"model": str(bundle), "molecules": str(table), "out": "b.msp", "energy": "20,40"}, source="test"
    )
    asked = _asked(config, predictor)
    for rows in parts_of(str(table), 2):
        key = asked.key(rows, f"{predictor.model_version} cpu")
        write_part(folder(str(parts)), key, predict_part(rows, asked, predictor))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adduct": "[M+K]+"}, r"--adduct \[M\+K\]\+: the model knows \[M\+H\]\+"),
        ({"adduct": "M+H,foo"}, r"adduct: 'foo' names no adduct such as \[M\+H\]\+"),
        ({"instrument_type": "TOF"}, "--instrument-type TOF: the model knows LC-ESI-QFT"),
        ({"energy": "20,high"}, "expected numbers, 0 or more, with commas between"),
        ({"out": "library.sdf"}, "expected a name that ends in .msp, .mgf or .parquet"),
        ({"num_gpus": 0.5}, "--num-gpus is for --distributed"),
        ({"molecules": "nothing.csv"}, "nothing.csv: .*no such file"),
    ],
)
def test_a_wrong_question_is_refused_before_any_work(
    options: dict, message: str, bundle: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"out": tmp_path / "a.msp", **options}
    with pytest.raises(UsageError, match=message):
        run(bundle, table, values.pop("out"), **values)
    assert list(tmp_path.iterdir()) == []


# ---- reading tables


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_tables_are_read_in_order_in_parts(kind: str, size: int, tmp_path: Path) -> None:
    smiles = ["C" * (1 + number % 7) for number in range(10)]
    path = tmp_path / f"m.{kind}"
    frame = pa.table({"smiles": smiles, "id": [str(number) for number in range(10)], "mass": [0.5] * 10})
    if kind == "parquet":
        pq.write_table(frame, path, row_group_size=4)
    else:
        options = pa.csv.WriteOptions(delimiter="," if kind == "csv" else "\t")
        pa.csv.write_csv(frame, path, write_options=options)
    parts = list(parts_of(str(path), size))
    assert all(len(part) == size for part in parts[:-1])
    rows = [row for part in parts for row in part]
    assert [(row.row, row.smiles, row.id) for row in rows] == [
        (number + 1, each, str(number)) for number, each in enumerate(smiles)
    ]


def test_a_large_table_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    with path.open("w") as stream:
        stream.write("smiles\n")
        stream.writelines(f"{'C' * 200}{'O' * (number % 3)}\n" for number in range(60_000))  # 12 MB: three blocks
        stream.write('"an open quote\n')
    parts: Iterator[Any] = parts_of(str(path), 100)
    assert len(next(parts)) == 100  # what is wrong at the end is not known yet


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,formula\nx,C\n", "no column smiles; its columns are name, formula"),
        ("", "m.csv: .*[Ee]mpty"),
        ("smiles,id\nCC,1\nCC,1,2\n", "m.csv: .*Expected 2 columns, got 3"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        list(parts_of(str(path), 10))


# ---- writing


@settings(deadline=None, max_examples=50)
@given(name=st.text(max_size=60), seed=st.integers(0, 999))
def test_any_name_stays_on_its_line(name: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    draw = np.random.default_rng(seed)
    peaks = [(float(mz), float(draw.uniform(1, 1000))) for mz in range(50, 50 + int(draw.integers(1, 10)))]
    one = PredictedSpectrum(name, "CCO", "L", "C2H6O", "[M+H]+", 47.049, None, "NCE", "", peaks, "v")
    path = tmp_path_factory.mktemp("any") / "a.msp"
    path.write_bytes(msp([one, one]))
    assert read_msp(str(path)).num_rows == 2
    path.with_suffix(".mgf").write_bytes(mgf([one, one]))
    assert len(list(load_from_mgf(str(path.with_suffix(".mgf"))))) == 2
