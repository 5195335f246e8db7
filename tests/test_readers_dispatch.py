"""From a sheet's row to its spectra: which reader, one pass a file, errors run by run, identity of content."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_runs import b64, cv, msms_xml, mzml_xml

import ms2img.io.read as read_module
from ms2img.errors import RunError
from ms2img.io.dataset.sources import hash_file, source_fingerprint
from ms2img.io.read import RunSpectra, read_run, read_runs, sniff
from ms2img.io.read_config import ReadOptions
from ms2img.io.schema import SPECTRA
from ms2img.io.sheet import FORMATS, Run, Sheet
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.render_config import RenderConfig, RenderOptions

MGF = "BEGIN IONS\nTITLE=a\nPEPMASS=100\n50 1\nEND IONS\n"
ALIGNMENT = (
    "\t\tClass\ts\ts\n\t\tFile type\tSample\tSample\n"
    "Alignment ID\tAverage Mz\tMS/MS spectrum\tone\ttwo\n0\t200\t100:5\t3\t0\n1\t300\t\t4\t5\n"
)
PEAKLIST = "PeakID\tPrecursor m/z\tHeight\tMSMS spectrum\n0\t200\t3\t100:5\n"
QUANT = "row ID,row m/z,row retention time,a.mzML Peak area\na,100,1,9\n"
MSP = "Name: a\nPrecursorMZ: 200\nNum Peaks: 1\n50 1\n"
MZML = mzml_xml(msms_xml())


def run(sample_id: str, path: object, **more: str) -> Run:
    fields = {"quant_path": None, "column": None, "format": None, "replicate": None, "batch": None}
    return Run(sample_id=sample_id, path=str(path), kind="sample", accession=sample_id, **{**fields, **more})


def write(folder: Path, text: str | bytes, name: str = "run") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fingerprint(run: Run) -> str:
    quant = hash_file(run.quant_path) if run.quant_path else None
    return source_fingerprint(hash_file(run.path), quant, run.column)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MGF, "mgf"),
        ("\ufeff# comment\r\nCHARGE=1+\r\n\r\n" + MGF.replace("\n", "\r\n"), "mgf"),
        (ALIGNMENT, "msdial-alignment"),
        ("\ufeff" + ALIGNMENT.replace("\n", "\r\n"), "msdial-alignment"),
        (MSP, "msp"),
        ("\r\n\r\nNAME: x\r\nPRECURSORMZ: 5\r\nNum_Peaks : 0\r\n", "msp"),
        ("<?xml version='1.0'?>\n<!-- mzXML -->\n<x:indexedmzML\n>", "mzml"),
        ("<mzML version='1.1'>" + "x" * (9 << 20), "mzml"),
        ('<?xml version="1.0"?><!DOCTYPE a><mzXML>', "mzxml"),
        (PEAKLIST, "msdial-peaklist"),
        (PEAKLIST.replace("PeakID", "Peak ID"), "msdial-peaklist"),
        ("\t" * 5000 + "Class\n" + "x" * (3 << 20) + "\n" + ALIGNMENT, "msdial-alignment"),
    ],
)
def test_formats_are_told_by_content(tmp_path: Path, text: str, expected: str) -> None:
    assert sniff(str(write(tmp_path, text, name="misleading.mzML"))) == expected


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", "empty", "0 bytes"),
        (b"\n\n", "unknown-format", "expected mzML, mzXML, MGF"),
        (b"a,b\n1,2\n", "unknown-format", "MS-DIAL alignment"),
        (b"<?xml version='1.0'?><mzML>", "truncated", "ends before its mzML does"),
        (b"<?xml version='1.0'?><!-- <mzML> -->\n<html></html>", "unknown-format", "starts with <html>"),
        (b"<html>\n<body>\n", "unknown-format", "neither mzML nor mzXML"),
        (QUANT.encode(), "unknown-format", "name it in the sheet's `quant_path`"),
        (MGF.encode("utf-16-le"), "bad-encoding", "UTF-16"),
        (b"\x1f\x8b\x08\x00\x00", "truncated", "gzip"),
        (bytes(range(256)) * 10, "bad-encoding", "binary"),
    ],
)
def test_files_that_are_no_runs(tmp_path: Path, content: bytes, code: str, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(RunError) as caught:
        read_run(run("a", path))
    assert (caught.value.code, caught.value.path) == (code, str(path))
    assert message in caught.value.message


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    for path, code in (
        (tmp_path / "missing", "not-found"),
        (tmp_path / "file" / "below", "not-found"),
        ("a\0b", "not-found"),
        (tmp_path, "unreadable"),
        (tmp_path / "pipe", "unreadable"),
        ("/" + "x" * 300, "unreadable"),
    ):
        for ask in (read_run, fingerprint):
            with pytest.raises(RunError) as caught:
                ask(run("a", path))
            assert caught.value.code == code
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 (our own)


@pytest.mark.parametrize(
    ("text", "column"), [(MGF, None), (ALIGNMENT, "one"), (PEAKLIST, None), (MSP, None), (MZML, None)]
)
def test_every_format_ends_in_the_spectra_schema(tmp_path: Path, text: str, column: str | None) -> None:
    more = {"column": column} if column else {}
    spectra = read_run(run("sample-7", write(tmp_path, text), **more))
    assert spectra.table.schema.equals(SPECTRA)
    assert set(spectra.table["sample_id"].to_pylist()) == {"sample-7"}
    assert spectra.ms2_source == ("representative" if column else "own")


def test_a_group_is_read_once_and_fails_run_by_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, mgf = write(tmp_path, ALIGNMENT, "t.txt"), write(tmp_path, MGF, "a.mgf")
    asked: list[list[str]] = []
    read_alignment = read_module.read_alignment
    monkeypatch.setattr(
        read_module, "read_alignment", lambda path, names: asked.append(list(names)) or read_alignment(path, names)
    )
    runs = [
        run("t1", table, column="one"),
        run("m", mgf),
        run("t3", table, column="three"),
        run("gone", tmp_path / "gone.mgf"),
        run("t2", table, column="two"),
        run("t0", table),
        run("same file", mgf),
    ]
    outcomes = {r.sample_id: outcome for r, outcome in read_runs(runs)}
    assert list(outcomes) == ["t1", "t3", "t2", "t0", "m", "same file", "gone"]  # grouped by file
    assert asked == [["one", "three", "two"]]
    codes = {name: outcome.code for name, outcome in outcomes.items() if isinstance(outcome, RunError)}
    assert codes == {"t3": "no-column", "t0": "no-column", "gone": "not-found"}
    rows = {name: outcome.table.to_pylist() for name, outcome in outcomes.items() if isinstance(outcome, RunSpectra)}
    assert [(row["spectrum_id"], row["precursor_intensity"], row["mz"]) for row in rows["t1"]] == [
        ("0", 3.0, [100.0]),
        ("1", 4.0, []),
    ]
    assert [row["spectrum_id"] for row in rows["t2"]] == ["1"]
    assert [row["sample_id"] for row in rows["m"] + rows["same file"]] == ["m", "same file"]


def test_a_bad_file_fails_each_of_its_runs(tmp_path: Path) -> None:
    path = write(tmp_path, ALIGNMENT.replace("300", "heavy"))
    outcomes = [outcome for _, outcome in read_runs([run(name, path, column=name) for name in ("one", "two")])]
    assert [(error.code, error.position) for error in outcomes if isinstance(error, RunError)] == [
        ("bad-value", "line 5"),
        ("bad-value", "line 5"),
    ]


def test_rows_whose_columns_do_not_fit_their_file(tmp_path: Path) -> None:
    mgf, peaks, quant = (
        write(tmp_path, text, name) for text, name in ((MGF, "a.mgf"), (PEAKLIST, "p.txt"), (QUANT, "q.csv"))
    )
    column = "a.mzML Peak area"
    spectra = read_run(run("x", mgf, quant_path=str(quant), column=column))
    assert (spectra.ms2_source, spectra.table["precursor_intensity"].to_pylist()) == ("own", [9.0])
    for bad, code, message in (
        (run("x", mgf, column=column), "no-column", "this file holds one run and has no columns"),
        (run("x", mgf, quant_path=str(quant)), "no-column", "name the run's in the sheet's `column`"),
        (run("x", mgf, quant_path=str(quant), column="b"), "no-column", f"nearest: '{column}'"),
        (run("x", peaks, quant_path=str(quant), column=column), "unknown-format", "belongs beside an MGF"),
        (run("x", mgf, quant_path=str(tmp_path / "no.csv"), column=column), "not-found", "no such file"),
        (run("x", mgf, format="msdial-peaklist"), "bad-header", "a peak list starts with"),
        (run("x", peaks, format="msdial-alignment", column="c"), "bad-header", "no line starts with 'Alignment ID'"),
        (run("x", peaks, format="mgf"), "empty", "BEGIN IONS"),
    ):
        with pytest.raises(RunError) as caught:
            read_run(bad)
        assert (caught.value.code, message in caught.value.message) == (code, True), caught.value


def test_fingerprints_follow_content_and_column(tmp_path: Path) -> None:
    a, b, c = (write(tmp_path, text, name) for text, name in ((MGF, "a"), (MGF, "b"), (MGF + " ", "c")))
    base = fingerprint(run("x", a))
    assert base == fingerprint(run("other name", b))
    different = [
        fingerprint(run("x", c)),
        fingerprint(run("x", a, column="1")),
        fingerprint(run("x", a, column="2")),
        fingerprint(run("x", a, quant_path=str(a))),
        fingerprint(run("x", a, quant_path=str(c))),
    ]
    assert len({base, *different}) == 6
    before = a.stat()
    a.write_text(MGF.replace("50 1", "50 2"))  # of the same size
    os.utime(a, ns=(before.st_atime_ns, before.st_mtime_ns + 10**6))
    assert fingerprint(run("x", a)) != base


def test_the_fingerprint_does_not_change_between_versions(tmp_path: Path) -> None:
    # A changed value would have every user convert everything again.
    assert fingerprint(run("x", write(tmp_path, MGF), column="c")) == "44919c018ac16894ae4d23e03d936fc2"


@pytest.mark.parametrize(("folder", "n_runs", "n_rows"), [("qemistree/fbmn", 92, 82_530), ("emi", 11, 4_710)])
def test_real_sheets_read_whole(shared: Path, folder: str, n_runs: int, n_rows: int) -> None:
    sheet = Sheet.read(shared / "data" / folder / "samples.csv")
    outcomes = list(read_runs(sheet.runs))
    assert [r.sample_id for r, _ in outcomes] == [r.sample_id for r in sheet.runs]
    tables = [outcome.table for _, outcome in outcomes if isinstance(outcome, RunSpectra)]
    assert len(tables) == n_runs
    assert sum(map(len, tables)) == n_rows
    assert len({fingerprint(r) for r in sheet.runs}) == n_runs


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_spectra_or_a_run_error(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)
    for format_name in FORMATS:
        for _, outcome in read_runs([run("a", path), run("b", path, format=format_name)]):
            assert isinstance(outcome, RunError | RunSpectra)


def two_scans(**second: object) -> str:
    """Two repeats of one precursor in profile mode, the second as said, with an MS1 peak 20 ppm beside the first."""
    params = cv("1000511", value=2) + cv("1000128") + cv("1000130")
    ion = cv("1000744", value=200) + cv("1000042", value=5)
    wide = cv("1000828", value=4) + cv("1000829", value=4)
    survey = msms_xml(1, mz=b64([200.004, 300]), params=params.replace('value="2"', 'value="1"'))
    scans = (
        survey
        + msms_xml(2, params=params, precursor=cv("1000744", value=200))
        + msms_xml(3, params=params, precursor=ion)
    )
    return mzml_xml(scans.replace("<selectedIonList", f"<isolationWindow>{wide}</isolationWindow><selectedIonList"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ms1_window_ppm", 15),
        ("profile_msms", "refuse"),
        ("dia_isolation_mz", 7),
        ("polarity", "negative"),
        ("merge_mz", 0.01),
    ],
)
def test_no_option_of_reading_is_ignored(tmp_path: Path, name: str, value: object) -> None:
    path = write(tmp_path, two_scans())

    def outcome(options: ReadOptions | None) -> object:
        ((_, found),) = read_runs([run("a", path)], options)
        return str(found) if isinstance(found, RunError) else found.table.to_pylist()

    assert outcome(None) == outcome(ReadOptions())
    assert outcome(ReadOptions()) != outcome(ReadOptions(**{name: value}))
    merging = {"merge_mz": 0.01, "merge_rt_seconds": 5}
    assert outcome(ReadOptions(**merging)) != outcome(ReadOptions(**{**merging, "merge_rt_seconds": 0.5}))


def test_options_hold_for_text_formats_too(tmp_path: Path) -> None:
    text = "".join(
        f"BEGIN IONS\nPEPMASS={mz} {height}\nRTINSECONDS={rt}\nIONMODE={mode}\n50 1\nEND IONS\n"
        for mz, height, rt, mode in ((100, 1, 1, "positive"), (100, 2, 9, "positive"), (100, 3, 9, "negative"))
    )
    path = write(tmp_path, text)
    with pytest.raises(RunError, match="2 positive and 1 negative MS/MS spectra in one run"):
        read_run(run("a", path))
    table = read_run(run("a", path), ReadOptions(polarity="positive", merge_mz=0.1)).table
    assert table["precursor_intensity"].to_pylist() == [2.0]


def test_an_option_of_reading_is_part_of_what_an_image_is() -> None:
    fields = set(ReadOptions.model_fields)
    assert fields < set(RenderOptions.model_fields) <= set(RenderConfig.model_fields)
    assert RenderConfig().fingerprint() != RenderConfig(merge_mz=0.01).fingerprint()


@pytest.mark.parametrize(
    ("name", "n_rows", "n_peaks"),
    [("apple_surface_swab.mzML", 1305, 2242), ("DDApos_2.mzML.gz", 596, 14_278), ("DOM_b.mzXML", 434, 72_239)],
)
def test_real_raw_runs_become_images(shared: Path, name: str, n_rows: int, n_peaks: int) -> None:
    raw = run("a", shared / "data/raw" / name)
    spectra = read_run(raw)
    assert (len(spectra.table), len(spectra.table["mz"].combine_chunks().flatten())) == (n_rows, n_peaks)
    assert spectra.table["precursor_intensity"].null_count == 0
    row = image_row(raw, spectra, RenderConfig(), source_fingerprint="")
    assert (row["ms1_source"], row["image"].any()) == ("file", True)
    merged = read_run(raw, ReadOptions(merge_mz=0.01)).table
    assert 0 < len(merged) < n_rows
