"""MGF against a reader written for the test, on the real files and on generated ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ms2img.errors import RunError
from ms2img.io.formats import mgf as mgf_module
from ms2img.io.formats import spectra as spectra_module
from ms2img.io.formats.mgf import read_mgf
from ms2img.io.formats.spectra import UNNAMED, charge_of_adduct

QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def brute_mgf(path: Path) -> list[dict[str, Any]]:
    """Every entry of a file by splitting its text, without any of the reader's code."""
    entries = []
    for block in path.read_text(encoding="latin-1").split("BEGIN IONS\n")[1:]:
        entry: dict[str, Any] = {"peaks": []}
        for line in block.split("END IONS")[0].splitlines():
            if "=" in line:
                key, value = line.split("=", 1)
                entry[key] = value
            elif line.strip():
                entry["peaks"].append([float(part) for part in line.split()])
        entries.append(entry)
    return entries


def write(folder: Path, text: str | bytes) -> str:
    path = folder / "run.mgf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def entry(*lines: str) -> str:
    return "\n".join(["BEGIN IONS", *lines, "END IONS", ""])


def test_every_qemistree_file_value_by_value(shared: Path) -> None:
    files = sorted((shared / "data/qemistree/mgf").glob("*.mgf"))
    assert len(files) == 99
    n_spectra, total = 0, 0.0
    for path in files[::9]:  # every ninth in full: 11 files, about 5,000 spectra
        table = read_mgf(str(path))
        expected = brute_mgf(path)
        assert table.schema.equals(UNNAMED)
        assert table["spectrum_id"].to_pylist() == [e["FEATURE_ID"] for e in expected]
        assert table["precursor_mz"].to_pylist() == [float(e["PEPMASS"]) for e in expected]
        assert table["rt_seconds"].to_pylist() == [float(e["RTINSECONDS"]) for e in expected]
        assert set(table["charge"].to_pylist()) <= {1, 2, 3, None}
        assert [c is None for c in table["charge"].to_pylist()] == [e["CHARGE"].startswith("0") for e in expected]
        assert table["precursor_intensity"].null_count == len(expected)
        assert table["mz"].to_pylist() == [[p[0] for p in e["peaks"]] for e in expected]
        intensity = np.concatenate([[p[1] for p in e["peaks"]] for e in expected]).astype(np.float32)
        np.testing.assert_array_equal(table["intensity"].combine_chunks().flatten().to_numpy(), intensity)
        n_spectra, total = n_spectra + len(table), total + float(intensity.sum())
    assert n_spectra > 3000
    assert total > 0


def test_qemistree_counts_of_all_files(shared: Path) -> None:
    files = sorted((shared / "data/qemistree/mgf").glob("*.mgf"))
    counts = {path.name: path.read_bytes().count(b"BEGIN IONS") for path in files}
    assert sum(counts.values()) == 46_865
    assert (min(counts.values()), max(counts.values())) == (37, 945)
    for path in (files[0], files[-1], max(files, key=lambda path: counts[path.name])):
        assert len(read_mgf(str(path))) == counts[path.name]


def test_mzmine_survey_entries_are_left_out(shared: Path) -> None:
    for path in sorted((shared / "data/emi").glob("*.mgf")):
        expected = [e for e in brute_mgf(path) if e["MSLEVEL"] == "2"]
        table = read_mgf(str(path))
        assert table["spectrum_id"].to_pylist() == [e["FEATURE_ID"] for e in expected]
        assert table["mz"].to_pylist() == [[p[0] for p in e["peaks"]] for e in expected]


def test_all_fields_of_one_entry(tmp_path: Path) -> None:
    text = entry(
        "TITLE=spot 7", "PEPMASS=445.12 1.5e4 2-", "CHARGE=2-", "RTINSECONDS=12.5", "ADDUCT=[M-2H]2-",
        "IONMODE=Negative", "COLLISION_ENERGY=20 eV", "MSLEVEL=2", "100.5 3 1+", "200.25 0",
    )  # fmt: skip
    assert read_mgf(write(tmp_path, text)).to_pylist() == [
        {
            "spectrum_id": "spot 7", "precursor_mz": 445.12, "precursor_intensity": 1.5e4, "rt_seconds": 12.5,
            "charge": -2, "adduct": "[M-2H]2-", "polarity": "negative", "collision_energy": "20 eV",
            "mz": [100.5, 200.25], "intensity": [3.0, 0.0],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["PEPMASS=100"], {"precursor_intensity": None, "charge": None, "polarity": None, "spectrum_id": "1"}),
        (["PEPMASS=100 0"], {"precursor_intensity": None}),
        (["PEPMASS=100 0.0 1+"], {"precursor_intensity": None, "charge": 1}),
        (["PEPMASS=100\t7"], {"precursor_intensity": 7.0}),
        (["CHARGE=1+"], {"charge": 1, "polarity": "positive"}),
        (["CHARGE=+3"], {"charge": 3}),
        (["CHARGE=-1"], {"charge": -1, "polarity": "negative"}),
        (["CHARGE=1", "POLARITY=negative"], {"charge": -1, "polarity": "negative"}),
        (["CHARGE=0"], {"charge": None, "polarity": None}),
        (["CHARGE=2+ and 3+"], {"charge": None}),
        (["CHARGE=999+"], {"charge": None}),
        (["ION=[M+NH4]+"], {"adduct": "[M+NH4]+", "charge": 1, "polarity": "positive"}),
        (["RTINSECONDS="], {"rt_seconds": None}),
        (["RTINSECONDS=10-20"], {"rt_seconds": 15.0}),
        (["RTINSECONDS=-1"], {"rt_seconds": None}),  # how some programs write an unknown one
        (["RTINSECONDS=nan"], {"rt_seconds": None}),
        (["RTINSECONDS=1e400"], {"rt_seconds": None}),
        (["ADDUCT=[M]0+"], {"charge": None, "polarity": None}),
        (["SCANS=4", "TITLE=t"], {"spectrum_id": "4"}),
        (["SCANS=4", "FEATURE_ID=9"], {"spectrum_id": "9"}),
        (["TITLE=a=b"], {"spectrum_id": "a=b"}),
        (["# a comment", "Num peaks=1"], {"precursor_mz": 100.0}),
    ],
)
def test_variants_of_a_field(tmp_path: Path, lines: list[str], expected: dict[str, Any]) -> None:
    row = read_mgf(write(tmp_path, entry("PEPMASS=100", *lines, "50 1"))).to_pylist()[0]
    assert {key: row[key] for key in expected} == expected
    assert (row["mz"], row["intensity"]) == ([50.0], [1.0])


def test_file_wide_parameters_hold_where_an_entry_says_nothing(tmp_path: Path) -> None:
    text = "CHARGE=2+\nIONMODE=positive\n\n" + entry("PEPMASS=100", "50 1") + entry("PEPMASS=101", "CHARGE=1+", "50 1")
    table = read_mgf(write(tmp_path, text))
    assert table["charge"].to_pylist() == [2, 1]
    assert table["polarity"].to_pylist() == ["positive", "positive"]


def test_scans_without_peaks_are_rows(tmp_path: Path) -> None:
    # The second is what mzmine writes for a feature without MS/MS; the MS1 entries are no rows.
    text = (
        entry("PEPMASS=100") + entry("PEPMASS=0.0", "CHARGE=1") + entry("PEPMASS=100", "MSLEVEL=1", "100 5")
        + entry("PEPMASS=100", "SPECTYPE=CORRELATED MS", "100 5") + entry("PEPMASS=300", "200 1")
    )  # fmt: skip
    table = read_mgf(write(tmp_path, text))
    assert table["mz"].to_pylist() == [[], [], [200.0]]
    assert table["spectrum_id"].to_pylist() == ["1", "2", "5"]


def test_bytes_that_are_not_utf8_and_other_line_ends(tmp_path: Path) -> None:
    text = entry("TITLE=Günther µ", "PEPMASS=100", "50 1") + entry("TITLE=b", "PEPMASS=100", "51 2")
    expected = read_mgf(write(tmp_path, text))
    assert expected["spectrum_id"].to_pylist() == ["Günther µ", "b"]
    for variant in (
        text.encode("latin-1"),
        text.encode("utf-8-sig"),
        text.replace("\n", "\r\n").encode(),
        text.rstrip("\n").encode(),
        ("\ufeff" + text.replace("\n", "\r\n")).encode(),
    ):
        assert read_mgf(write(tmp_path, variant)).equals(expected)


def test_bounds_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(text: str) -> tuple[str, str]:
        with pytest.raises(RunError) as caught:
            read_mgf(write(tmp_path, text))
        return caught.value.code, caught.value.position

    good = entry("PEPMASS=1", *["1 1"] * 20)
    monkeypatch.setattr(mgf_module, "MAX_ENTRY_LINES", 23)
    assert read_mgf(write(tmp_path, good * 3)).num_rows == 3
    assert refusal(good + entry("PEPMASS=1", *["1 1"] * 22)) == ("too-large", "spectrum 2, line 24")
    assert refusal(good + good[:-10])[0] == "truncated"
    monkeypatch.setattr(mgf_module, "HEADER_CHARS", 100)
    assert refusal("CHARGE=1+\n" * 20 + good) == ("bad-header", "")
    monkeypatch.setattr(spectra_module, "MAX_PEAKS", 50)
    assert refusal(good * 3) == ("too-large", "spectrum 3, lines 47-69")
    monkeypatch.setattr(spectra_module, "MAX_PEAKS", 1000)
    monkeypatch.setattr(spectra_module, "MAX_SPECTRA", 2)
    assert refusal(good * 3) == ("too-large", "spectrum 3, lines 47-69")


@pytest.mark.parametrize(
    ("text", "code", "position", "message"),
    [
        ("hello\nworld\n", "empty", "", "BEGIN IONS"),
        (entry("PEPMASS=1", "MSLEVEL=1", "1 1"), "no-msms", "", "all 1 entries are MS1"),
        (entry("PEPMASS=1", "1 1") + "BEGIN IONS\nPEPMASS=1\n1 1\n", "truncated", "spectrum 2, line 5", "END IONS"),
        ("BEGIN IONS\nPEPMASS=1\n1 1\n" + entry("PEPMASS=1"), "truncated", "spectrum 1, line 4", "BEGIN IONS before"),
        (entry("PEPMASS=1", "1 1") + entry("1 1"), "bad-value", "spectrum 2, lines 5-7", "no PEPMASS"),
        (entry("PEPMASS=", "1 1"), "bad-value", "spectrum 1, lines 1-4", "no PEPMASS"),
        (entry("PEPMASS=heavy", "1 1"), "bad-value", "spectrum 1, line 4", "PEPMASS"),
        (entry("PEPMASS=0", "1 1"), "bad-value", "spectrum 1, lines 1-4", "precursor m/z 0 is impossible"),
        (entry("PEPMASS=-5", "1 1"), "bad-value", "spectrum 1", "precursor m/z -5"),
        (entry("PEPMASS=nan", "1 1"), "bad-value", "spectrum 1", "precursor m/z nan"),
        (entry("PEPMASS=inf"), "bad-value", "spectrum 1", "precursor m/z inf"),
        (entry("PEPMASS=5 -1", "1 1"), "bad-value", "spectrum 1", "precursor intensity -1"),
        (entry("PEPMASS=5 inf", "1 1"), "bad-value", "spectrum 1", "precursor intensity inf"),
        (entry("PEPMASS=5") + entry("PEPMASS=5", "1 1", "nan 1"), "bad-value", "spectrum 2, lines 4-8", "m/z nan"),
        (entry("PEPMASS=5", "-1 1"), "bad-value", "spectrum 1", "fragment m/z -1"),
        (entry("PEPMASS=5", "inf 1"), "bad-value", "spectrum 1", "fragment m/z inf"),
        (entry("PEPMASS=5", "1 nan"), "bad-value", "spectrum 1", "fragment intensity nan"),
        (entry("PEPMASS=5", "1 -2"), "bad-value", "spectrum 1", "fragment intensity -2"),
        (entry("PEPMASS=5", "1 1e39"), "bad-value", "spectrum 1", "fragment intensity inf"),  # beyond float32
        (entry("PEPMASS=5", "1 1", "2"), "bad-value", "spectrum 1", "a peak line has one number"),
        (entry("PEPMASS=5", "1,5 1"), "bad-value", "spectrum 1, line 3", "not a peak"),
        (entry("PEPMASS=5", "RTINSECONDS=soon", "1 1"), "bad-value", "spectrum 1", "RTINSECONDS 'soon'"),
    ],
)  # fmt: skip
def test_a_bad_file_says_where_and_what(tmp_path: Path, text: str, code: str, position: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RunError) as caught:
        read_mgf(path)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert caught.value.position.startswith(position)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("adduct", "charge"),
    [("[M+H]+", 1), ("[M+2H]2+", 2), ("[2M-H]-", -1), ("[M+H", None), (None, None), ("[M]999+", None), ("", None)],
)
def test_charge_of_an_adduct(adduct: str | None, charge: int | None) -> None:
    assert charge_of_adduct(adduct) == charge


MZ = st.floats(min_value=0, max_value=5000, allow_nan=False)
INTENSITY = st.floats(min_value=0, max_value=2.0**100, width=32)
SPECTRA = st.lists(
    st.fixed_dictionaries(
        {
            "precursor_mz": st.floats(min_value=1e-3, max_value=5000),
            "precursor_intensity": st.one_of(st.none(), st.floats(min_value=1e-3, max_value=1e12)),
            "rt_seconds": st.one_of(st.none(), st.floats(min_value=0, max_value=1e5)),
            "charge": st.one_of(st.none(), st.integers(-9, 9).filter(bool)),
            "peaks": st.lists(st.tuples(MZ, INTENSITY), max_size=8),
        }
    ),
    min_size=1,
    max_size=8,
)


@QUICK
@given(spectra=SPECTRA, line_end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_what_is_written_is_read(tmp_path: Path, spectra: list[dict[str, Any]], line_end: str, bom: bool) -> None:
    blocks = []
    for number, spectrum in enumerate(spectra):
        height, rt, charge = (spectrum[key] for key in ("precursor_intensity", "rt_seconds", "charge"))
        lines = [f"SCANS={number}", f"PEPMASS={spectrum['precursor_mz']!r}" + (f" {height!r}" if height else "")]
        lines += [f"RTINSECONDS={rt!r}"] if rt is not None else []
        lines += [f"CHARGE={abs(charge)}{'+' if charge > 0 else '-'}"] if charge else []
        blocks.append(entry(*lines, *(f"{mz!r} {intensity!r}" for mz, intensity in spectrum["peaks"])))
    text = ("\ufeff" if bom else "") + "\n".join(blocks).replace("\n", line_end)
    rows = read_mgf(write(tmp_path, text)).to_pylist()
    assert len(rows) == len(spectra)
    for number, (row, spectrum) in enumerate(zip(rows, spectra, strict=True)):
        assert row["spectrum_id"] == str(number)
        for key in ("precursor_mz", "precursor_intensity", "rt_seconds", "charge"):
            assert row[key] == spectrum[key], key
        assert list(zip(row["mz"], row["intensity"], strict=True)) == spectrum["peaks"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(min_size=1, max_size=200),
    line=st.sampled_from([b"", b"PEPMASS=100\n", b"CHARGE=", b"RTINSECONDS=", b"MSLEVEL=", b"SCANS=", b"PEPMASS="]),
)
def test_any_bytes_are_spectra_or_a_run_error(tmp_path: Path, content: bytes, line: bytes) -> None:
    for text in (content, b"BEGIN IONS\nPEPMASS=100\n" + line + content + b"\n50 1\nEND IONS\n"):
        try:
            table = read_mgf(write(tmp_path, text))
        except RunError as error:
            assert "\n" not in error.message  # noqa: PT017
            continue
        assert len(table) > 0
        assert all(math.isfinite(mz) for mz in table["precursor_mz"].to_pylist())
