"""imzML against pyimzML's reader on the standard examples and on what its writer makes; by hand on damaged pairs."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from deepion_imzml import PEAKS, PLACES, edit, write_imzml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyimzml.compression import ZlibCompression
from pyimzml.ImzMLParser import ImzMLParser

from ms2img.deepion.imzml import open_imzml, spectra, unwrapped
from ms2img.deepion.peaks import read_peaks
from ms2img.errors import UsageError

few = settings(deadline=None, max_examples=30)  # no test is timed

EXAMPLES = ("Example_Continuous.imzML", "Example_Processed.imzML")


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    return write_imzml(tmp_path / "a.imzML", PEAKS, PLACES)


def refusal(path: Path, **options: int) -> str:
    """The one line by which a file is refused: when it is opened, or when its spectra are read."""
    with pytest.raises(UsageError) as caught:
        imzml = open_imzml(str(path), **options)
        list(spectra(imzml, range(len(imzml))))
    assert "\n" not in str(caught.value)
    assert str(path.with_suffix("")) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_what_pyimzml_reads(shared: Path, name: str) -> None:
    path = shared / "data/imzml" / name
    oracle, imzml = ImzMLParser(str(path)), open_imzml(str(path))
    reader = oracle.portable_spectrum_reader()
    assert len(imzml) == len(oracle.coordinates) == 9
    with path.with_suffix(".ibd").open("rb") as ibd:
        for row, (mz, intensity) in enumerate(spectra(imzml, range(9))):
            expected_mz, expected = reader.read_spectrum_from_file(ibd, row)
            np.testing.assert_array_equal(mz, expected_mz)
            np.testing.assert_array_equal(intensity, expected)
            assert (imzml.grid.column[row] + 1, imzml.grid.row[row] + 1) == oracle.coordinates[row][:2]
    header = imzml.header
    assert header.mode == name[8:-6].lower()
    assert (header.spectra, header.polarity) == (oracle.spectrum_mode, oracle.polarity) == ("profile", "negative")
    assert header.pixel_size_um == (100.0, 100.0)


def test_spectra_of_both_polarities_are_no_section(pair: Path) -> None:
    """One bin would hold two kinds of ions, and no model or embedding of them could say which."""
    assert open_imzml(str(pair)).header.polarity == "positive"

    def last_negative(text: str) -> str:
        before, _, after = text.rpartition('<referenceableParamGroupRef ref="spectrum1"/>')
        return f'{before}<cvParam cvRef="MS" accession="MS:1000129" name="negative scan"/>{after}'

    edit(pair, last_negative)
    assert "spectra of positive and of negative mode" in refusal(pair)


@pytest.mark.parametrize("name", EXAMPLES)
def test_total_ion_counts_are_those_that_the_file_states(shared: Path, name: str) -> None:
    path = shared / "data/imzml" / name
    stated = re.findall(r'"MS:1000285" name="total ion current" value="([^"]+)"', path.read_text(encoding="latin-1"))
    _, tic = read_peaks(open_imzml(str(path)), range(9), profile=True)
    np.testing.assert_allclose(tic, np.array(stated, dtype=float), rtol=1e-6)


@pytest.mark.parametrize("mode", ["continuous", "processed"])
@pytest.mark.parametrize("types", [(np.float64, np.float32), (np.float32, np.float64), (np.float64, np.int32)])
def test_both_modes_and_all_types(tmp_path: Path, mode: str, types: tuple[type, type]) -> None:
    random = np.random.default_rng(0)
    mz = np.sort(random.uniform(100, 900, 40))
    given_spectra = [(mz, random.integers(0, 1000, 40)) for _ in range(6)]
    places = [(5, 9), (6, 9), (7, 9), (5, 11), (7, 11), (8, 12)]  # a corner far from 1, holes, a ragged edge
    path = tmp_path / "a.imzML"
    write_imzml(path, given_spectra, places, mode=mode, mz_dtype=types[0], intensity_dtype=types[1])
    oracle, imzml = ImzMLParser(str(path)), open_imzml(str(path))
    for row, (found_mz, found) in enumerate(spectra(imzml, range(6))):
        expected_mz, expected = oracle.getspectrum(row)
        np.testing.assert_array_equal(found_mz, expected_mz)
        np.testing.assert_array_equal(found, expected)
    assert imzml.grid.mask.tolist() == [
        [True, True, True, False], [False] * 4, [True, False, True, False], [False, False, False, True],
    ]  # fmt: skip
    assert imzml.header.mode == mode


def test_compressed_arrays(tmp_path: Path) -> None:
    zlibs = {"mz_compression": ZlibCompression(), "intensity_compression": ZlibCompression()}
    path = write_imzml(tmp_path / "a.imzML", PEAKS, PLACES, **zlibs)
    for (mz, intensity), found in zip(PEAKS, spectra(open_imzml(str(path)), range(3)), strict=True):
        np.testing.assert_array_equal(found, [mz, intensity])
    assert "zlib cannot unpack" in refusal(
        edit(path, lambda xml: xml.replace('offset" value="16"', 'offset" value="17"'))
    )


def test_a_compressed_array_is_unpacked_to_its_length_alone(tmp_path: Path) -> None:
    zlibs = {"mz_compression": ZlibCompression(), "intensity_compression": ZlibCompression()}
    path = write_imzml(tmp_path / "a.imzML", [([100.0], [1.0])], [(1, 1)], **zlibs)
    bomb = zlib.compress(bytes(1 << 24))
    ibd = path.with_suffix(".ibd")
    at = ibd.stat().st_size
    ibd.write_bytes(ibd.read_bytes() + bomb)
    edit(path, lambda xml: xml.replace('offset" value="16"', f'offset" value="{at}"', 1))
    edit(path, lambda xml: re.sub(r'(encoded length" value=)"\d+"', rf'\1"{len(bomb)}"', xml, count=1))
    assert "more bytes unpacked; its length says 8" in refusal(path)


def test_unsorted_spectra_are_sorted(tmp_path: Path) -> None:
    path = write_imzml(tmp_path / "a.imzML", [([300.0, 100.0, 200.0], [3.0, 1.0, 2.0])], [(1, 1)])
    np.testing.assert_array_equal(next(spectra(open_imzml(str(path)), [0])), [[100, 200, 300], [1, 2, 3]])


def test_offsets_beyond_four_gibibytes(pair: Path) -> None:
    ibd, at = pair.with_suffix(".ibd"), 5 << 30
    with ibd.open("r+b") as stream:  # a sparse file: it takes no room
        stream.seek(at)
        stream.write(struct.pack("<3d", 111.0, 222.0, 333.0))
    edit(pair, lambda xml: xml.replace('offset" value="16"', f'offset" value="{at}"', 1))
    mz, _ = next(spectra(open_imzml(str(pair)), [0]))
    assert mz.tolist() == [111.0, 222.0, 333.0]


@few
@given(st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=40))
def test_offsets_counted_in_32_signed_bits_are_unwrapped(steps: list[int]) -> None:
    true = np.cumsum([16, *steps])
    wrapped = true.astype(np.uint32).astype(np.int32).astype(np.int64)
    if true[1:].size and true[0] < 2**31:
        np.testing.assert_array_equal(unwrapped(wrapped), true)
    np.testing.assert_array_equal(unwrapped(true), true)


def test_a_section_is_named_where_there_are_several(tmp_path: Path) -> None:
    path = write_imzml(tmp_path / "a.imzML", PEAKS, [(1, 1, 1), (1, 1, 4), (2, 1, 4)])
    assert "2 sections (z = 1, 4)" in refusal(path)
    assert "no section z = 2" in refusal(path, section=2)
    imzml = open_imzml(str(path), section=4)
    assert imzml.grid.mask.tolist() == [[True, True]]
    assert [mz.tolist() for mz, _ in spectra(imzml, range(2))] == [PEAKS[1][0], PEAKS[2][0]]


def test_a_truncated_ibd_is_refused_before_any_work(pair: Path) -> None:
    ibd = pair.with_suffix(".ibd")
    ibd.write_bytes(ibd.read_bytes()[:-1])
    with pytest.raises(
        UsageError, match=r"spectrum 3: its intensity array takes 8 bytes .* \(1 of 3 spectra\).*trunca"
    ):
        open_imzml(str(pair))


def test_an_ibd_truncated_after_it_was_opened(pair: Path) -> None:
    imzml, ibd = open_imzml(str(pair)), pair.with_suffix(".ibd")
    ibd.write_bytes(ibd.read_bytes()[:-1])
    with pytest.raises(UsageError, match="at x 2, y 2: the .ibd file ends inside this spectrum"):
        list(spectra(imzml, range(3)))


def test_halves_that_are_missing_or_of_different_files(pair: Path) -> None:
    ibd = pair.with_suffix(".ibd")
    ibd.write_bytes(bytes(16) + ibd.read_bytes()[16:])
    assert "belongs to another imzML file" in refusal(pair)
    ibd.unlink()
    assert "its other half" in refusal(pair)
    pair.unlink()
    assert "no such file" in refusal(pair)


def test_the_other_half_in_capitals(pair: Path) -> None:
    pair.with_suffix(".ibd").rename(pair.with_suffix(".IBD"))
    assert len(open_imzml(str(pair))) == 3


DAMAGES = {
    "an offset before the file": (r'offset" value="16"', 'offset" value="-16"', "spectrum 1: its m/z array"),
    "an offset far behind it": (r'offset" value="16"', f'offset" value="{10**17}"', "from offset 100000000000000000"),
    "an offset beyond 64 bits": (r'offset" value="16"', f'offset" value="{10**30}"', "no integer of 64 bits"),
    "an offset in words": (r'offset" value="16"', 'offset" value="here"', "'here' is no integer"),
    "no offset": (r'<cvParam[^>]*external offset" value="16"/>', "", "no offset of the m/z array"),
    "a length that lies": (r'array length" value="3"', 'array length" value="2"', "2 m/z values, but 3 intensities"),
    "a length beyond all": (r'array length" value="3"', f'array length" value="{9 * 10**17}"', "an array of 90000000"),
    "a negative length": (r'array length" value="3"', 'array length" value="-3"', "an array of -3 numbers"),
    "no position": (r'<cvParam[^>]*"position x" value="1"/>', "", "no position x"),
    "one place twice": (r'"position y" value="2"', '"position y" value="1"', "spectra 2 and 3 both lie at x 2, y 1"),
    "a place far away": (r'"position x" value="1"', f'"position x" value="{10**17}"', "position of spectrum 1 right"),
    "unknown compression": (r'1000576" name="no comp', '1002312" name="numpress', "of unknown compression"),
    "unknown type": (r"MS:1000523", "MS:9", "of unknown type"),
    "no array": (r"MS:1000514", "MS:9", "no m/z array"),
    "no spectra": (r"(?s)<spectrum .*</spectrum>", "", "without a spectrum"),
    "half a file": (r"(?s)<binaryDataArrayList.*", "", "ends before its imzML does"),
    "another XML": (r"mzML", "mzXML", "starts with <mzXML>"),
    "a document type": (r"<mzML", '<!DOCTYPE x [<!ENTITY a "b">]><mzML', "declares a document type"),
    "no XML": (r"(?s).+", "HELLO", "not well-formed"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damages_are_named(pair: Path, damage: str) -> None:
    pattern, replacement, words = DAMAGES[damage]
    count = 0 if damage in ("another XML", "unknown compression", "unknown type") else 1
    edit(pair, lambda xml: re.sub(pattern, replacement, xml, count=count))
    assert words in refusal(pair)


@pytest.mark.parametrize(("value", "words"), [(np.nan, "an m/z that is"), (-1.0, "an m/z"), (np.inf, "an m/z")])
def test_values_that_are_no_mz(tmp_path: Path, value: float, words: str) -> None:
    path = write_imzml(tmp_path / "a.imzML", [([100.0, value], [1.0, 1.0])], [(1, 1)])
    assert words in refusal(path)


def test_intensities_that_are_none(tmp_path: Path) -> None:
    path = write_imzml(tmp_path / "a.imzML", [([100.0], [1.0]), ([100.0], [np.nan])], [(1, 1), (2, 1)])
    assert "at x 2, y 1: an intensity that is not a finite number" in refusal(path)
    path = write_imzml(tmp_path / "b.imzML", [([100.0], [1e300])], [(1, 1)], intensity_dtype=np.float64)
    with pytest.raises(UsageError, match="beyond what float32 holds"):
        read_peaks(open_imzml(str(path)), range(1), profile=False)
