"""One contract for every folder a job writes: on a disk, on an S3 store with conditional writes, and on one without."""

from __future__ import annotations

import io
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_servers import S3Server

from ms2img.errors import JobError, UsageError
from ms2img.io.storage import Folder, folder

STORES = ("local", "s3", "s3_conditional")


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that does not exist yet, on each kind of storage."""
    if request.param == "local":
        return str(tmp_path / "out" / "data set")
    server: S3Server = request.getfixturevalue(request.param)
    return server.url("bucket/out/data set")


def test_nothing_is_made_before_the_first_write(place: str) -> None:
    empty = folder(place)
    assert empty.read("manifest.json") is None
    assert empty.names() == {}
    assert empty.names("images/") == {}
    empty.delete(["gone", "images/gone"])
    with pytest.raises(FileNotFoundError, match="gone"):
        empty.open("gone")
    assert empty.names() == {}


def test_what_is_written_is_read(place: str) -> None:
    out = folder(place)
    out.write("a.json", b"old")
    out.write("a.json", b"new, and longer")
    out.write("images/part 1.parquet", pa.py_buffer(bytes(range(256)) * 1000))
    out.write("empty", b"")
    assert out.read("a.json") == b"new, and longer"
    assert out.read("images/part 1.parquet") == bytes(range(256)) * 1000
    assert out.read("empty") == b""
    assert out.read("images/none") is None
    assert folder(place).read("a.json") == b"new, and longer"


def test_names_are_sorted_and_told_by_their_beginning(place: str) -> None:
    out = folder(place)
    written = ["images/b", "images-2/a", ".staging/x/u", ".staging/y", "images/a", "manifest.json", "hidden.tmp"]
    for name in written:
        out.write(name, name.encode())
    shown = sorted(set(written) - {"hidden.tmp"})
    assert list(out.names()) == shown
    assert list(out.names("images")) == ["images-2/a", "images/a", "images/b"]
    assert list(out.names("images/")) == ["images/a", "images/b"]
    assert list(out.names("images/b")) == ["images/b"]
    assert list(out.names(".staging/")) == [".staging/x/u", ".staging/y"]
    assert {name: status.size for name, status in out.names().items()} == {name: len(name) for name in shown}


def test_a_version_differs_when_the_content_does(place: str) -> None:
    out = folder(place)
    out.write("a", b"one")
    out.write("b", b"b")
    before = out.names()
    assert folder(place).names() == before
    out.write("a", b"two")
    after = out.names()
    assert after["a"].version != before["a"].version
    assert after["b"] == before["b"]


def test_deleting(place: str) -> None:
    out = folder(place)
    for index in range(5):
        out.write(f"x/{index}", b"x")
    out.delete(f"x/{index}" for index in (1, 3, 7))
    assert list(out.names()) == ["x/0", "x/2", "x/4"]
    out.delete([])


def test_parquet_is_read_by_ranges(place: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, size=(400, 500))
    table = pa.table({"id": [f"run_{row}" for row in range(400)], "pixels": values.tolist()})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=40)
    folder(place).write("t.parquet", sink.getvalue())
    with folder(place).open("t.parquet") as source:
        file = pq.ParquetFile(source)
        assert file.read_row_group(3).equals(table.slice(120, 40))
        assert file.read(columns=["id"])["id"].to_pylist() == table["id"].to_pylist()
    with folder(place).open("t.parquet") as source:
        assert pq.read_table(source, filters=[("id", "in", ["run_7"])])["pixels"].to_pylist() == [values[7].tolist()]


def test_create_is_for_the_first_alone(place: str) -> None:
    out = folder(place)
    version = out.create("lease", b"first")
    assert version is not None
    assert out.names()["lease"].version == version
    assert out.create("lease", b"second") is None
    assert out.read("lease") == b"first"
    out.delete(["lease"])
    assert out.create("lease", b"second") is not None
    assert list(out.names()) == ["lease"]


def test_replacing_needs_the_version(place: str) -> None:
    out = folder(place)
    assert out.replace_if("lease", b"x", "no version") is None
    assert out.read("lease") is None
    first = out.create("lease", b"first")
    assert first is not None
    second = out.replace_if("lease", b"second", first)
    assert second is not None
    assert second != first
    assert out.replace_if("lease", b"third", first) is None
    assert out.read("lease") == b"second"
    assert out.replace_if("lease", b"third", out.names()["lease"].version) is not None
    assert out.read("lease") == b"third"
    assert list(out.names()) == ["lease"]


def at_once(n: int, act: Callable[[int], str | None]) -> list[str | None]:
    """What n threads get that act in the same moment."""
    answers: list[str | None] = [None] * n
    gate = threading.Barrier(n)

    def one(index: int) -> None:
        gate.wait()
        answers[index] = act(index)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize("place", ["local", "s3_conditional"], indirect=True)
def test_one_of_many_wins_where_conditions_hold(place: str) -> None:
    out: Folder = folder(place)
    assert out.is_conditional
    for round_number in range(5):
        name = f"lease {round_number}"
        created = at_once(8, lambda index, name=name: out.create(name, f"{index}".encode()))
        [winner] = [index for index, version in enumerate(created) if version is not None]
        assert out.read(name) == f"{winner}".encode()
        held = str(created[winner])
        taken = at_once(8, lambda index, name=name, held=held: out.replace_if(name, f"taken {index}".encode(), held))
        [winner] = [index for index, version in enumerate(taken) if version is not None]
        assert out.read(name) == f"taken {winner}".encode()


def test_a_store_without_conditions_is_found_out(s3: S3Server) -> None:
    assert not folder(s3.url("bucket/out")).is_conditional
    assert s3.keys("bucket") == []


def test_a_store_with_conditions_is_left_as_it_was(s3_conditional: S3Server) -> None:
    assert folder(s3_conditional.url("bucket/out")).is_conditional
    assert s3_conditional.keys("bucket") == []


def test_a_whole_bucket_is_a_folder(s3: S3Server) -> None:
    for location in ("s3://bucket", "s3://bucket/"):
        folder(location).write("a/b", b"x")
        assert list(folder(location).names()) == ["a/b"]
        assert folder(location).read("a/b") == b"x"


def test_more_names_than_one_answer_holds_are_listed_and_deleted(s3: S3Server) -> None:
    client = s3.client()
    names = [f"{index:04d}" for index in range(1001)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: client.put_object(Bucket="bucket", Key=f"out/{name}", Body=b"x"), names))
    out = folder("s3://bucket/out")
    assert list(out.names()) == names
    out.delete(names)
    assert out.names() == {}


def test_a_local_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    out = folder(str(tmp_path / "out"))
    out.write("a", b"old")
    with pytest.raises(TypeError):
        out.write("a", "text, not bytes")  # type: ignore[arg-type]
    assert out.read("a") == b"old"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_write_that_the_system_cuts_off_leaves_the_old_file(tmp_path: Path) -> None:
    out = folder(str(tmp_path / "out"))
    out.write("a", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(JobError, match=f"^{tmp_path}/out/a: cannot be written: file too large$"):
            out.write("a", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert out.read("a") == b"old"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_full_disk_is_one_line_with_what_is_free() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    with pytest.raises(JobError, match=r"cannot be written: no space left on device, \d+ bytes are free; make room"):
        raise _refusal_of_a_full_device()


def _refusal_of_a_full_device() -> Exception:
    from ms2img.io.local import _refusal

    try:
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"x")
    except OSError as error:
        return _refusal(error, Path("/tmp/out/a"), "written")  # noqa: S108
    raise AssertionError("a full device took a byte")


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    out = folder(str(tmp_path / "file"))
    for act in (lambda: out.write("a", b"x"), lambda: out.create("a", b"x"), lambda: out.read("a")):
        with pytest.raises(UsageError) as refusal:
            act()
        assert str(refusal.value).startswith(f"{tmp_path}/file/a: cannot be ")
    folder(str(tmp_path)).write("folder/x", b"x")
    with pytest.raises(UsageError, match="folder: cannot be written"):
        folder(str(tmp_path)).write("folder", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_may_not_be_made_is_refused() -> None:
    if not Path("/sys").is_dir():
        pytest.skip("no folder that refuses everybody")
    with pytest.raises(UsageError, match="^/sys/ms2img/a: cannot be written: (operation not|permission)"):
        folder("/sys/ms2img").write("a", b"x")
