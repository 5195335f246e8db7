"""Hostile input by name: each case with the code it is refused by, or the table it must give all the same."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hostile_runs import SOUND, TEXT, outcome, read

from fuzz import seeds
from fuzz.contract import COLUMNS
from ms2img.errors import Code, RunError, UsageError


@pytest.mark.parametrize("format_name", SOUND)
class TestEveryFormat:
    def test_gzip_gives_the_same_table(self, tmp_path: Path, format_name: str) -> None:
        plain = read(tmp_path, format_name, SOUND[format_name])
        assert isinstance(plain, pa.Table)
        stored = gzip.compress(SOUND[format_name])
        assert read(tmp_path, format_name, stored).equals(plain)
        assert read(tmp_path, format_name, stored, name="run.mzML").equals(plain)  # whatever it is called

    def test_gzip_cut_off(self, tmp_path: Path, format_name: str) -> None:
        stored = gzip.compress(SOUND[format_name])
        for size in (5, len(stored) // 2, len(stored) - 1):
            assert read(tmp_path, format_name, stored[:size]) == "truncated"
            assert read(tmp_path, format_name, stored[:size], format=format_name) == "truncated"

    def test_gzip_damaged(self, tmp_path: Path, format_name: str) -> None:
        stored = bytearray(gzip.compress(SOUND[format_name]))
        stored[-6] ^= 1  # the checksum
        assert read(tmp_path, format_name, bytes(stored)) == "malformed"
        assert read(tmp_path, format_name, gzip.compress(gzip.compress(SOUND[format_name]))) == "malformed"
        assert read(tmp_path, format_name, b"\x1f\x8b" + SOUND[format_name]) == "malformed"

    def test_line_ends_give_one_table(self, tmp_path: Path, format_name: str) -> None:
        content = SOUND[format_name]
        expected = read(tmp_path, format_name, content)
        assert isinstance(expected, pa.Table)
        for line_end in (b"\r\n", b"\r"):
            assert read(tmp_path, format_name, content.replace(b"\n", line_end)).equals(expected), line_end

    def test_byte_order_marks(self, tmp_path: Path, format_name: str) -> None:
        text = SOUND[format_name].decode("latin-1").replace("ISO-8859-1", "UTF-8")
        expected = read(tmp_path, format_name, text.encode())
        assert isinstance(expected, pa.Table)
        assert read(tmp_path, format_name, text.encode("utf-8-sig")).equals(expected)
        for encoding, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
            wide = text.replace('encoding="UTF-8"', 'encoding="UTF-16"').encode(encoding)
            assert read(tmp_path, format_name, mark + wide).equals(expected)
            assert read(tmp_path, format_name, wide) == "bad-encoding"

    def test_a_name_is_no_file(self, tmp_path: Path, format_name: str) -> None:
        folder = tmp_path / "x.mzML"
        folder.mkdir()
        os.mkfifo(tmp_path / "pipe.mzML")
        (tmp_path / "link.mzML").symlink_to(tmp_path / "gone.mzML")
        (tmp_path / "loop.mzML").symlink_to(tmp_path / "loop.mzML")
        (tmp_path / "empty.mzML").touch()
        for name, code in (
            ("x.mzML", "unreadable"),
            ("pipe.mzML", "unreadable"),
            ("link.mzML", "not-found"),
            ("loop.mzML", "unreadable"),
            ("empty.mzML", "empty"),
            ("/dev/zero", "unreadable"),
            ("a\0b", "not-found"),
        ):
            result = outcome(tmp_path / name, format=format_name)
            assert isinstance(result, RunError)
            assert result.code == code, name

    def test_only_a_part(self, tmp_path: Path, format_name: str) -> None:
        """Cut off anywhere, a file is refused, or gives a part of its own table."""
        whole = read(tmp_path, format_name, SOUND[format_name]).to_pylist()
        codes = set()
        for size in range(1, len(SOUND[format_name]), 7):
            found = read(tmp_path, format_name, SOUND[format_name][:size], format=format_name)
            if isinstance(found, str):
                codes.add(found)
            else:
                assert [row["spectrum_id"] for row in found.to_pylist()] == [
                    row["spectrum_id"] for row in whole[: len(found)]
                ]
        assert "truncated" in codes


@pytest.mark.parametrize("format_name", TEXT)
def test_text_with_holes(tmp_path: Path, format_name: str) -> None:
    content = SOUND[format_name]
    assert read(tmp_path, format_name, content + b"\0" * 4096) == "bad-encoding"
    assert read(tmp_path, format_name, content[:20] + b"\0" + content[20:]) == "bad-encoding"


# What no instrument measured, at every place of a format where a number matters.
IMPOSSIBLE = ["NaN", "-1", "inf", "-inf", "1e400", "1e999", "-0.5"]


@pytest.mark.parametrize("number", IMPOSSIBLE)
@pytest.mark.parametrize(
    ("format_name", "before", "sound"),
    [
        ("mgf", "PEPMASS=", "445.12"),
        ("mgf", "445.12 ", "15000"),
        ("mgf", "", "50.5"),
        ("mgf", "100.25 ", "3.5e2"),
        ("msp", "PrecursorMZ: ", "195.0877"),
        ("msp", "Intensity: ", "5000"),
        ("msp", "", "110.07"),
        ("msp", "138.066\t", "999"),
        ("msdial-peaklist", "\t", "195.0877"),
        ("msdial-peaklist", "\t", "5000"),
        ("msdial-peaklist", "\t", "110.07"),
        ("msdial-peaklist", "110.07:", "12"),
        ("msdial-alignment", "\t", "200.1"),
        ("msdial-alignment", "\t", "100.5"),
        ("msdial-alignment", "100.5:", "5"),
        ("msdial-alignment", "150.25:7\t", "3"),
        ("mzml", '"MS:1000744" value="', "195.0877"),
        ("mzml", '"MS:1000042" value="', "1500.5"),
        ("mzxml", ">", "195.0877"),
        ("mzxml", 'precursorIntensity="', "900"),
    ],
)
def test_impossible_numbers(tmp_path: Path, format_name: str, before: str, sound: str, number: str) -> None:
    old, new = (before + sound).encode(), (before + number).encode()
    assert SOUND[format_name].count(old) >= 1
    assert read(tmp_path, format_name, SOUND[format_name].replace(old, new, 1)) == "bad-value"


def test_ids_that_repeat(tmp_path: Path) -> None:
    """Within one run several scans may share an id; where an id joins two files, or names a column, it may not."""
    for format_name, once in (("mgf", b"SCANS=2"), ("msp", b"NAME: unknown"), ("mzml", b'id="scan=5"')):
        twice = {"mgf": b"SCANS=1", "msp": b"Name: Caffeine", "mzml": b'id="scan=2"'}[format_name]
        assert once in SOUND[format_name]
        found = read(tmp_path, format_name, SOUND[format_name].replace(once, twice))
        assert found.num_rows == read(tmp_path, format_name, SOUND[format_name]).num_rows
    columns = SOUND["msdial-alignment"].replace(b"\ttwo\t", b"\tone\t")
    assert read(tmp_path, "msdial-alignment", columns) == "bad-header"


def pair(folder: Path, mgf: bytes, table: bytes) -> pa.Table | str:
    (folder / "quant.csv").write_bytes(table)
    (folder / "run.mgf").write_bytes(mgf)
    result = outcome(folder / "run.mgf", column=COLUMNS["quant"][0], quant_path=str(folder / "quant.csv"))
    return str(result.code) if isinstance(result, RunError) else result.table


def test_a_pair_with_ids_that_repeat(tmp_path: Path) -> None:
    assert pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT).num_rows == 2
    assert pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT.replace(b"\n3,", b"\n1,")) == "bad-value"
    assert pair(tmp_path, seeds.PAIR_MGF.replace(b"SCANS=2", b"SCANS=1"), seeds.QUANT) == "bad-value"
    assert pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT.replace(b"b.mzML", b"a.mzML")) == "bad-header"
    assert pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT.replace(b"best ion", b"row m/z")) == "bad-header"


class TestDecimalCommas:
    """A table that a spreadsheet with decimal commas saved again."""

    def test_semicolons_and_commas_give_the_table_of_commas_and_points(self, tmp_path: Path) -> None:
        expected = pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT)
        german = pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT_GERMAN)
        assert german.equals(expected)
        swiss = seeds.QUANT_GERMAN.replace(b",", b".")  # semicolons, but points
        assert pair(tmp_path, seeds.PAIR_MGF, swiss).equals(expected)
        quoted = seeds.QUANT_GERMAN.replace(b"row ID;", b'"row ID";')
        assert pair(tmp_path, seeds.PAIR_MGF, quoted).equals(expected)

    def test_two_decimal_marks_are_refused_at_the_second(self, tmp_path: Path) -> None:
        """ "7.500" is 7.5 or 7500; the file does not say which."""
        (tmp_path / "quant.csv").write_bytes(seeds.QUANT_GERMAN.replace(b";10;0\r", b";7.500;0\r"))
        (tmp_path / "run.mgf").write_bytes(seeds.PAIR_MGF)
        result = outcome(tmp_path / "run.mgf", column=COLUMNS["quant"][0], quant_path=str(tmp_path / "quant.csv"))
        assert isinstance(result, RunError)
        assert (result.code, result.position) == ("bad-value", "line 2")
        assert "thousands separators" in result.message
        assert pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT_GERMAN.replace(b"445,12", b"4.45,12")) == "bad-value"

    def test_a_decimal_comma_where_commas_part_the_cells(self, tmp_path: Path) -> None:
        assert pair(tmp_path, seeds.PAIR_MGF, seeds.QUANT.replace(b"445.12", b"445,12")) == "bad-value"
        (tmp_path / "run").write_bytes(SOUND["msdial-peaklist"].replace(b"195.0877", b"195,0877"))
        result = outcome(tmp_path / "run")
        assert isinstance(result, RunError)
        assert "write the decimal sign as a point" in result.message


def test_a_message_quotes_no_terminal_command(tmp_path: Path) -> None:
    for hostile in ("\x1b[2J", "\x85", "\u2028", "\x0b", "\x9b31m"):
        (tmp_path / "run").write_bytes(SOUND["msdial-peaklist"].replace(b"195.0877", f"1{hostile}2".encode()))
        result = outcome(tmp_path / "run")
        assert isinstance(result, RunError)
        assert result.code == "bad-value"
        assert hostile not in str(result)
        assert str(result).isprintable()
    assert str(RunError(Code.BAD_VALUE, "m", path="a\nb", position="c\x1bd")).isprintable()
    assert str(UsageError("a\nb")) == "a\ufffdb"
