"""MSP in the dialects of NIST, MoNA and MS-DIAL, field by field, and against text made from known spectra."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_runs import raw_run

from ms2img.errors import RunError
from ms2img.io.formats.msp import read_msp
from ms2img.io.read import RunSpectra, read_run, read_runs, sniff
from ms2img.io.schema import SPECTRA

LAX = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

NIST = """Name: L-Leucine
Synon: (S)-2-amino
Precursor_type: [M+H]+
Spectrum_type: MS2
PrecursorMZ: 132.1019
Instrument_type: HCD
Collision_energy: 30 eV
Ion_mode: P
Comment: "Single" Charge=1
Num peaks: 3
30.0338 12.5 "?"; 44.0495 7.25 "C2H6N/0.1ppm"
86.0964\t999 "p-H2O-CO/-0.6ppm 5/6"

"""
MONA = """Name: Glucose
DB#: VF-NPL-0001
InChIKey: WQZGKKKJIJFFOK
Precursor_type: [M-H]-
Spectrum_type: MS2
PrecursorMZ: 179.0561
Ion_mode: NEGATIVE
Collision_energy: HCD 35 (NCE)
Formula: C6H12O6
ExactMass: 180.0634
Num Peaks: 2
59.0139 100
71.0139 40.5
"""
MSDIAL = """NAME: Unknown
SCANNUMBER: 1234
RETENTIONTIME: 2.5
PRECURSORMZ: 300.25
PRECURSORTYPE: [M+2H]2+
IONMODE: Positive
INTENSITY: 54321
COLLISIONENERGY: 20
COMMENT: |PEAKID=7|MS1SCAN=1230|
Num Peaks: 2
100.5\t3
200.25\t0

"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "run.msp"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(folder: Path, text: str | bytes) -> list[dict[str, Any]]:
    path = write(folder, text)
    assert sniff(str(path)) == "msp"
    table = read_run(raw_run(path)).table
    assert table.schema.equals(SPECTRA)
    return [{key: value for key, value in row.items() if key != "sample_id"} for row in table.to_pylist()]


LEUCINE = {
    "spectrum_id": "1", "precursor_mz": 132.1019, "precursor_intensity": None, "rt_seconds": None, "charge": 1,
    "adduct": "[M+H]+", "polarity": "positive", "collision_energy": "30 eV",
    "mz": [30.0338, 44.0495, 86.0964], "intensity": [12.5, 7.25, 999.0],
}  # fmt: skip
GLUCOSE = {
    "spectrum_id": "VF-NPL-0001", "precursor_mz": 179.0561, "precursor_intensity": None, "rt_seconds": None,
    "charge": -1, "adduct": "[M-H]-", "polarity": "negative", "collision_energy": "HCD 35 (NCE)",
    "mz": [59.0139, 71.0139], "intensity": [100.0, 40.5],
}  # fmt: skip
UNKNOWN = {
    "spectrum_id": "1234", "precursor_mz": 300.25, "precursor_intensity": 54321.0, "rt_seconds": 150.0, "charge": 2,
    "adduct": "[M+2H]2+", "polarity": "positive", "collision_energy": "20",
    "mz": [100.5, 200.25], "intensity": [3.0, 0.0],
}  # fmt: skip


def test_three_dialects_field_by_field(tmp_path: Path) -> None:
    assert rows(tmp_path, NIST) == [LEUCINE]
    assert rows(tmp_path, MONA) == [GLUCOSE]
    assert rows(tmp_path, MSDIAL) == [UNKNOWN]
    # One after the other, with and without blank lines between them; line ends and encodings of other machines.
    both = [LEUCINE, UNKNOWN]
    for text in (NIST + MSDIAL, NIST.rstrip() + "\n" + MSDIAL.rstrip(), "\n\n" + NIST + "\n\n" + MSDIAL + "\n\n"):
        for variant in (
            text.encode(),
            text.replace("\n", "\r\n").encode(),
            text.replace("\n", "\r").encode(),
            text.encode("utf-8-sig"),
            text.encode("utf-16"),
        ):
            assert rows(tmp_path, variant) == both


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("Precursor_MZ: 5", {"precursor_mz": 5.0, "charge": None, "polarity": None}),
        ("PRECURSOR M/Z: 5", {"precursor_mz": 5.0}),
        ("PrecursorMZ: 5\nCHARGE: 2-", {"charge": -2, "polarity": "negative"}),
        ("PrecursorMZ: 5\nCharge: 1\nIon_mode: N", {"charge": -1, "polarity": "negative"}),
        ("PrecursorMZ: 5\nRTINSECONDS: 7", {"rt_seconds": 7.0}),
        ("PrecursorMZ: 5\nRT: 1.5 min", {"rt_seconds": 90.0}),
        ("PrecursorMZ: 5\nPrecursorIntensity: 0", {"precursor_intensity": None}),
        ("PrecursorMZ: 5\nPrecursorMZ: 6", {"precursor_mz": 5.0}),
        ("PrecursorMZ: 5\n# a remark\n$:00in-source", {"precursor_mz": 5.0}),
        ("PrecursorMZ: 5\nIntensity: 1e3\nUNHEARD OF: x", {"precursor_intensity": 1000.0}),
    ],
)
def test_variants_of_a_field(tmp_path: Path, lines: str, expected: dict[str, Any]) -> None:
    (row,) = rows(tmp_path, f"Name: a\n{lines}\nNum Peaks: 1\n50 1\n")
    assert {key: row[key] for key in expected} == expected


@pytest.mark.parametrize(
    "peaks",
    ["50 1;60 2", "50 1; 60 2;", "50\t1\n60\t2", "50,1\n60,2", "50:1 60:2", "(50,1)\n(60,2)", '50 1 "a;b"\n60 2'],
)
def test_ways_to_write_peaks(tmp_path: Path, peaks: str) -> None:
    text = f"Name: a\nPrecursorMZ: 70\nNum Peaks: 2\n{peaks}\n"
    if peaks == "50:1 60:2":  # several on a line need a semicolon between them
        with pytest.raises(RunError, match="1 peaks, but Num Peaks promises 2"):
            rows(tmp_path, text)
        return
    (row,) = rows(tmp_path, text)
    assert (row["mz"], row["intensity"]) == ([50.0, 60.0], [1.0, 2.0])


def test_survey_entries_are_left_out_and_empty_ones_kept(tmp_path: Path) -> None:
    survey = "Name: a\nSpectrum_type: MS1\nPrecursorMZ: 70\nNum Peaks: 1\n50 1\n\n"
    empty = "Name: b\nPrecursorMZ: 70\nNum Peaks: 0\n\n"
    (row,) = rows(tmp_path, survey + empty)
    assert (row["spectrum_id"], row["mz"]) == ("2", [])
    with pytest.raises(RunError, match="all 1 entries are MS1"):
        rows(tmp_path, survey)


@pytest.mark.parametrize(
    ("text", "code", "position", "message"),
    [
        ("hello: 1\n", "truncated", "entry 1", "ends before its 'Num Peaks:'"),
        ("hello\n", "bad-value", "line 1", "stands outside of an entry"),
        ("\n\n", "empty", "", "'Name:' and 'Num Peaks:'"),
        ("Name: a\nPrecursorMZ: 7\n", "truncated", "entry 1", "Num Peaks"),
        ("Name: a\nPrecursorMZ: 7\nName: b\nPrecursorMZ: 7\nNum Peaks: 0\n", "truncated", "entry 1", "Num Peaks"),
        ("Name: a\nPrecursorMZ: 7\n50 1\n", "bad-value", "line 3", "peaks come after"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: 2\n5 1\n", "truncated", "entry 1, lines 1-4", "1 peaks, but Num Peaks"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: 1\n5 1\n6 1\n", "malformed", "entry 1, lines 1-5", "2 peaks"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: many\n", "bad-value", "line 3", "'many' is no count"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: -1\n", "bad-value", "line 3", "no count"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: 1\n5\n", "bad-value", "line 4", "is not a peak"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: 1\nfive 1\n", "bad-value", "line 4", "is not a peak"),
        ("Name: a\nNum Peaks: 1\n5 1\n", "bad-value", "entry 1, lines 1-3", "no PrecursorMZ"),
        ("Name: a\nPrecursorMZ: x\nNum Peaks: 1\n5 1\n", "bad-value", "entry 1", "PrecursorMZ 'x'"),
        ("Name: a\nPrecursorMZ: 0\nNum Peaks: 1\n5 1\n", "bad-value", "entry 1", "precursor m/z 0"),
        ("Name: a\nPrecursorMZ: -7\nNum Peaks: 1\n5 1\n", "bad-value", "entry 1", "precursor m/z -7"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: 1\nnan 1\n", "bad-value", "entry 1", "fragment m/z nan"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: 1\n5 -1\n", "bad-value", "entry 1", "fragment intensity -1"),
        ("Name: a\nPrecursorMZ: 7\nNum Peaks: 1\n5 1e99\n", "bad-value", "entry 1", "fragment intensity inf"),
    ],
)
def test_a_bad_file_says_where_and_what(tmp_path: Path, text: str, code: str, position: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RunError) as caught:
        read_msp(str(path))
    assert (caught.value.code, caught.value.path) == (code, str(path))
    assert caught.value.position.startswith(position)
    assert message in caught.value.message


number = st.floats(0, 1e6, allow_nan=False).map(lambda value: round(value, 4))
spectrum = st.tuples(
    st.floats(1, 2000).map(lambda value: round(value, 5)), st.lists(st.tuples(number, number), max_size=6)
)


@settings(max_examples=150, suppress_health_check=LAX, deadline=None)
@given(
    spectra=st.lists(spectrum, min_size=1, max_size=5),
    between=st.sampled_from([" ", "\t", "  "]),
    ending=st.sampled_from([";", "\n", ' "note"\n']),
    keys=st.sampled_from([("Name", "PrecursorMZ", "Num Peaks"), ("NAME", "PRECURSOR_MZ", "NUM PEAKS")]),
)
def test_what_is_written_is_read(tmp_path: Path, spectra: Any, between: str, ending: str, keys: Any) -> None:
    text = "".join(
        f"{keys[0]}: x\n{keys[1]}: {precursor!r}\n{keys[2]}: {len(peaks)}\n"
        + "".join(f"{mz!r}{between}{intensity!r}{ending}" for mz, intensity in peaks)
        + "\n\n"
        for precursor, peaks in spectra
    )
    table = read_msp(str(write(tmp_path, text)))
    assert table["precursor_mz"].to_pylist() == [precursor for precursor, _ in spectra]
    assert table["mz"].to_pylist() == [[mz for mz, _ in peaks] for _, peaks in spectra]
    for found, (_, peaks) in zip(table["intensity"].to_pylist(), spectra, strict=True):
        assert all(math.isclose(a, b, rel_tol=1e-6) for a, (_, b) in zip(found, peaks, strict=True))


WELL = (NIST + MSDIAL + MONA).encode()
SPLINTERS = (b"\n", b"\n\n", b":", b";", b'"', b"Name: ", b"Num Peaks: ", b"-1", b"nan", b"9" * 30)


@settings(max_examples=250, suppress_health_check=LAX, deadline=None)
@given(
    at=st.integers(0, len(WELL) - 1),
    length=st.integers(0, 60),
    put=st.one_of(st.binary(max_size=20), st.sampled_from(SPLINTERS)),
)
def test_damaged_anywhere_it_is_spectra_or_a_run_error(tmp_path: Path, at: int, length: int, put: bytes) -> None:
    path = write(tmp_path, WELL[:at] + put + WELL[at + length :])
    ((_, outcome),) = read_runs([raw_run(path, format="msp")])
    assert isinstance(outcome, RunSpectra | RunError)
    assert isinstance(outcome, RunSpectra) or "\n" not in str(outcome)
