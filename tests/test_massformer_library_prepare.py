"""``ms2img massformer prepare`` as a user runs it: folders and archives, again, otherwise, and after a crash."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from massformer_data import COMPOUNDS, ENERGIES, small_library, write_library
from s3_servers import S3Server

from ms2img.errors import UsageError
from ms2img.massformer.library.assemble import assemble, read_part
from ms2img.massformer.library.filters import LibraryRules
from ms2img.massformer.library.folder import MANIFEST_NAME, SPECTRA_NAME, fingerprint_of, read_library
from ms2img.massformer.library.folder import write_library as write_tables
from ms2img.massformer.library.reading import read_piece
from ms2img.massformer.library.reasons import REASONS
from ms2img.massformer.library.sources import find_inputs, pieces
from ms2img.massformer.library.tables import LIBRARY_SPECTRA, MOLECULES
from ms2img.massformer.molecule.features import read_features
from pipelines.command import Output
from pipelines.massformer.prepare import PrepareConfig, prepare_command

QUIET = Output(quiet=True, json=False)


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def run(*library: Path, out: Path, **options: object) -> dict[str, object]:
    return prepare_command(
        PrepareConfig(library=[str(each) for each in library], out=str(out), **options), QUIET
    ).values


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_library(tmp_path_factory.mktemp("source") / "small")


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    run(source, out=out)
    return out


@pytest.mark.ray
def test_a_folder_becomes_a_library(source, prepared, tmp_path, capsys):
    library = read_library(str(prepared))
    assert library.molecules.schema.equals(MOLECULES)
    assert library.spectra.schema.equals(LIBRARY_SPECTRA)
    assert (library.molecules.num_rows, library.spectra.num_rows) == (len(COMPOUNDS), len(COMPOUNDS) * len(ENERGIES))
    assert library.is_simulated
    assert library.spectra.equals(small_library().spectra)  # without Ray and without a file
    assert library.fingerprint == fingerprint_of(library.molecules, library.spectra)
    assert set(read_features(str(prepared))) == set(library.molecules["molecule_id"].to_pylist())
    archive = tmp_path / "small.tar.xz"
    with tarfile.open(archive, "w:xz") as packed:
        packed.add(source, "somewhere/else")
    values = run(archive, out=tmp_path / "out")
    assert values["fingerprint"] == library.fingerprint
    assert values["records"] == library.spectra.num_rows
    assert values["licences"] == {"CC0": library.spectra.num_rows}
    assert sum(values["laboratories"].values()) == sum(values["cells"].values()) == library.spectra.num_rows
    assert "SIMULATED" in capsys.readouterr().err


@pytest.mark.ray
def test_again_is_nothing_and_otherwise_is_refused(source, prepared, tmp_path, capsys):
    before = content(prepared)
    result = prepare_command(PrepareConfig(library=[str(source)], out=str(prepared)), Output(quiet=False, json=False))
    assert result.values["was_prepared"]
    printed = capsys.readouterr().out
    assert "already prepared" in printed
    assert "Alpha" in printed
    with pytest.raises(UsageError, match=r"made with cells=HCD,CID, now asked for cells=HCD; give OUT another folder"):
        run(source, out=prepared, cells="HCD")
    with pytest.raises(UsageError, match="is in one and not in the other"):
        run(write_library(tmp_path / "other"), out=prepared)
    assert content(prepared) == before


@pytest.mark.ray
def test_what_a_crash_leaves_is_no_library_and_is_made_again(source, prepared, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / SPECTRA_NAME).write_bytes(b"half a table")
    with pytest.raises(UsageError, match="no prepared library"):
        read_library(str(out))
    assert run(source, out=out)["fingerprint"] == read_library(str(prepared)).fingerprint
    (out / SPECTRA_NAME).write_bytes((out / SPECTRA_NAME).read_bytes() + b" ")
    with pytest.raises(UsageError, match="was changed since"):
        read_library(str(out))
    (out / SPECTRA_NAME).unlink()
    with pytest.raises(UsageError, match="is missing"):
        read_library(str(out))


@pytest.mark.ray
def test_several_libraries_are_one_and_say_what_was_left_out(source, tmp_path, ray_session):
    (tmp_path / "bad.mgf").write_text("BEGIN IONS\nTITLE=x\nPEPMASS=100\n50 1\nEND IONS\nBEGIN IONS\noops\nEND IONS\n")
    copies = write_library(tmp_path / "copies", laboratories=("Gamma",))
    out = tmp_path / "out"
    values = run(source, copies, tmp_path / "bad.mgf", out=out)
    refused = pq.read_table(out / "refused.parquet").to_pylist()
    assert {row["reason"]: row["count"] for row in refused} == values["refused"]
    n = len(COMPOUNDS) * len(ENERGIES)
    assert values["refused"] == {"malformed": 1, "not-ft": 1, "duplicate": n}
    assert [row["reason"] for row in refused] == [reason for reason in REASONS if reason in values["refused"]]
    assert refused[0]["example"].startswith("bad.mgf:2: 'oops'")
    assert values["records"] == 2 * n + 2
    assert values["spectra"] == n
    manifest = json.loads((out / MANIFEST_NAME).read_text())
    assert set(manifest["inputs"]) == {str(source), str(copies), str(tmp_path / "bad.mgf")}
    assert manifest["counts"]["refused"] == values["refused"]


@pytest.mark.ray
def test_what_cannot_become_a_library_leaves_nothing(source, tmp_path, ray_session):
    with pytest.raises(UsageError, match=r"none of \d+ records is left, left out: \d+ other-adduct"):
        run(source, out=tmp_path / "out", adducts="[M+Na]+")
    (tmp_path / "cut.tar.xz").write_bytes(b"\xfd7zXZ\x00")
    with pytest.raises(UsageError, match="cut.tar.xz"):
        run(tmp_path / "cut.tar.xz", out=tmp_path / "out")
    assert not content(tmp_path / "out")
    (tmp_path / "out" / "thesis.docx").touch()
    with pytest.raises(UsageError, match="not empty and not a prepared library"):
        run(source, out=tmp_path / "out")
    with pytest.raises(UsageError, match="no such file"):
        run(tmp_path / "nowhere.msp", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_library_on_s3(source, s3: S3Server):
    files = sorted(source.iterdir())[:8]
    for path in files:
        s3.put(f"bucket/raw/lab/{path.name}", path.read_bytes())
    s3.put("bucket/raw/.hidden/x.txt", files[0].read_bytes())
    inputs = find_inputs(["s3://bucket/raw"])
    parts = [read_part(read_piece(piece, 1 << 30), LibraryRules()) for piece in pieces(inputs.sources, 2)]
    made = assemble(parts)
    assert made.spectra.num_rows == len(files)
    write_tables("s3://bucket/out", made, settings={}, inputs=inputs.identity)
    found = read_library("s3://bucket/out")
    assert found.spectra.equals(made.spectra)
    assert found.spectra["library"].to_pylist() == ["raw"] * len(files)
    with pytest.raises(UsageError, match="no prepared library"):
        read_library("s3://bucket/nothing")
