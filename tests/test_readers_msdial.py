"""MS-DIAL exports against pandas on the real files, and generated tables against what they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ms2img.errors import RunError
from ms2img.io.formats import aligned, cells
from ms2img.io.formats.msdial_alignment import AlignedRun, read_alignment, read_alignment_runs
from ms2img.io.formats.msdial_peaklist import read_peaklist
from ms2img.io.formats.spectra import UNNAMED

QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

ALIGNMENTS = [
    # file, header cells before the runs, runs, features, features with MS/MS
    ("msdial4_alignment_72_runs.txt", 32, 72, 2730, 2361),
    ("msdial5_alignment_69_samples.txt", 35, 69, 295, 283),
]


def write(folder: Path, text: str | bytes) -> str:
    path = folder / "export.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def as_pairs(cell: Any) -> list[list[float]]:
    return [[float(part) for part in pair.split(":")] for pair in cell.split()] if isinstance(cell, str) else []


@pytest.mark.parametrize(("name", "before", "n_runs", "n_features", "n_msms"), ALIGNMENTS)
def test_real_alignments_agree_with_pandas(
    shared: Path, name: str, before: int, n_runs: int, n_features: int, n_msms: int
) -> None:
    path = shared / "data/msdial" / name
    frame = pd.read_csv(path, sep="\t", skiprows=4, na_values=["null"], keep_default_na=True)
    runs = read_alignment_runs(str(path))
    columns = [run.column for run in runs]
    assert columns == list(frame.columns[before : before + n_runs])  # what follows are averages and deviations
    table = read_alignment(str(path), columns)
    assert table.features.schema.equals(UNNAMED)
    assert not table.refused
    assert table.ms2_source == "representative"
    assert len(table.features) == len(frame) == n_features
    peaks = [as_pairs(cell) for cell in frame["MS/MS spectrum"]]
    assert sum(bool(pairs) for pairs in peaks) == n_msms
    assert table.features["mz"].to_pylist() == [[pair[0] for pair in pairs] for pairs in peaks]
    assert table.features["intensity"].to_pylist() == [[pair[1] for pair in pairs] for pairs in peaks]
    np.testing.assert_allclose(table.features["rt_seconds"].to_numpy(), frame["Average Rt(min)"] * 60)
    assert table.features["adduct"].to_pylist() == frame["Adduct type"].tolist()
    for column in (columns[0], columns[n_runs // 2], columns[-1]):
        own = frame[frame[column] > 0]
        spectra = table.spectra(column, path=str(path))
        assert spectra["spectrum_id"].to_pylist() == own["Alignment ID"].astype(str).tolist()
        np.testing.assert_array_equal(spectra["precursor_mz"].to_numpy(), own["Average Mz"])
        np.testing.assert_array_equal(spectra["precursor_intensity"].to_numpy(), own[column])
        assert 0 < len(spectra) <= n_features


def test_a_row_of_the_real_alignment_by_hand(shared: Path) -> None:
    path = str(shared / "data/msdial/msdial5_alignment_69_samples.txt")
    row = read_alignment(path, ["R_neg_Vd_1"]).spectra("R_neg_Vd_1", path=path).to_pylist()[1]
    assert (row["spectrum_id"], row["precursor_mz"], row["adduct"]) == ("1", 116.0504, "[M-H]-")
    assert (row["charge"], row["polarity"]) == (-1, "negative")
    assert row["rt_seconds"] == pytest.approx(6.167 * 60)
    assert list(zip(row["mz"], row["intensity"], strict=True))[:3] == [(65.03854, 5), (65.0854, 2), (65.52988, 2)]


def test_what_stands_above_the_header_of_the_real_alignment(shared: Path) -> None:
    runs = read_alignment_runs(str(shared / "data/msdial/msdial4_alignment_72_runs.txt"))
    kinds = [run.file_type for run in runs]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"Blank": 5, "QC": 7, "Sample": 60}
    assert runs[5] == AlignedRun("QCpool_004", 37, "qcpool", "QC", "4", "1")
    assert [int(run.injection_order or 0) for run in runs] != sorted(int(run.injection_order or 0) for run in runs)


def test_the_real_peak_list_agrees_with_pandas(shared: Path) -> None:
    path = shared / "data/msdial/msdial4_peaklist_one_run.txt"
    frame = pd.read_csv(path, sep="\t")
    table = read_peaklist(str(path))
    assert table.schema.equals(UNNAMED)
    assert len(table) == len(frame) == 4902
    assert table["spectrum_id"].to_pylist() == frame["PeakID"].astype(str).tolist()
    np.testing.assert_array_equal(table["precursor_mz"].to_numpy(), frame["Precursor m/z"])
    np.testing.assert_array_equal(table["precursor_intensity"].to_numpy(), frame["Height"])
    np.testing.assert_allclose(table["rt_seconds"].to_numpy(), frame["RT (min)"] * 60)
    assert table["mz"].to_pylist() == [[pair[0] for pair in as_pairs(cell)] for cell in frame["MSMS spectrum"]]
    assert table["charge"].to_pylist() == [2 if adduct == "[M+2H]2+" else 1 for adduct in frame["Adduct"]]


# -- generated exports ---------------------------------------------------------------------------------------------

RUN_NAMES = ["Bl", "Q 1", "S-é"]


def alignment(features: list[dict[str, Any]], *, spectrum: str = "MS/MS spectrum") -> str:
    """An export of three runs and the average and deviation columns of two classes."""
    above = [
        ["Class", "blank", "qc", "s", "NA", "NA", "NA", "NA"],
        ["File type", "Blank", "QC", "Sample", "NA", "NA", "NA", "NA"],
        ["Injection order", "1", "2", "3", "NA", "NA", "NA", "NA"],
        ["Batch ID", "1", "1", "2", "Average", "Average", "Stdev", "Stdev"],
    ]
    names = ["Alignment ID", "Average Rt(min)", "Average Mz", "Metabolite name", "Adduct type", spectrum]
    rows = [["", "", "", "", "", *row] for row in above]
    rows.append([*names, *RUN_NAMES, "qc", "s", "qc", "s"])
    for number, feature in enumerate(features):
        cell = " ".join(f"{mz!r}:{intensity!r}" for mz, intensity in feature["peaks"]) or feature.get("empty", "null")
        heights = [repr(height) if isinstance(height, float) else str(height) for height in feature["heights"]]
        start = [str(number), "1.5", repr(feature["mz"]), "5''-\"name\", or 'other'", "[M+H]+", cell]
        rows.append([*start, *heights, "7", "7", "0.1", "0.1"])
    return "\n".join("\t".join(row) for row in rows) + "\n"


PEAKS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=3000), st.floats(min_value=0, max_value=2.0**60, width=32)), max_size=6
)
FEATURES = st.lists(
    st.fixed_dictionaries(
        {
            "mz": st.floats(min_value=1, max_value=3000),
            "peaks": PEAKS,
            "heights": st.lists(st.sampled_from([0.0, 1.0, 2.5e7, "null", "", "NA"]), min_size=3, max_size=3),
            "empty": st.sampled_from(["", "null"]),
        }
    ),
    min_size=1,
    max_size=6,
)


@QUICK
@given(features=FEATURES, line_end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_what_is_exported_is_read(tmp_path: Path, features: list[dict[str, Any]], line_end: str, bom: bool) -> None:
    text = ("\ufeff" if bom else "") + alignment(features).replace("\n", line_end)
    path = write(tmp_path, text)
    table = read_alignment(path, RUN_NAMES)
    assert table.features["mz"].to_pylist() == [[mz for mz, _ in feature["peaks"]] for feature in features]
    for place, name in enumerate(RUN_NAMES):
        own = [f for f in features if isinstance(f["heights"][place], float) and f["heights"][place] > 0]
        if not own:
            with pytest.raises(RunError, match="no feature has a height above 0 in column"):
                table.spectra(name, path=path)
            continue
        spectra = table.spectra(name, path=path)
        assert spectra["precursor_mz"].to_pylist() == [feature["mz"] for feature in own]
        assert spectra["precursor_intensity"].to_pylist() == [feature["heights"][place] for feature in own]
        peaks = zip(spectra["mz"].to_pylist(), spectra["intensity"].to_pylist(), strict=True)
        assert [list(zip(*pair, strict=True)) for pair in peaks] == [feature["peaks"] for feature in own]


ONE = {"mz": 200.0, "peaks": [(100.0, 5.0)], "heights": [1.0, 2.0, 3.0]}


def test_a_bad_height_costs_its_own_run_only(tmp_path: Path) -> None:
    bad = [{**ONE, "heights": [1.0, "many", 3.0]}, {**ONE, "heights": [1.0, "more", -3.0]}]
    path = write(tmp_path, alignment(bad))
    table = read_alignment(path, RUN_NAMES)
    assert len(table.spectra("Bl", path=path)) == 2
    for name, line, text in (("Q 1", "line 6", "'many'"), ("S-é", "line 7", "'-3.0'")):
        with pytest.raises(RunError) as caught:
            table.spectra(name, path=path)
        assert (caught.value.code, caught.value.position) == ("bad-value", line)
        assert text in caught.value.message
    # Whoever asks for the good run alone gets the same, whatever the others hold.
    assert read_alignment(path, ["Bl"]).spectra("Bl", path=path).equals(table.spectra("Bl", path=path))


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    table = read_alignment(write(tmp_path, alignment([ONE])), ["Q1", "qc", "Bl"])
    assert list(table.heights) == ["Bl"]
    with pytest.raises(RunError, match="column 'Q1' does not exist.*one of 3 runs, nearest: 'Q 1'") as caught:
        table.spectra("Q1", path="x")
    assert caught.value.code == "no-column"
    with pytest.raises(RunError, match="column 'qc' is not a run's column"):  # it is a class average
        table.spectra("qc", path="x")


def test_a_sheet_of_wrong_columns_is_refused_without_comparing_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, alignment([ONE]))
    monkeypatch.setattr(aligned, "HINTED_COLUMNS", 2)
    refused = read_alignment(path, ["S-e", "Q1", "S-è"]).refused
    assert [error.message.rpartition("nearest: ")[2] for error in refused.values()] == [
        "'S-é'", "'Q 1'", "'Bl', 'Q 1', 'S-é'",
    ]  # fmt: skip
    monkeypatch.setattr(aligned, "HINTED_RUNS", 2)
    assert read_alignment(path, ["Q1"]).refused["Q1"].message.endswith("nearest: 'Bl', 'Q 1', 'S-é'")


def test_more_columns_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MAX_COLUMNS", 13)
    assert len(read_alignment(write(tmp_path, alignment([ONE])), RUN_NAMES).heights) == 3
    for text, line in ((alignment([ONE]).replace("\tqc\ts\n", "\tqc\ts\tmore\n"), 5), ("\tx" * 20 + "\n" + GOOD, 1)):
        with pytest.raises(RunError) as caught:
            read_alignment(write(tmp_path, text), RUN_NAMES)
        assert (caught.value.code, caught.value.position) == ("too-large", f"line {line}")


GOOD = alignment([ONE, ONE])
LINES = GOOD.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("text", "code", "position", "message"),
    [
        ("".join(LINES[:5]), "empty", "", "no feature below"),
        ("".join(LINES[:4]), "bad-header", "", "no line starts with 'Alignment ID'"),
        ("".join(LINES[4:]), "bad-header", "line 1", "no row 'File type'"),
        (alignment([ONE], spectrum="EI spectrum"), "bad-header", "line 5", "no column 'MS/MS spectrum'"),
        (GOOD.replace("Average Mz", "Mass"), "bad-header", "line 5", "no column 'Average Mz'"),
        (GOOD.replace("Q 1", "Bl"), "bad-header", "line 5", "two runs are called 'Bl'"),
        (GOOD.replace("Blank\tQC\tSample", "NA\tNA\tNA"), "bad-header", "line 5", "no column of a run"),
        (GOOD[:-20], "truncated", "line 7", "of the header's 13 cells"),
        (GOOD.replace("\t0.1\n", "\t0.1\tmore\n"), "bad-value", "line 6", "14 cells, the header 13"),
        (GOOD.replace("100.0:5.0", "100.0;5.0"), "bad-value", "line 6", "'100.0;5.0' in the MS/MS spectrum"),
        (GOOD.replace("100.0:5.0", "100.0:"), "bad-value", "line 6", "'100.0:'"),
        (GOOD.replace("100.0:5.0", "1:2:3"), "bad-value", "line 6", "'1:2:3'"),
        (GOOD.replace("100.0:5.0", "nan:5.0"), "bad-value", "line 6", "fragment m/z nan"),
        (GOOD.replace("100.0:5.0", "100.0:-5"), "bad-value", "line 6", "fragment intensity -5"),
        (GOOD.replace("\t200.0\t", "\t\t"), "bad-value", "line 6", "precursor m/z is empty"),
        (GOOD.replace("\t200.0\t", "\t200,5\t"), "bad-value", "line 6", "precursor m/z '200,5' is no number"),
        (GOOD.replace("\t200.0\t", "\t-1\t"), "bad-value", "line 6", "precursor m/z -1"),
        (GOOD.replace("\t1.5\t", "\tsoon\t"), "bad-value", "line 6", "retention time 'soon'"),
    ],
)
def test_a_bad_alignment_says_where_and_what(tmp_path: Path, text: str, code: str, position: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RunError) as caught:
        read_alignment(path, RUN_NAMES)
    assert (caught.value.code, caught.value.position, caught.value.path) == (code, position, path)
    assert message in caught.value.message


PEAKLIST_4 = "PeakID\tRT (min)\tPrecursor m/z\tHeight\tAdduct\tMS1 isotopes\tMSMS spectrum\n"
# MS-DIAL 5 has two S/N columns, and in its latest versions columns to the right of the spectrum.
PEAKLIST_5 = "Peak ID\tRT (min)\tS/N\tPrecursor m/z\tHeight\tAdduct\tS/N\tMS1 isotopes\tMSMS spectrum\tMeasured terms\n"


def test_both_generations_of_peak_lists_read_alike(tmp_path: Path) -> None:
    old = PEAKLIST_4 + "7\t2\t300.5\t1e4\t[M+H]+\t300.5:1 301.5:2\t100:1 200.5:0\n8\t-1\t10\t5\tnull\t10:1\t\n"
    new = (
        PEAKLIST_5 + "7\t2\t9\t300.5\t1e4\t[M+H]+\t8\t300.5:1\t100:1 200.5:0\tx\n8\t-1\t9\t10\t5\tnull\t8\t\tnull\tx\n"
    )
    table = read_peaklist(write(tmp_path, old))
    assert read_peaklist(write(tmp_path, new)).equals(table)
    assert read_peaklist(write(tmp_path, new.replace("\n", "\r\n").encode("utf-8-sig"))).equals(table)
    assert table.select(["spectrum_id", "precursor_intensity", "rt_seconds", "adduct", "charge", "mz"]).to_pylist() == [
        {
            "spectrum_id": "7", "precursor_intensity": 1e4, "rt_seconds": 120.0, "adduct": "[M+H]+", "charge": 1,
            "mz": [100.0, 200.5],
        },
        {
            "spectrum_id": "8", "precursor_intensity": 5.0, "rt_seconds": None, "adduct": None, "charge": None,
            "mz": [],
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "position", "message"),
    [
        (PEAKLIST_4, "empty", "", "no peak below"),
        ("Peak\tHeight\n1\t2\n", "bad-header", "line 1", "the first cell is 'Peak'"),
        (PEAKLIST_4.replace("MSMS spectrum", "Spectrum") + "1\n", "bad-header", "line 1", "no column 'MSMS spectrum'"),
        (PEAKLIST_4.replace("Height", "Area") + "1\n", "bad-header", "line 1", "no column 'Height'"),
        (PEAKLIST_4 + "1\t2\t300\t1\n", "truncated", "line 2", "4 of the header's 7 cells"),
        (PEAKLIST_4 + "1\t2\t300\t-1\t\t\t\n", "bad-value", "line 2", "precursor intensity -1"),
        (PEAKLIST_4 + "1\t2\t300\ttall\t\t\t\n", "bad-value", "line 2", "height 'tall' is no number"),
        (PEAKLIST_4 + "1\t2\t300\t1\t\t\t\n1\t2\t300\t1\t\t\t100\n", "bad-value", "line 3", "'100' in the MS/MS"),
    ],
)
def test_a_bad_peak_list_says_where_and_what(tmp_path: Path, text: str, code: str, position: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        read_peaklist(write(tmp_path, text))
    assert (caught.value.code, caught.value.position) == (code, position)
    assert message in caught.value.message


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=120), place=st.integers(0, len(GOOD.encode())))
def test_any_bytes_are_spectra_or_a_run_error(tmp_path: Path, content: bytes, place: int) -> None:
    good = GOOD.encode()
    for read, text in (
        (lambda path: read_alignment(path, RUN_NAMES).features, good[:place] + content + good[place:]),
        (lambda path: read_alignment(path, RUN_NAMES).features, good[:place] + content),
        (read_peaklist, PEAKLIST_4.encode() + b"1\t2\t300\t1\t\t\t" + content),
    ):
        try:
            assert len(read(write(tmp_path, text))) > 0
        except RunError as error:
            assert "\n" not in error.message  # noqa: PT017
