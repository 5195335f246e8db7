"""mzML against pyteomics on real runs, against psims as a writer on odd ones, and by hand on hostile ones."""

from __future__ import annotations

import base64
import gzip
import math
import re
import subprocess
import sys
import zlib
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyteomics import mzml as oracle
from raw_runs import array_xml, b64, cv, ms1, msms, msms_xml, mzml_xml, raw_run, write_mzml

from ms2img.errors import RunError
from ms2img.io.formats import mzml
from ms2img.io.formats.dda import read_dda
from ms2img.io.formats.mzml import read_scans
from ms2img.io.read import RunSpectra, read_run, read_runs, sniff
from ms2img.io.read_config import ReadOptions
from ms2img.io.schema import SPECTRA

REAL = ("apple_surface_swab.mzML", "DDApos_2.mzML.gz")
LAX = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return read_run(raw_run(path), ReadOptions(**options)).table.to_pylist()


def refusal(path: Path, **options: Any) -> RunError:
    with pytest.raises(RunError) as caught:
        read_run(raw_run(path), ReadOptions(**options))
    assert caught.value.path == str(path)
    return caught.value


def by_hand(folder: Path, text: str | bytes, name: str = "run.mzML") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@cache
def oracle_scans(path: Path) -> list[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as stream:
        return list(oracle.read(stream, use_index=False))


def selected_ion(scan: dict[str, Any]) -> dict[str, Any]:
    return scan["precursorList"]["precursor"][0]["selectedIonList"]["selectedIon"][0]


@pytest.mark.parametrize(("name", "n_msms"), list(zip(REAL, (1305, 596), strict=True)))
def test_a_real_run_value_by_value(shared: Path, name: str, n_msms: int) -> None:
    path = shared / "data/raw" / name
    expected = [scan for scan in oracle_scans(path) if scan["ms level"] == 2]
    spectra = read_run(raw_run(path))
    table = spectra.table
    assert (sniff(str(path)), spectra.ms2_source, len(table)) == ("mzml", "own", n_msms)
    assert table.schema.equals(SPECTRA)
    ions = [selected_ion(scan) for scan in expected]
    assert table["spectrum_id"].to_pylist() == [scan["id"] for scan in expected]
    assert table["precursor_mz"].to_pylist() == [float(ion["selected ion m/z"]) for ion in ions]
    assert table["precursor_intensity"].to_pylist() == [float(ion["peak intensity"]) for ion in ions]
    assert table["charge"].to_pylist() == [int(ion.get("charge state") or 0) or None for ion in ions]
    times = [scan["scanList"]["scan"][0]["scan start time"] for scan in expected]
    assert {time.unit_info for time in times} == {"second"}
    assert table["rt_seconds"].to_pylist() == [float(time) for time in times]
    assert set(table["polarity"].to_pylist()) == {"positive"}
    for column, key in (("mz", "m/z array"), ("intensity", "intensity array")):
        peaks = [scan.get(key, np.empty(0)) for scan in expected]
        assert [len(peak) for peak in peaks] == table[column].combine_chunks().value_lengths().to_pylist()
        np.testing.assert_array_equal(table[column].combine_chunks().flatten().to_numpy(), np.concatenate(peaks))
    assert sum(not len(scan.get("m/z array", ())) for scan in expected) == {REAL[0]: 510, REAL[1]: 0}[name]
    energies = {scan["precursorList"]["precursor"][0]["activation"].get("collision energy") for scan in expected}
    assert energies == {REAL[0]: {None}, REAL[1]: {35.0}}[name]
    assert set(table["collision_energy"].to_pylist()) == {REAL[0]: {None}, REAL[1]: {"35.0 electronvolt"}}[name]


@pytest.mark.parametrize("name", REAL)
def test_intensities_out_of_ms1_against_a_brute_search(shared: Path, name: str) -> None:
    path = shared / "data/raw" / name
    scans = oracle_scans(path)
    surveys = [index for index, scan in enumerate(scans) if scan["ms level"] == 1]
    expected = []
    for index, scan in enumerate(scans):
        if scan["ms level"] != 2:
            continue
        mz = float(selected_ion(scan)["selected ion m/z"])
        before = [survey for survey in surveys if survey < index][-1:]
        after = [survey for survey in surveys if survey > index][:1]
        highest = 0.0
        for survey in before + after:
            peaks = zip(scans[survey].get("m/z array", ()), scans[survey].get("intensity array", ()), strict=True)
            highest = highest or max((float(i) for p, i in peaks if abs(p - mz) * 1e6 <= 30 * mz), default=0.0)
        expected.append(highest)
    silent = list(read_scans(str(path)))
    for scan in silent:
        if scan.precursor is not None:
            scan.precursor.intensity = None
    found = read_dda(silent, ReadOptions(), path=str(path))["precursor_intensity"].to_pylist()
    assert found == expected
    assert np.mean(np.array(found) > 0) > 0.99
    if name == REAL[0]:  # the file's own statement is the height of that very MS1 peak
        stated = read_run(raw_run(path)).table["precursor_intensity"].to_numpy()
        assert np.mean(np.isclose(found, stated)) > 0.995


@pytest.mark.parametrize("bits", [np.float32, np.float64])
@pytest.mark.parametrize("compression", ["zlib", "none"])
def test_encodings_units_and_fields(tmp_path: Path, bits: type, compression: str) -> None:
    rng = np.random.default_rng(1)
    mz, intensity = np.sort(rng.uniform(50, 300, 40)).astype(bits), rng.uniform(0, 1e5, 40).astype(np.float32)
    scans = [
        ms1(1, [300.1, 300.2], [5, 9]),
        msms(2, 300.2, mz, intensity, charge=2),
        msms(3, 300.25, [], [], precursor_intensity=4.5, polarity="negative scan"),
        msms(4, 300.25, level=3),
    ]
    path = write_mzml(
        tmp_path / "a.mzML", scans, compression=compression, encoding={"m/z array": bits, "intensity array": np.float32}
    )
    path.write_text(path.read_text().replace("MS:1000129", "MS:1000130"))  # one polarity
    one, two = rows(path)
    assert one["mz"] == mz.astype(float).tolist()
    assert one["intensity"] == intensity.astype(float).tolist()
    assert {key: one[key] for key in ("precursor_intensity", "charge", "collision_energy", "polarity")} == {
        "precursor_intensity": 9.0, "charge": 2, "collision_energy": "25.0 electronvolt", "polarity": "positive",
    }  # fmt: skip
    assert one["rt_seconds"] == pytest.approx(2.0)  # psims writes minutes
    assert (two["mz"], two["precursor_intensity"], two["charge"]) == ([], 4.5, None)


def test_referenceable_groups_and_prefixes_and_other_detectors(tmp_path: Path) -> None:
    group = (
        '<referenceableParamGroupList count="2"><referenceableParamGroup id="msms">'
        + cv("1000511", "ms level", 2) + cv("1000129") + "</referenceableParamGroup>"
        + f'<referenceableParamGroup id="f64">{cv("1000523")}{cv("1000576")}</referenceableParamGroup>'
        + "</referenceableParamGroupList>"
    )  # fmt: skip
    ref = '<referenceableParamGroupRef ref="{}"/>'.format
    arrays = "".join(
        array_xml(kind, b64(values), params=ref("f64"))
        for kind, values in (("1000514", [100, 150]), ("1000515", [1, 2]))
    )
    uv = '<spectrum index="9" id="uv" defaultArrayLength="2">' + cv("1000804") + "</spectrum>"
    text = mzml_xml(uv, msms_xml(params=ref("msms"), arrays=arrays, precursor=cv("1000744", value=7) + cv("1000041", value=3)), head=group)  # fmt: skip # noqa: E501
    (row,) = rows(by_hand(tmp_path, text))
    assert (row["polarity"], row["charge"], row["mz"], row["intensity"]) == ("negative", -3, [100.0, 150.0], [1.0, 2.0])
    prefixed = re.sub(r"<(/?)(?=[a-zA-Z])", r"<\1p:", text).replace("xmlns=", "xmlns:p=")
    assert rows(by_hand(tmp_path, prefixed)) == [row]
    assert rows(by_hand(tmp_path, text.replace("utf-8", "utf-16").encode("utf-16"))) == [row]
    assert rows(by_hand(tmp_path, text.replace("utf-8", "windows-1252").replace("uv", "\xb5").encode("cp1252"))) == [
        row
    ]
    assert rows(by_hand(tmp_path, gzip.compress(text.encode()), "misleading.mgf")) == [row]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("UO:0000010", 12.0), ("UO:0000031", 720.0), ("UO:0000028", 0.012), ("", None), ("UO:9999999", None)],
)
def test_time_units(tmp_path: Path, unit: str, expected: float | None) -> None:
    text = msms_xml(12).replace('unitAccession="UO:0000010"', f'unitAccession="{unit}"')
    assert rows(by_hand(tmp_path, mzml_xml(text)))[0]["rt_seconds"] == expected


def test_the_nearest_ms1_scan_is_the_one_before_then_the_one_after(tmp_path: Path) -> None:
    scans = [
        msms(1, 400.0),  # only an MS1 scan after it
        ms1(2, [400.011, 900.0, 400.0], [50, 1, 5]),  # in any order
        msms(3, 400.0),  # 400.011 is 27.5 ppm away
        msms(4, 500.0),  # not before, but after
        msms(5, 600.0),  # nowhere
        ms1(6, [500.0], [8], polarity="negative scan"),
        ms1(7, [500.0], [7]),
        msms(8, 400.0),  # no longer in the nearest one
        msms(9, 400.0, precursor_intensity=3.0),
        msms(10, 400.0, precursor_intensity=0.0),
    ]
    path = write_mzml(tmp_path / "a.mzML", scans)
    intensities = [row["precursor_intensity"] for row in rows(path)]
    assert intensities == [50.0, 50.0, 7.0, 0.0, 0.0, 3.0, 0.0]
    assert [row["precursor_intensity"] for row in rows(path, ms1_window_ppm=20)][:2] == [5.0, 5.0]
    nowhere = write_mzml(tmp_path / "b.mzML", [ms1(1, [100.0], [5]), msms(2, 400.0), msms(3, 410.0)])
    assert [row["precursor_intensity"] for row in rows(nowhere)] == [None, None]
    without = write_mzml(tmp_path / "c.mzML", [msms(2, 400.0, precursor_intensity=2.0), msms(3, 410.0)])
    assert [row["precursor_intensity"] for row in rows(without)] == [2.0, None]


def test_profile_msms_is_centroided_or_refused(tmp_path: Path) -> None:
    mz = np.arange(100, 101, 0.002)
    profile = 50 * np.exp(-0.5 * ((mz - 100.3) / 0.008) ** 2) + 9 * np.exp(-0.5 * ((mz - 100.7013) / 0.008) ** 2)
    scans = [ms1(1, mz, profile, centroided=False), msms(2, 100.301, mz, np.where(profile < 1e-3, 0, profile), centroided=False)]  # fmt: skip # noqa: E501
    path = write_mzml(tmp_path / "a.mzML", scans)
    (row,) = rows(path)
    np.testing.assert_allclose(row["mz"], [100.3, 100.7013], atol=1e-4)
    np.testing.assert_allclose(row["intensity"], [50, 9], rtol=0.02)
    assert row["precursor_intensity"] == pytest.approx(50)  # profile MS1: its highest point
    error = refusal(path, profile_msms="refuse")
    assert (error.code, error.position) == ("profile-msms", "scan=2")


def test_runs_that_are_no_dda_of_one_polarity(tmp_path: Path) -> None:
    only_ms1 = write_mzml(tmp_path / "a.mzML", [ms1(n, [100], [1]) for n in (1, 2, 3)])
    assert (refusal(only_ms1).code, "no MS/MS: 3 scans of MS1;" in refusal(only_ms1).message) == ("no-msms", True)
    ms3 = write_mzml(tmp_path / "b.mzML", [ms1(1, [100], [1]), msms(2, 100, level=3)])
    assert (refusal(ms3).code, "and 1 of a level other than 1 or 2" in refusal(ms3).message) == ("no-msms", True)
    assert refusal(by_hand(tmp_path, mzml_xml())).code == "empty"

    signs = ["positive scan", "negative scan", "negative scan"]
    mixed = write_mzml(tmp_path / "c.mzML", [msms(n, 200 + n, polarity=sign, charge=1) for n, sign in enumerate(signs)])
    assert refusal(mixed).code == "mixed-polarity"
    assert "1 positive and 2 negative" in refusal(mixed).message
    assert [row["charge"] for row in rows(mixed, polarity="positive")] == [1]
    assert [row["charge"] for row in rows(mixed, polarity="negative")] == [-1, -1]
    negative = write_mzml(tmp_path / "d.mzML", [msms(1, 200, polarity="negative scan")])
    assert refusal(negative, polarity="positive").code == "no-msms"

    dia = write_mzml(tmp_path / "e.mzML", [msms(n, 400 + 25 * n, width=25) for n in range(3)] + [msms(9, 400)])
    assert refusal(dia).code == "dia"
    assert "3 of 4 MS/MS scans isolate more than 10 m/z (median 25)" in refusal(dia).message
    assert len(rows(dia, dia_isolation_mz=30)) == 4
    few = write_mzml(tmp_path / "f.mzML", [msms(n, 400, width=25 if n < 2 else 1) for n in range(4)])
    assert len(rows(few)) == 4
    all_ions = by_hand(tmp_path, mzml_xml(*(msms_xml(n, precursor="") for n in (1, 2)), msms_xml(3)))
    assert (refusal(all_ions).code, "2 of 3" in refusal(all_ions).message) == ("dia", True)


def test_dia_is_refused_before_all_of_it_is_read(tmp_path: Path) -> None:
    wide = cv("1000828", value=12) + cv("1000829", value=12)
    text = mzml_xml(*(msms_xml(n).replace("<selectedIonList", f"<isolationWindow>{wide}</isolationWindow><selectedIonList", 1) for n in range(1, 601)))  # fmt: skip # noqa: E501
    assert "500 of 500 MS/MS scans" in refusal(by_hand(tmp_path, text[: len(text) // 10 * 9])).message


def one(**spectrum: Any) -> str:
    return mzml_xml(msms_xml(**spectrum))


def arrays_as(params: str) -> str:
    """Two arrays, the m/z array encoded as `params` say."""
    return array_xml("1000514", b64([1, 2]), params=cv("1000523") + params) + array_xml("1000515", b64([1, 2]))


BOMB = '<!DOCTYPE x [<!ENTITY a "AAAAAAAA"><!ENTITY b "&a;&a;&a;&a;">]>'
UNEQUAL = array_xml("1000514", b64([1, 2])) + array_xml("1000515", b64([1]), attributes=" arrayLength='1'")
TWO = mzml_xml(msms_xml(), msms_xml(2))
LONG_TAG = mzml_xml(msms_xml(), f'<a b="{"x" * 3_000_000}"/>')
FIRST = "before the first scan"

#: text, code, position, a part of the message
HOSTILE = {
    "doctype": (mzml_xml(prolog="<!DOCTYPE mzML>"), "malformed", FIRST, "document type"),
    "entity bomb": (mzml_xml(msms_xml(mz="&b;"), prolog=BOMB), "malformed", FIRST, "document type"),
    "entity": (one(mz="&b;"), "malformed", FIRST, "undefined entity"),
    "mismatch": (TWO.replace("</spectrumList>", "</spektrumList>"), "malformed", "after scan=2", "mismatched tag"),
    "cut": (TWO[:-30], "truncated", "after scan=2", "ends before"),
    "no base64": (one(mz="####"), "malformed", "scan=1", "not base64"),
    "odd base64": (one(mz=b64([1, 2])[:-3]), "malformed", "scan=1", "not base64"),
    "short": (one(mz=b64([1])), "malformed", "scan=1", "holds 8 bytes; the file promises 2 of 8"),
    "long": (one(length=1), "malformed", "scan=1", "more than 8 bytes"),
    "lie": (one(length=4_000_000), "malformed", "scan=1", "holds 16 bytes"),
    "great lie": (one(length=10**17), "too-large", "scan=1", "at most 64 MB"),
    "negative length": (one(length=-2), "bad-value", "scan=1", "no count"),
    "unequal": (one(arrays=UNEQUAL), "malformed", "scan=1", "2 m/z, but 1 intensities"),
    "no intensities": (one(arrays=array_xml("1000514", b64([1, 2]))), "malformed", "scan=1", "no intensity array"),
    "no zlib": (one(arrays=arrays_as(cv("1000574"))), "malformed", "scan=1", "not zlib"),
    "numpress": (one(arrays=arrays_as(cv("1002312"))), "unknown-format", "scan=1", "numpress"),
    "numpress zlib": (one(arrays=arrays_as(cv("1000574") + cv("1002746"))), "unknown-format", "scan=1", "numpress"),
    "another coding": (one(arrays=arrays_as(cv("1003780"))), "unknown-format", "scan=1", "unknown encoding"),
    "nan": (one(intensity=b64([1, math.nan])), "bad-value", "scan=1", "fragment intensity nan"),
    "negative m/z": (one(mz=b64([-1, 5])), "bad-value", "scan=1", "fragment m/z -1"),
    "negative profile": (
        one(intensity=b64([-1, 5])).replace("1000127", "1000128"), "bad-value", "scan=1", "fragment intensity -1",
    ),
    "precursor nan": (one(precursor=cv("1000744", value="nan")), "bad-value", "scan=1", "selected ion m/z is nan"),
    "precursor text": (one(precursor=cv("1000744", value="heavy")), "bad-value", "scan=1", "'heavy' is no number"),
    "precursor negative": (one(precursor=cv("1000744", value=-5)), "bad-value", "scan=1", "precursor m/z -5"),
    "level": (one(params=cv("1000511", value="two")), "bad-value", "scan=1", "ms level 'two'"),
    "line breaks": (one(params=cv("1000511", value="two&#10;three")), "bad-value", "scan=1", "ms level 'two three'"),
    "long id": (
        one(length=-2).replace('"scan=1"', f'"&#10;scan={"1" * 9999}"'), "bad-value", "scan=" + "1" * 195, "no count",
    ),
    "deep": (mzml_xml("<a>" * 1000), "malformed", FIRST, "nest more than"),
    "long tag": (LONG_TAG, "too-large", "after scan=1", "tag or comment"),
    "encoding": (mzml_xml(prolog='<?xml version="1.0" encoding="klingon"?>'), "bad-encoding", FIRST, "encoding"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_by_name(tmp_path: Path, case: str) -> None:
    text, code, position, message = HOSTILE[case]
    error = refusal(by_hand(tmp_path, text))
    assert (error.code, error.position) == (code, position), str(error)
    assert message in error.message
    assert "\n" not in str(error)


def test_an_array_that_inflates_is_stopped_at_its_own_length(tmp_path: Path) -> None:
    bomb = base64.b64encode(zlib.compress(bytes(200 << 20), 9)).decode()
    params = cv("1000523") + cv("1000574")
    arrays = array_xml("1000514", bomb, params=params) + array_xml("1000515", b64([1, 2]))
    path = by_hand(tmp_path, mzml_xml(msms_xml(arrays=arrays)))
    code = (
        "import sys, tracemalloc; from ms2img.io.formats import dda; from ms2img.io.read_config import ReadOptions\n"
        "tracemalloc.start()\n"
        "try: dda.read_mzml(sys.argv[1], ReadOptions())\n"
        "except Exception as error: print(error.code, tracemalloc.get_traced_memory()[1] >> 20)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert said.split()[0] == "malformed"
    assert int(said.split()[1]) < 10  # MB: text and bytes of the bomb, not what is in it


def test_an_array_of_zeros_without_end_is_no_array(tmp_path: Path) -> None:
    zeros = base64.b64encode(zlib.compress(bytes(20_000_000), 9)).decode()
    arrays = "".join(array_xml(kind, zeros, params=cv("1000523") + cv("1000574")) for kind in ("1000514", "1000515"))
    error = refusal(by_hand(tmp_path, mzml_xml(msms_xml(arrays=arrays, length=2_500_000))))
    assert (error.code, error.position, "200-fold" in error.message) == ("too-large", "scan=1", True)


def test_a_cut_gzip_says_which_scan_was_the_last(tmp_path: Path) -> None:
    text = mzml_xml(*(msms_xml(number) for number in range(1, 400)))
    packed = gzip.compress(text.encode())
    error = refusal(by_hand(tmp_path, packed[: len(packed) * 9 // 10]))
    assert error.code == "truncated"
    assert re.fullmatch(r"after scan=\d{3}", error.position)


def test_memory_follows_the_msms_and_not_the_file(tmp_path: Path) -> None:
    """60 MB, nearly all of it MS1; reading it holds a scan or two."""
    rng = np.random.default_rng(0)
    mz, intensity = b64(np.sort(rng.uniform(100, 1000, 40_000))), b64(rng.uniform(1, 1e6, 40_000))
    arrays = array_xml("1000514", mz) + array_xml("1000515", intensity)
    survey = (
        f'<spectrum index="0" id="scan=1" defaultArrayLength="40000">{cv("1000511", value=1)}{cv("1000130")}'
        f'<binaryDataArrayList count="2">{arrays}</binaryDataArrayList></spectrum>\n'
    )
    numbers = count(2)
    text = mzml_xml(*(survey + "".join(msms_xml(next(numbers)) for _ in range(10)) for _ in range(70)))
    assert len(text) > 60_000_000
    path = by_hand(tmp_path, text)
    small = by_hand(tmp_path, mzml_xml(survey, msms_xml(2)), "small.mzML")  # read first: libraries load on first use
    code = (
        "import sys, tracemalloc; from ms2img.io.formats import dda; from ms2img.io.read_config import ReadOptions\n"
        "dda.read_mzml(sys.argv[2], ReadOptions())\n"
        "tracemalloc.start(); table = dda.read_mzml(sys.argv[1], ReadOptions())\n"
        "print(len(table), tracemalloc.get_traced_memory()[1] >> 20)"
    )
    command = [sys.executable, "-c", code, str(path), str(small)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    n_rows, peak_mb = map(int, said.split())
    assert n_rows == 700
    assert peak_mb < 8  # an MS1 scan's text is 0.9 MB, its numbers 0.6 MB; two scans are alive at a time


WELL = mzml_xml(
    *(msms_xml(number, precursor=cv("1000744", value=200.5) + cv("1000042", value=9)) for number in (1, 2, 3))
)


@settings(max_examples=120, suppress_health_check=LAX, deadline=None)
@given(cut=st.integers(min_value=1, max_value=len(WELL.rstrip()) - 1))
def test_cut_anywhere_it_is_truncated(tmp_path: Path, cut: int) -> None:
    with pytest.raises(RunError) as caught:
        list(mzml.read_scans(str(by_hand(tmp_path, WELL[:cut]))))
    assert caught.value.code == "truncated"
    n_whole = WELL[:cut].count("</spectrum>")
    assert caught.value.position == (f"after scan={n_whole}" if n_whole else "before the first scan")


SPLINTERS = (b"<", b">", b'"', b"&lt;", b"<spectrum>", b"</binary>", b"<!--", b"]]>", b"-1", b"nan", b"1e999")


@settings(max_examples=250, suppress_health_check=LAX, deadline=None)
@given(
    at=st.integers(0, len(WELL) - 1),
    length=st.integers(0, 40),
    put=st.one_of(st.binary(max_size=20), st.sampled_from(SPLINTERS)),
)
def test_damaged_anywhere_it_is_spectra_or_a_run_error(tmp_path: Path, at: int, length: int, put: bytes) -> None:
    content = WELL.encode()
    path = by_hand(tmp_path, content[:at] + put + content[at + length :])
    ((_, outcome),) = read_runs([raw_run(path, format="mzml")])
    assert isinstance(outcome, RunSpectra | RunError)
    assert "\n" not in str(outcome) or isinstance(outcome, RunSpectra)
