"""mzmine's feature table beside its MGF, against pandas on the real pairs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ms2img.errors import RunError
from ms2img.io.formats.quant import read_pair, read_quant_runs

HEADER = "row ID,row m/z,row retention time,best ion,a.mzML Peak area,b.mzML Peak area,\n"
TABLE = HEADER + "1,100.5,2,,10,0,\n2,200.5,3,,0,7,\n3,300.5,4,,5,,\n"
MGF = "".join(
    f"BEGIN IONS\nFEATURE_ID={number}\nPEPMASS={number}00.5\nCHARGE=1-\nMSLEVEL={level}\n{number}0 {level}\nEND IONS\n"
    for number in (1, 2)
    for level in (1, 2)
)


def write(folder: Path, *, mgf: str = MGF, table: str | bytes = TABLE) -> tuple[str, str]:
    (folder / "x.mgf").write_text(mgf)
    (folder / "x_quant.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    return str(folder / "x.mgf"), str(folder / "x_quant.csv")


def scans_of(path: Path) -> dict[str, list[float]]:
    """Feature -> m/z of its MS/MS entry, by regular expressions over the text."""
    found = {}
    for block in re.findall(r"BEGIN IONS\n(.*?)END IONS", path.read_text(), re.DOTALL):
        if "MSLEVEL=1" not in block:
            scan = re.search(r"^SCANS=(.*)$", block, re.MULTILINE)
            assert scan is not None
            found[scan[1]] = [float(line.split()[0]) for line in block.splitlines() if re.match(r"\d", line)]
    return found


def test_the_real_aligned_pair(shared: Path) -> None:
    folder = shared / "data/qemistree/fbmn"
    mgf, quant = folder / "qtof_spectra_nogapF.mgf", folder / "qtof_quant_nogapF.csv"
    frame = pd.read_csv(quant)
    columns = read_quant_runs(str(quant))
    assert columns == tuple(frame.columns[frame.columns.str.endswith("Peak area")])
    assert len(columns) == 97
    table = read_pair(str(mgf), str(quant), columns)
    assert table.ms2_source == "representative"
    assert table.features["spectrum_id"].to_pylist() == frame["row ID"].astype(str).tolist()
    np.testing.assert_array_equal(table.features["precursor_mz"].to_numpy(), frame["row m/z"])
    np.testing.assert_allclose(table.features["rt_seconds"].to_numpy(), frame["row retention time"] * 60)
    scans = scans_of(mgf)
    assert table.features["mz"].to_pylist() == [scans[str(row)] for row in frame["row ID"]]
    assert sum(not peaks for peaks in scans.values()) == 5
    for column in columns[::16]:
        own = frame[frame[column] > 0]
        spectra = table.spectra(column, path="x")
        assert spectra["spectrum_id"].to_pylist() == own["row ID"].astype(str).tolist()
        np.testing.assert_array_equal(spectra["precursor_intensity"].to_numpy(), own[column])


def test_the_real_single_run_pairs(shared: Path) -> None:
    folder = shared / "data/emi"
    sheet = pd.read_csv(folder / "samples.csv")
    for row in sheet.itertuples():
        frame = pd.read_csv(folder / row.quant_path)
        table = read_pair(str(folder / row.path), str(folder / row.quant_path), [row.column])
        assert table.ms2_source == "own"
        spectra = table.spectra(row.column, path="x")
        scans = scans_of(folder / row.path)
        assert spectra["mz"].to_pylist() == [scans.get(str(feature), []) for feature in frame["row ID"]]
        np.testing.assert_array_equal(spectra["precursor_intensity"].to_numpy(), frame[row.column])


def test_join_by_hand(tmp_path: Path) -> None:
    table = read_pair(*write(tmp_path), ["a.mzML Peak area", "b.mzML Peak area"])
    a = table.spectra("a.mzML Peak area", path="x").to_pylist()
    assert [(row["spectrum_id"], row["precursor_intensity"], row["mz"], row["intensity"]) for row in a] == [
        ("1", 10.0, [10.0], [2.0]),
        ("3", 5.0, [], []),  # in the table, without MS/MS
    ]
    assert (a[0]["charge"], a[0]["polarity"], a[0]["rt_seconds"]) == (-1, "negative", 120.0)
    b = table.spectra("b.mzML Peak area", path="x").to_pylist()
    assert [(row["spectrum_id"], row["precursor_intensity"]) for row in b] == [("2", 7.0)]
    windows = read_pair(*write(tmp_path, table=TABLE.replace("\n", "\r\n").encode("utf-8-sig")), ["b.mzML Peak area"])
    assert windows.spectra("b.mzML Peak area", path="x").to_pylist() == b


@pytest.mark.parametrize(
    ("mgf", "table", "code", "position", "message"),
    [
        (MGF, "id,mz\n1,2\n", "bad-header", "line 1", "no column 'row ID'"),
        (MGF, HEADER.replace("Peak area", "area"), "bad-header", "line 1", "no run column"),
        (MGF, HEADER, "empty", "", "no feature below"),
        (MGF, TABLE[:-6], "truncated", "line 4", "of the header's 6 cells"),
        (MGF, TABLE.replace("200.5", "heavy"), "bad-value", "line 3", "row m/z 'heavy' is no number"),
        (MGF, TABLE.replace("200.5", ""), "bad-value", "line 3", "row m/z is empty"),
        (MGF, TABLE.replace("200.5", "250.5"), "bad-value", "line 3", "m/z 250.5000 here, 200.5000 in"),
        (MGF, TABLE.replace("2,200.5", "4,200.5"), "bad-value", "", "feature 2 of the MGF is not in the table"),
        (MGF, TABLE + '4,"100', "truncated", "line 5", "of the header's 6 cells"),
        (MGF + MGF, TABLE, "bad-value", "", "two MS/MS entries for feature 1"),
        ("BEGIN IONS\n", TABLE, "truncated", "spectrum 1", "END IONS"),
        (MGF, TABLE.encode("utf-16-le"), "bad-encoding", "line 1", "NUL"),
    ],
)
def test_a_bad_pair_says_where_and_what(
    tmp_path: Path, mgf: str, table: str | bytes, code: str, position: str, message: str
) -> None:
    with pytest.raises(RunError) as caught:
        read_pair(*write(tmp_path, mgf=mgf, table=table), ["a.mzML Peak area"])
    assert caught.value.code == code
    assert caught.value.position.startswith(position)
    assert message in caught.value.message


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=80), place=st.integers(0, len(TABLE)))
def test_any_bytes_are_spectra_or_a_run_error(tmp_path: Path, content: bytes, place: int) -> None:
    good = TABLE.encode()
    for table in (good[:place] + content + good[place:], good[:place] + content):
        try:
            assert len(read_pair(*write(tmp_path, table=table), ["a.mzML Peak area"]).features) > 0
        except RunError as error:
            assert "\n" not in error.message  # noqa: PT017
