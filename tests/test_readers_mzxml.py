"""mzXML against pyteomics on a real run, and by hand on the variants and damages of the format."""

from __future__ import annotations

import base64
import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyteomics import mzxml as oracle
from raw_runs import raw_run

from ms2img.errors import RunError
from ms2img.io.formats.dda import read_dda
from ms2img.io.formats.mzxml import read_scans
from ms2img.io.read import RunSpectra, read_run, read_runs, sniff
from ms2img.io.read_config import ReadOptions
from ms2img.io.schema import SPECTRA

LAX = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return read_run(raw_run(path), ReadOptions(**options)).table.to_pylist()


def by_hand(folder: Path, text: str | bytes, name: str = "run.mzXML") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def peaks_xml(pairs: list[float], *, bits: int = 32, zipped: bool = False, attributes: str = "") -> str:
    content = np.array(pairs, f">f{bits // 8}").tobytes()
    if zipped:
        content, attributes = zlib.compress(content), attributes + ' compressionType="zlib" compressedLen="9"'
    text = base64.b64encode(content).decode()
    return f'<peaks precision="{bits}" byteOrder="network" contentType="m/z-int"{attributes}>{text}</peaks>'


def scan_xml(number: int, level: int, pairs: list[float], inner: str = "", *, ion: str = "", **more: Any) -> str:
    stated = {"retentionTime": f"PT{number}S", "polarity": "+", "peaksCount": len(pairs) // 2, "centroided": 1}
    attributes = " ".join(f'{key}="{value}"' for key, value in {**stated, **more}.items() if value is not None)
    precursor = ion or '<precursorMz precursorIntensity="7" windowWideness="1">200.5</precursorMz>'
    body = (precursor if level > 1 else "") + peaks_xml(pairs) + inner
    return f'<scan num="{number}" msLevel="{level}" {attributes}>{body}</scan>\n'


def file_xml(*scans: str, prolog: str = '<?xml version="1.0" encoding="ISO-8859-1"?>\n', head: str = "") -> str:
    space = 'xmlns="http://sashimi.sourceforge.net/schema_revision/mzXML_3.2"'
    return f"{prolog}<mzXML {space}><msRun>{head}{''.join(scans)}</msRun><index name='scan'></index></mzXML>\n"


def test_a_real_run_value_by_value(shared: Path) -> None:
    path = shared / "data/raw/DOM_b.mzXML"
    with path.open("rb") as stream:
        scans = list(oracle.read(stream, use_index=False))
    expected = [scan for scan in scans if scan["msLevel"] == 2]
    table = read_run(raw_run(path)).table
    assert (sniff(str(path)), len(table), table.schema.equals(SPECTRA)) == ("mzxml", 434, True)
    ions = [scan["precursorMz"][0] for scan in expected]
    assert table["spectrum_id"].to_pylist() == [scan["num"] for scan in expected]
    assert table["precursor_mz"].to_pylist() == [float(ion["precursorMz"]) for ion in ions]
    assert table["precursor_intensity"].to_pylist() == [float(ion["precursorIntensity"]) for ion in ions]
    assert table["charge"].to_pylist() == [int(ion.get("precursorCharge", 0)) or None for ion in ions]
    minutes = np.array([float(scan["retentionTime"]) for scan in expected])  # pyteomics makes minutes of PT434.072S
    np.testing.assert_allclose(table["rt_seconds"].to_numpy(), minutes * 60, rtol=1e-12)
    assert set(table["polarity"].to_pylist()) == {"positive"}
    assert table["collision_energy"].to_pylist() == ["30.0"] * 434
    for column, key in (("mz", "m/z array"), ("intensity", "intensity array")):
        flat = table[column].combine_chunks()
        assert flat.value_lengths().to_pylist() == [len(scan[key]) for scan in expected]
        values = np.concatenate([scan[key] for scan in expected])
        np.testing.assert_array_equal(flat.flatten().to_numpy(), values.astype(flat.type.value_type.to_pandas_dtype()))

    silent = list(read_scans(str(path)))
    for scan in silent:
        if scan.precursor is not None:
            scan.precursor.intensity = None
    found = read_dda(silent, ReadOptions(ms1_window_ppm=5), path=str(path))["precursor_intensity"].to_pylist()
    assert found == [brute_intensity(scans, scans.index(scan), 5) for scan in expected]
    assert scans[0]["msLevel"] == 2  # before any MS1 scan: the next one says it
    assert found[0] > 0


def brute_intensity(scans: list[dict[str, Any]], index: int, ppm: float) -> float:
    mz = scans[index]["precursorMz"][0]["precursorMz"]
    before = [scan for scan in scans[:index] if scan["msLevel"] == 1][-1:]
    after = [scan for scan in scans[index:] if scan["msLevel"] == 1][:1]
    for survey in before + after:
        near = [
            i
            for p, i in zip(survey["m/z array"], survey["intensity array"], strict=True)
            if abs(p - mz) * 1e6 <= ppm * mz
        ]
        if near:
            return float(max(near))
    return 0.0


def test_nested_and_flat_scans_are_the_same_run(tmp_path: Path) -> None:
    ion = "<precursorMz>200.5</precursorMz>"
    inner = [scan_xml(2, 2, [50, 3, 60, 4], ion=ion), scan_xml(3, 2, [], ion=ion, peaksCount=0, polarity=None)]
    nested = file_xml(scan_xml(1, 1, [200.5, 9], "".join(inner)), scan_xml(4, 1, [1, 1]))
    flat = file_xml(scan_xml(1, 1, [200.5, 9]), *inner, scan_xml(4, 1, [1, 1]))
    expected = rows(by_hand(tmp_path, flat))
    assert [(row["spectrum_id"], row["mz"], row["precursor_intensity"]) for row in expected] == [
        ("2", [50.0, 60.0], 9.0),
        ("3", [], 9.0),
    ]
    assert rows(by_hand(tmp_path, nested)) == expected
    assert rows(by_hand(tmp_path, gzip.compress(flat.encode()), "a.mzXML.gz")) == expected


@pytest.mark.parametrize(
    ("time", "expected"), [("PT2M3.5S", 123.5), ("PT1H", 3600.0), ("PT.5S", 0.5), (None, None), ("PT7S", 7.0)]
)
def test_times(tmp_path: Path, time: str | None, expected: float | None) -> None:
    (row,) = rows(by_hand(tmp_path, file_xml(scan_xml(1, 2, [50, 3], retentionTime=time))))
    assert row["rt_seconds"] == expected


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("zipped", [True, False])
def test_encodings(tmp_path: Path, bits: int, zipped: bool) -> None:
    pairs = np.random.default_rng(0).uniform(50, 200, 40).astype(np.float32).astype(float).tolist()
    text = scan_xml(1, 2, pairs).replace(peaks_xml(pairs), peaks_xml(pairs, bits=bits, zipped=zipped))
    (row,) = rows(by_hand(tmp_path, file_xml(text)))
    assert (row["mz"], row["intensity"]) == (pairs[::2], pairs[1::2])


def test_charge_energy_polarity_and_scans_without_peaks(tmp_path: Path) -> None:
    ion = '<precursorMz precursorIntensity="0" precursorCharge="2" activationMethod="CID">300.25</precursorMz>'
    scans = [
        scan_xml(1, 2, [50, 1], ion=ion, polarity="-", collisionEnergy="20"),
        scan_xml(2, 2, [0, 0], polarity="-", peaksCount=0),  # one pair of zeros in a scan of 0 peaks
        scan_xml(3, 3, [50, 1]),
    ]
    one, two = rows(by_hand(tmp_path, file_xml(*scans)))
    assert (one["charge"], one["polarity"], one["collision_energy"], one["precursor_mz"]) == (
        -2,
        "negative",
        "20",
        300.25,
    )
    assert (one["precursor_intensity"], two["precursor_intensity"], two["mz"]) == (None, 7.0, [])


def test_profile_dia_and_mixed_polarity(tmp_path: Path) -> None:
    profile = by_hand(tmp_path, file_xml(scan_xml(1, 2, [50, 1, 50.01, 9, 50.02, 1], centroided=0)), "a")
    assert rows(profile)[0]["mz"] == pytest.approx([50.01], abs=1e-5)
    headed = file_xml(
        scan_xml(1, 2, [50, 1, 50.01, 9, 50.02, 1], centroided=None), head='<dataProcessing centroided="{}"/>'
    )
    for flag, n_peaks in ((0, 1), (1, 3)):
        assert len(rows(by_hand(tmp_path, headed.replace("{}", str(flag)), "b"))[0]["mz"]) == n_peaks
    wide = '<precursorMz precursorIntensity="7" windowWideness="25.0">200.5</precursorMz>'
    none = "<!-- no precursor -->"
    for text, options, code in (
        (file_xml(scan_xml(1, 2, [50, 1], centroided=0)), {"profile_msms": "refuse"}, "profile-msms"),
        (file_xml(scan_xml(1, 2, [50, 1], ion=wide)), {}, "dia"),
        (file_xml(scan_xml(1, 2, [50, 1], ion=none)), {}, "dia"),
        (file_xml(scan_xml(1, 2, [50, 1]), scan_xml(2, 2, [50, 1], polarity="-")), {}, "mixed-polarity"),
        (file_xml(scan_xml(1, 1, [50, 1])), {}, "no-msms"),
        (file_xml(), {}, "empty"),
    ):
        with pytest.raises(RunError) as caught:
            read_run(raw_run(by_hand(tmp_path, text)), ReadOptions(**options))
        assert caught.value.code == code, str(caught.value)


GOOD = scan_xml(1, 2, [50, 1, 60, 2])
HOSTILE = {
    "doctype": (file_xml(GOOD, prolog="<!DOCTYPE a>"), "malformed", "before the first scan", "document type"),
    "cut": (file_xml(GOOD, GOOD.replace('"1"', '"2"', 1))[:-40], "truncated", "after scan 2", "ends before"),
    "garbage": (file_xml(GOOD.replace("</peaks>", "!</peaks>")), "malformed", "scan 1", "not base64"),
    "lie": (file_xml(scan_xml(1, 2, [50, 1], peaksCount=900)), "malformed", "scan 1", "holds 8 bytes"),
    "great lie": (file_xml(scan_xml(1, 2, [50, 1], peaksCount=10**15)), "too-large", "scan 1", "at most"),
    "no count": (file_xml(scan_xml(1, 2, [50, 1], peaksCount=-1)), "bad-value", "scan 1", "no count"),
    "zlib": (file_xml(GOOD.replace("<peaks", "<peaks compressionType='zlib'")), "malformed", "scan 1", "not zlib"),
    "coding": (file_xml(GOOD.replace("<peaks", "<peaks compressionType='lz4'")), "unknown-format", "scan 1", "lz4"),
    "content": (file_xml(GOOD.replace("m/z-int", "TOF")), "unknown-format", "scan 1", "TOF"),
    "nan": (file_xml(scan_xml(1, 2, [50, float("nan")])), "bad-value", "scan 1", "fragment intensity nan"),
    "negative": (file_xml(scan_xml(1, 2, [-50, 1])), "bad-value", "scan 1", "fragment m/z -50"),
    "precursor": (file_xml(GOOD.replace("200.5", "heavy")), "bad-value", "scan 1", "precursorMz 'heavy'"),
    "time": (file_xml(scan_xml(1, 2, [50, 1], retentionTime="soon")), "bad-value", "scan 1", "retentionTime 'soon'"),
    "level": (file_xml(GOOD.replace('msLevel="2"', 'msLevel="x"')), "bad-value", "scan 1", "msLevel 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_by_name(tmp_path: Path, case: str) -> None:
    text, code, position, message = HOSTILE[case]
    with pytest.raises(RunError) as caught:
        read_run(raw_run(by_hand(tmp_path, text)))
    assert (caught.value.code, caught.value.position) == (code, position), str(caught.value)
    assert message in caught.value.message


WELL = file_xml(scan_xml(1, 1, [200.5, 9], GOOD), scan_xml(4, 2, [70, 1])).encode()
SPLINTERS = (b"<", b'"', b"<scan>", b"</scan>", b"</peaks>", b"<peaks>", b"-1", b"nan", b"PT", b"")


@settings(max_examples=250, suppress_health_check=LAX, deadline=None)
@given(
    at=st.integers(0, len(WELL) - 1),
    length=st.integers(0, 60),
    put=st.one_of(st.binary(max_size=20), st.sampled_from(SPLINTERS)),
)
def test_damaged_anywhere_it_is_spectra_or_a_run_error(tmp_path: Path, at: int, length: int, put: bytes) -> None:
    path = by_hand(tmp_path, WELL[:at] + put + WELL[at + length :])
    ((_, outcome),) = read_runs([raw_run(path, format="mzxml")])
    assert isinstance(outcome, RunSpectra | RunError)
    assert isinstance(outcome, RunSpectra) or "\n" not in str(outcome)
