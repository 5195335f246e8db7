"""Archives that mean harm, damaged files, and how the work is parted."""

from __future__ import annotations

import itertools
import lzma
import re
import zipfile
from collections import Counter

import pytest
from massformer_data import write_library
from massformer_library_inputs import GB, GNPS, read_all, texts, write_tar

from ms2img.errors import Code, RunError, UsageError
from ms2img.massformer.library.assemble import read_part
from ms2img.massformer.library.filters import LibraryRules
from ms2img.massformer.library.reading import BUNDLE, read_piece
from ms2img.massformer.library.sources import Piece, find_inputs, library_name, pieces


@pytest.mark.parametrize("name", ["lib.tar", "lib.tar.gz", "lib.tgz", "lib.tar.xz", "lib.txz", "lib.zip"])
def test_archives_are_read_in_memory_and_lead_nowhere(tmp_path, name):
    folder = tmp_path / "place"
    folder.mkdir()
    contents = [text.encode() for text in texts()]
    names = ["../../escape.txt", "/abs/olute.txt", "deep/a.txt", *(f"lab/{n}.txt" for n in range(len(contents) - 3))]
    members = dict(zip(names, contents, strict=True)) | {"README.md": b"no record", "lab/.hidden.txt": contents[0]}
    path = folder / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
            link = zipfile.ZipInfo("lab/link.txt")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
    else:
        write_tar(path.with_suffix("." + {"tgz": "gz", "txz": "xz"}.get(name[4:], path.suffix[1:])), members,
                  {"lab/link.txt": "/etc/passwd"}).rename(path)  # fmt: skip
    before = set(tmp_path.rglob("*"))
    found = read_all(path)
    assert sorted(each.spectrum_id for each in found) == sorted(re.findall(r"MSBNK-\S+", b"".join(contents).decode()))
    assert {each.library for each in found} == {"lib"}
    assert set(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "escape.txt").exists()


def test_parts_of_a_shared_file_are_the_whole(tmp_path):
    body = "".join(GNPS.replace("CCMSLIB1", f"ID{number}") for number in range(3 * BUNDLE + 5))
    (tmp_path / "lib.mgf").write_text(body)
    parts = [[each.spectrum_id for each in read_piece(piece, GB)] for piece in
             (Piece(find_inputs([str(tmp_path / "lib.mgf")]).sources, index, 3) for index in range(3))]  # fmt: skip
    assert all(parts)
    assert Counter(itertools.chain(*parts)) == Counter(f"ID{number}" for number in range(3 * BUNDLE + 5))


def test_a_bomb_ends_at_the_limit(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"ACCESSION: X\n" + (b"x" * 999 + b"\n") * 8000)
    (tmp_path / "bomb.tar.xz").write_bytes(
        lzma.compress(write_tar(tmp_path / "b.tar", {"a.txt": (b"x" * 999 + b"\n") * 8000}).read_bytes())
    )
    for name in ("bomb.zip", "bomb.tar.xz"):
        source = find_inputs([str(tmp_path / name)]).sources
        with pytest.raises(RunError, match="more comes out") as refused:
            list(read_piece(Piece(source), 1 << 20))
        assert refused.value.code is Code.TOO_LARGE


@pytest.mark.parametrize("name", ["lib.tar.xz", "lib.tar.gz", "lib.zip", "lib.tar"])
def test_a_damaged_archive_is_refused_whole(tmp_path, name):
    content = b"".join(text.encode() for text in texts(20))
    if name == "lib.zip":
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.txt", content)
    else:
        path = write_tar(tmp_path / f"lib.{name.rpartition('.')[2]}", {"a.txt": content})
        path.rename(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"this is no archive " * 60, b"\xfd7zXZ\x00" + bytes(600)):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(RunError) as refused:
            read_all(tmp_path / name)
        assert refused.value.code in (Code.MALFORMED, Code.TRUNCATED)


def test_a_bad_record_file_is_one_bad_record_and_endless_lines_end(tmp_path):
    write_library(tmp_path, energies=(15,))
    good = len(list(tmp_path.iterdir()))
    (tmp_path / "binary.txt").write_bytes(b"ACCESSION: X\n" + bytes(range(256)) * 10)
    (tmp_path / "endless.txt").write_bytes(b"ACCESSION: Y\n" + b"x" * (2 << 20))
    (tmp_path / "notes.txt").write_text("not a record\n")
    (tmp_path / "empty.txt").touch()
    found = read_all(tmp_path)
    assert Counter(type(each).__name__ for each in found) == {"LibraryRecord": good + 1, "Rejected": 1}
    part = read_part(found, LibraryRules())
    assert part.spectra.num_rows == good
    (tmp_path / "endless.msp").write_bytes(b"Name: " + b"x" * (2 << 20))
    with pytest.raises(RunError, match="over 1 MiB"):
        read_all(tmp_path / "endless.msp")


def test_inputs_that_are_none_are_one_line(tmp_path):
    (tmp_path / "a.csv").touch()
    (tmp_path / "a.msp").touch()
    for places, message in [
        ([str(tmp_path / "none.msp")], "no such file"),
        ([str(tmp_path / "a.csv")], "not a library by its name"),
        ([str(tmp_path / "a.msp")], "empty"),
        ([str(tmp_path)], "no library file in this folder"),
        ([str(tmp_path), f"{tmp_path}/"], "named twice"),
    ]:
        with pytest.raises(UsageError, match=message):
            find_inputs(places)


def test_pieces_cover_every_file_once(tmp_path):
    write_library(tmp_path)
    (tmp_path / "big.msp").write_bytes(b"\n" * (5 << 20))
    sources = find_inputs([str(tmp_path)]).sources
    work = pieces(sources, cores=3)
    shared = [piece for piece in work if piece.of > 1]
    assert [(piece.index, piece.of) for piece in shared] == [(0, 3), (1, 3), (2, 3)]
    own = [source.place for piece in work if piece.of == 1 for source in piece.sources]
    assert sorted([*own, str(tmp_path / "big.msp")]) == sorted(source.place for source in sources)
    assert library_name("s3://bucket/some/MassBank.tar.xz") == "MassBank"
