"""Content and text of a file: gzip, encodings, line ends, and the bounds on both, against the standard library."""

from __future__ import annotations

import gzip
import io
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ms2img.errors import RunError
from ms2img.io import gunzip as gunzip_module
from ms2img.io.text import LINE_BYTES, open_content, open_text

QUICK = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
TEXT = "BEGIN IONS\nTITLE=Günther\nPEPMASS=100\n50 1\nEND IONS\n"


def write(folder: Path, content: bytes, name: str = "run.mgf") -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def content_of(path: str) -> bytes:
    with open_content(path) as handle:
        return handle.read()


def text_of(path: str) -> str:
    with open_text(path) as handle:
        return handle.read()


def refusal(path: str) -> tuple[str, str, str]:
    """Code, message and position with which reading a file line by line is refused."""
    with pytest.raises(RunError) as caught, open_text(path) as handle:
        for _ in handle:
            pass
    assert caught.value.path == path
    assert "\n" not in caught.value.message
    return caught.value.code, caught.value.message, caught.value.position


@QUICK
@given(
    members=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    padding=st.integers(0, 20),
    repeat=st.sampled_from([1, 1, 1000]),
)
@example(members=[b"", b"a"], padding=3, repeat=1)
def test_every_member_of_a_gzip_file_is_read(tmp_path: Path, members: list[bytes], padding: int, repeat: int) -> None:
    members = [member * repeat for member in members]
    whole = b"".join(members)
    path = write(tmp_path, b"".join(gzip.compress(member) + bytes(padding) for member in members))
    if not whole:
        with pytest.raises(RunError, match="holds nothing"):
            content_of(path)
    elif whole.startswith(b"\x1f\x8b"):
        with pytest.raises(RunError, match="gzip within gzip"):
            content_of(path)
    else:
        assert content_of(path) == whole
        with open_content(path) as handle:  # in small pieces
            assert b"".join(iter(lambda: handle.read(7), b"")) == whole


def test_chunks_stay_small_however_much_is_packed(tmp_path: Path) -> None:
    with Path(write(tmp_path, gzip.compress(b"a\n" * 1_000_000))).open("rb") as stored:
        sizes = [len(chunk) for chunk in gunzip_module.gunzip(stored, "x")]
    assert sum(sizes) == 2_000_000
    assert max(sizes) <= gunzip_module.CHUNK_BYTES


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    plain = TEXT.encode()
    assert content_of(write(tmp_path, plain, "a.mgf.gz")) == plain
    assert content_of(write(tmp_path, gzip.compress(plain), "a.mgf")) == plain
    assert text_of(write(tmp_path, gzip.compress(plain), "a.mgf")) == TEXT


def test_a_gzip_file_cut_anywhere_is_truncated(tmp_path: Path) -> None:
    stored = gzip.compress(TEXT.encode()) + gzip.compress(b"more\n" * 50)
    first = len(gzip.compress(TEXT.encode()))
    for size in range(2, len(stored)):
        path = write(tmp_path, stored[:size])
        if size == first:
            assert text_of(path) == TEXT
        else:
            assert refusal(path)[0] == "truncated", size


def test_a_damaged_gzip_file_never_gives_other_content(tmp_path: Path) -> None:
    whole = (TEXT * 30).encode()
    stored = gzip.compress(whole)
    for place in range(10, len(stored)):  # behind the header, whose name and time may be anything
        damaged = bytearray(stored)
        damaged[place] ^= 0x10
        code = refusal(write(tmp_path, bytes(damaged)))[0]
        assert code in ("malformed", "truncated"), place
    assert refusal(write(tmp_path, stored + b"and more"))[0] == "malformed"


def test_gzip_within_gzip(tmp_path: Path) -> None:
    code, message, _ = refusal(write(tmp_path, gzip.compress(gzip.compress(TEXT.encode()))))
    assert (code, message) == ("malformed", "gzip within gzip; unpack it once")


def test_a_bomb_is_stopped_and_what_is_merely_well_compressed_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gunzip_module, "BOMB_BYTES", 1 << 20)
    lines = b"0\t" * 511 + b"0\n"
    bomb = write(tmp_path, gzip.compress(lines * 4000))
    code, message, _ = refusal(bomb)
    assert code == "too-large"
    assert "decompression bomb" in message
    monkeypatch.setattr(gunzip_module, "BOMB_RATIO", 1033)  # more than deflate can do
    assert len(content_of(bomb)) == 4000 * len(lines)
    monkeypatch.setattr(gunzip_module, "BOMB_RATIO", 200)
    monkeypatch.setattr(gunzip_module, "BOMB_BYTES", 1 << 22)
    assert len(content_of(bomb)) == 4000 * len(lines)  # 4 MB do no harm


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("is_gzip", [False, True])
def test_encodings_and_line_ends_give_one_text(tmp_path: Path, encoding: str, line_end: str, is_gzip: bool) -> None:
    text = TEXT * 4000 + "\U0001f9ea µ"  # over several chunks, ending outside the basic plane
    stored = (("\ufeff" if encoding.endswith("e") else "") + text.replace("\n", line_end)).encode(encoding)
    assert text_of(write(tmp_path, gzip.compress(stored) if is_gzip else stored)) == text


@QUICK
@given(text=st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), min_size=1, max_size=200),
       encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))  # fmt: skip
def test_any_text_has_the_lines_the_standard_library_sees(tmp_path: Path, text: str, encoding: str) -> None:
    with open_text(write(tmp_path, text.encode(encoding))) as handle:
        assert list(handle) == list(io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


def test_bytes_of_latin1_among_utf8(tmp_path: Path) -> None:
    assert text_of(write(tmp_path, b"G\xfcnther G\xc3\xbcnther \xb5\n")) == "Günther Günther µ\n"


@pytest.mark.parametrize(
    ("content", "code", "position"),
    [
        ("ab\ncd".encode("utf-16-le"), "bad-encoding", "line 1"),  # without a byte-order mark
        ("ab\ncd".encode("utf-16-be"), "bad-encoding", "line 1"),
        ("ab\ncd".encode("utf-32"), "bad-encoding", "line 1"),
        (b"a\nb\nc\0d\n", "bad-encoding", "line 3"),
        (b"a\r\nb\r\nc\0d\n", "bad-encoding", "line 3"),
        (b"a\rb\rc\0d\n", "bad-encoding", "line 3"),
        (b"1 2\n" * 100_000 + b"\0" * 4096 + b"1 2\n" * 1000, "bad-encoding", "line 100001"),  # a hole in a copied file
        ("ab\ncd".encode("utf-16") + b"x", "bad-encoding", ""),  # half a character
        (b"\xff\xfe\x00\xd8a\x00", "bad-encoding", ""),  # half a surrogate pair
        (b"PK\x03\x04\x14\x00", "bad-encoding", "line 1"),
        (b"\x1f\x8b", "truncated", ""),
        (gzip.compress(b"a\n\0", mtime=0), "bad-encoding", "line 2"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, code: str, position: str) -> None:
    found, _, where = refusal(write(tmp_path, content))
    assert (found, where) == (code, position)


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_line_without_end_is_refused_by_its_number(tmp_path: Path, line_end: bytes, is_gzip: bool) -> None:
    long = random.Random(1).randbytes(LINE_BYTES * 5 // 8).hex().encode()  # 10 MB, and no bomb  # noqa: S311
    body = line_end.join([b"a", b"b", long, b"d"])
    code, message, position = refusal(write(tmp_path, gzip.compress(body, 1) if is_gzip else body))
    assert (code, position) == ("too-large", "line 3")
    assert "8 MiB" in message


def test_a_line_of_the_longest_kind_is_read(tmp_path: Path) -> None:
    header = b"\t".join(b"run_%06d" % number for number in range(700_000))  # 7.7 MB
    assert text_of(write(tmp_path, b"a\n" + header + b"\nb\n")) == f"a\n{header.decode()}\nb\n"


def test_an_error_of_the_system_is_the_runs(tmp_path: Path) -> None:
    for path, code in ((tmp_path, "unreadable"), (tmp_path / "no", "not-found"), ("/dev/zero", "unreadable")):
        with pytest.raises(RunError) as caught:
            text_of(str(path))
        assert caught.value.code == code


def test_a_gzip_header_with_name_and_comment(tmp_path: Path) -> None:
    path = tmp_path / "named.gz"
    with gzip.GzipFile("inner name.mgf", "wb", fileobj=path.open("wb")) as handle:
        handle.write(TEXT.encode())
    assert text_of(str(path)) == TEXT
    raw = zlib.compressobj(wbits=-15)
    assert refusal(write(tmp_path, b"\x1f\x8b" + raw.compress(b"a") + raw.flush()))[0] in ("malformed", "truncated")
