"""Reading from a real S3 server: presence, listings and ranges."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from fault_proxy import fault_proxy
from s3_servers import S3Server, use

from ms2img.errors import Code, RunError
from ms2img.io import storage
from ms2img.io.location import absolute, bucket_and_key, file_name, join, parent, suffix


def noise(seed: int, size: int) -> bytes:
    """Bytes that no compression and no repetition can imitate."""
    return np.random.default_rng(seed).bytes(size)


@pytest.mark.parametrize(
    ("location", "parts", "folder", "name", "ending"),
    [
        ("s3://b/x/run 1.mzML.gz", ("b", "x/run 1.mzML.gz"), "s3://b/x", "run 1.mzML.gz", ".gz"),
        ("s3://b/s.CSV", ("b", "s.CSV"), "s3://b", "s.CSV", ".csv"),
        ("s3://b/x/", ("b", "x/"), "s3://b", "x", ""),
        ("s3://b", ("b", ""), "s3://b", "", ""),
        ("s3://b/a//c.x", ("b", "a//c.x"), "s3://b/a", "c.x", ".x"),
    ],
)
def test_locations(location: str, parts: tuple[str, str], folder: str, name: str, ending: str) -> None:
    assert bucket_and_key(location) == parts
    assert (parent(location), file_name(location), suffix(location)) == (folder, name, ending)
    assert absolute(location) == location
    assert storage.is_remote(location)
    assert join(folder, "new", "x") == f"{folder}/new/x"


def test_status_of_one_object(s3: S3Server) -> None:
    s3.put("bucket/runs/a.mgf", b"BEGIN IONS\n")
    s3.put("bucket/runs/empty", b"")
    found = storage.status("s3://bucket/runs/a.mgf")
    assert found.size == 11
    s3.put("bucket/runs/a.mgf", b"BEGIN IONZ\n")
    assert storage.status("s3://bucket/runs/a.mgf").version != found.version
    for location, code in (
        ("s3://bucket/runs/none.mgf", Code.NOT_FOUND),
        ("s3://bucket/runs/empty", Code.EMPTY),
        ("s3://bucket/runs", Code.NOT_FOUND),
        ("s3://bucket/runs/", Code.UNREADABLE),
        ("s3://bucket", Code.UNREADABLE),
        ("s3:///x", Code.UNREADABLE),
        ("s3://nobody-has-this/x", Code.STORAGE),
    ):
        for ask in (storage.status, lambda each: storage.open_bytes(each).__enter__()):
            with pytest.raises(RunError) as refusal:
                ask(location)
            assert (refusal.value.code, refusal.value.path) == (code, location)
            assert "\n" not in refusal.value.message


def test_statuses_agree_with_status_in_few_requests(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(60):
        s3.put(f"bucket/runs/run_{index}.mgf", b"x" * (index + 1))
    s3.put("bucket/runs/deeper/run_1.mgf", b"deep")
    s3.put("bucket/runs/run_empty.mgf", b"")
    s3.put("bucket/alone/a.mgf", b"alone")
    wanted = [f"s3://bucket/runs/run_{index}.mgf" for index in (*range(40), 99)]
    wanted += ["s3://bucket/runs/run_empty.mgf", "s3://bucket/alone/a.mgf", "s3://bucket/none/a.mgf", wanted[0]]
    with fault_proxy(s3.endpoint) as proxy:
        use(s3.through(proxy.url), monkeypatch)
        found = storage.statuses(wanted)
        assert len(proxy.requests) <= 5  # one listing of runs/, two files by name, why one of them is missing
    use(s3, monkeypatch)
    assert list(found) == wanted[:-1]
    for location, answer in found.items():
        if isinstance(answer, RunError):
            with pytest.raises(RunError) as alone:
                storage.status(location)
            assert (answer.code, answer.path) == (alone.value.code, location)
        else:
            assert answer == storage.status(location)
    assert sum(isinstance(answer, RunError) for answer in found.values()) == 3


def test_one_bad_bucket_says_nothing_of_the_others(s3: S3Server) -> None:
    s3.put("bucket/a/1", b"x")
    for index in range(5):
        s3.put(f"bucket/many/{index}", b"x")
    good = ["s3://bucket/a/1", *(f"s3://bucket/many/{index}" for index in range(5))]
    bad = ["s3://no-bucket/a/1", *(f"s3://no-bucket/many/{index}" for index in range(5))]
    found = storage.statuses([*bad, *good])
    assert [getattr(found[each], "size", None) for each in good] == [1] * 6
    assert [getattr(found[each], "code", None) for each in bad] == [Code.STORAGE] * 6
    assert {getattr(found[each], "path", None) for each in bad} == set(bad)


def test_statuses_of_both_kinds(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    s3.put("bucket/a", b"abcd")
    wanted = [str(tmp_path / "a"), "s3://bucket/a", str(tmp_path / "b")]
    found = storage.statuses(wanted)
    assert list(found) == wanted
    assert [getattr(found[each], "size", None) for each in wanted] == [3, 4, None]


def test_a_folder_of_many_is_not_listed_for_few(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import ms2img.io.s3.status as s3_status

    for index in range(12):
        s3.put(f"bucket/many/{index:02d}", b"x")
    page = s3_status.pages

    def pages_of_one(*arguments: object, **options: object) -> object:
        for content in page(*arguments, **options):  # type: ignore[arg-type]
            for key in sorted(content):
                yield {key: content[key]}

    monkeypatch.setattr(s3_status, "pages", pages_of_one)
    wanted = [f"s3://bucket/many/{index}" for index in ("00", "05", "11", "zz")]
    found = storage.statuses(wanted)
    assert [getattr(answer, "size", None) for answer in found.values()] == [1, 1, 1, None]


def test_bytes_are_those_of_the_object(s3: S3Server) -> None:
    content = noise(1, 3_000_000)
    s3.put("bucket/a b/ü.bin", content)
    with storage.open_bytes("s3://bucket/a b/ü.bin") as handle:
        assert handle.peek(100)[:100] == content[:100]  # type: ignore[attr-defined]
        assert handle.read(10) == content[:10]
        assert handle.seek(-5, io.SEEK_END) == len(content) - 5
        assert handle.read() == content[-5:]
        assert handle.read(1) == b""
        assert handle.seek(2_500_000) == 2_500_000
        assert handle.read(300_000) == content[2_500_000:2_800_000]
        assert handle.seek(-100, io.SEEK_CUR) == 2_799_900
        assert handle.read(7) == content[2_799_900:2_799_907]
        handle.seek(0)
        assert handle.read() == content


def test_a_head_costs_a_head_and_a_whole_file_few_ranges(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content = noise(2, 20_000_000)
    s3.put("bucket/big", content)
    with fault_proxy(s3.endpoint) as proxy:
        use(s3.through(proxy.url), monkeypatch)
        with storage.open_bytes("s3://bucket/big") as handle:
            assert handle.read(50) == content[:50]
        assert [request.method for request in proxy.requests] == ["HEAD", "GET"]
        proxy.requests.clear()
        with storage.open_bytes("s3://bucket/big") as handle:
            assert b"".join(iter(lambda: handle.read(100_000), b"")) == content
        assert len(proxy.requests) < 14  # 64 kB, 128 kB, ... 8 MB
        proxy.requests.clear()
        with storage.open_bytes("s3://bucket/big") as handle:
            handle.seek(19_999_000)
            assert handle.read() == content[19_999_000:]
        assert len(proxy.requests) == 2


def test_gzip_reads_through_it(s3: S3Server) -> None:
    lines = [f"{index} {index * index}\n" for index in range(200_000)]
    s3.put("bucket/x.gz", gzip.compress("".join(lines).encode()))
    with storage.open_bytes("s3://bucket/x.gz") as handle, gzip.open(handle, "rt") as text:
        assert list(text) == lines


def test_an_object_that_vanishes_is_that_run_s_error(s3: S3Server) -> None:
    s3.put("bucket/a", noise(3, 1_000_000))
    with pytest.raises(RunError) as refusal, storage.open_bytes("s3://bucket/a") as handle:
        handle.read(10)
        s3.client().delete_object(Bucket="bucket", Key="a")
        handle.read()
    assert refusal.value.code is Code.NOT_FOUND
