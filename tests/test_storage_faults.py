"""A store that drops, delays, stalls and answers 503: what succeeds in the end, and what is named when it does not."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_proxy import (
    CutUpload,
    Delay,
    Drop,
    DropAnswer,
    Fault,
    FaultProxy,
    Refuse,
    Request,
    Stall,
    always,
    fault_proxy,
    first,
)
from fault_proxy import share as share_of
from s3_servers import SECRET, S3Server

from ms2img.errors import Code, JobError, Ms2imgError, RunError, UsageError
from ms2img.io import storage

CONTENT = np.random.default_rng(0).bytes(700_000)
FAULTS = (Refuse(503, "SlowDown"), Refuse(500, "InternalError"), Drop(), DropAnswer(), DropAnswer(after=1), Delay(0.2))


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before the rclone server that this process talks to, without faults yet."""
    yield from _before(s3, monkeypatch)


@pytest.fixture
def proxy_conditional(s3_conditional: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """As `proxy`, before the server with conditional writes."""
    yield from _before(s3_conditional, monkeypatch)


def _before(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    server.put("bucket/in/a", CONTENT)
    with fault_proxy(server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def read(location: str) -> bytes:
    with storage.open_bytes(location) as handle:
        return handle.read()


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_operation_outlasts_two_faults_in_a_row(proxy: FaultProxy, fault: Fault) -> None:
    out = storage.folder("s3://bucket/out")
    acts: list[tuple[Callable[[], object], object]] = [
        (lambda: read("s3://bucket/in/a"), CONTENT),
        (lambda: storage.status("s3://bucket/in/a").size, len(CONTENT)),
        (lambda: [len(storage.statuses([f"s3://bucket/in/{each}" for each in "abcd"]))], [4]),
        (lambda: storage.require_access(["s3://bucket/in/a"]), None),
        (lambda: out.write("x", CONTENT[:1000]), None),
        (lambda: out.read("x"), CONTENT[:1000]),
        (lambda: list(out.names()), ["x"]),
        (lambda: storage.files_in("s3://bucket/out"), ["s3://bucket/out/x"]),
        (lambda: out.delete(["x"]), None),
        (lambda: list(out.names()), []),
    ]
    for act, expected in acts:
        proxy.plan = first(2, fault)
        assert act() == expected
        assert len(proxy.faults) == 2 or isinstance(fault, Delay | DropAnswer)  # these do not always cost an attempt
        assert proxy.faults
        proxy.requests.clear()


def test_a_table_is_read_through_lost_ranges(proxy: FaultProxy) -> None:
    table = pa.table({"id": [f"run_{row}" for row in range(3000)], "x": np.random.default_rng(1).random(3000)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=300)
    out = storage.folder("s3://bucket/out")
    proxy.plan = share_of(0.3, 7)
    out.write("t.parquet", sink.getvalue())
    for group in range(10):
        with out.open("t.parquet") as source:
            assert pq.ParquetFile(source).read_row_group(group).equals(table.slice(300 * group, 300))
    assert proxy.faults


def test_a_seeded_share_of_faults_changes_nothing(proxy: FaultProxy) -> None:
    out = storage.folder("s3://bucket/out")
    proxy.plan = share_of(0.25, 3)
    written = {f"part-{index:02d}": CONTENT[index : 2000 * (index + 1)] for index in range(15)}
    for name, content in written.items():
        out.write(name, content)
    assert {name: out.read(name) for name in out.names()} == written
    assert {name: read(f"s3://bucket/out/{name}") for name in written} == written
    out.delete(list(written)[::2])
    assert list(out.names()) == list(written)[1::2]
    assert len(proxy.faults) > 5


@pytest.mark.parametrize("fault", [Refuse(503, "SlowDown"), Drop(), Stall(20)], ids=str)
def test_a_store_that_stays_down_is_named_in_one_line_and_in_time(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setenv("MS2IMG_S3_PATIENCE", "0.3")
    proxy.plan = always(fault)
    out, location = storage.folder("s3://bucket/out"), "s3://bucket/in/a"
    cases: list[tuple[Callable[[], object], type[Ms2imgError]]] = [
        (lambda: read(location), RunError),
        (lambda: storage.status(location), RunError),
        (lambda: out.write("x", b"x"), JobError),
        (lambda: out.read("x"), JobError),
        (lambda: out.open("x"), JobError),
        (lambda: out.names(), JobError),
        (lambda: out.delete(["x"]), JobError),
        (lambda: out.create("x", b"x"), JobError),
        (lambda: storage.require_access([location]), UsageError),
        (lambda: storage.files_in("s3://bucket/in"), UsageError),
    ]
    for act, kind in cases if isinstance(fault, Refuse) else cases[:3]:
        proxy.requests.clear()
        with pytest.raises(Ms2imgError) as refusal:
            act()
        assert 1 <= len(proxy.requests) < 40  # pauses grow to a twelfth of the patience, half of it at least
        assert type(refusal.value) is kind
        text = str(refusal.value)
        assert "\n" not in text
        assert SECRET not in text
        assert f"{proxy.url} (AWS_ENDPOINT_URL) gave no good answer for 0.3 s: " in text
        if isinstance(refusal.value, RunError):
            assert (refusal.value.code, refusal.value.path) == (Code.STORAGE, location)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RunError, match="gave no good answer for 0.3 s: no connection"):
        storage.status(location)


def test_many_files_of_a_store_that_is_down_cost_one_wait(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MS2IMG_S3_PATIENCE", "0.3")
    proxy.plan = always(Refuse())
    wanted = [f"s3://bucket/{index}/a" for index in range(400)] + [f"s3://bucket/x/{index}" for index in range(400)]
    found = storage.statuses(wanted)
    assert len(proxy.requests) < 800  # 16 at once ask until patience ends; nobody after them
    assert {(error.code, error.path) for error in found.values() if isinstance(error, RunError)} == {
        (Code.STORAGE, location) for location in wanted
    }


def test_a_store_that_goes_down_in_the_middle_of_a_file(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MS2IMG_S3_PATIENCE", "0.3")
    with storage.open_bytes("s3://bucket/in/a") as handle:
        assert handle.read(10) == CONTENT[:10]
        proxy.plan = always(Refuse())
        with pytest.raises(RunError, match="gave no good answer for 0.3 s: S") as refusal:
            handle.read()
    assert refusal.value.code is Code.STORAGE
    proxy.plan = lambda request: None
    out = storage.folder("s3://bucket/in")
    with out.open("a") as source:
        assert source.read(10) == CONTENT[:10]
        proxy.plan = always(Refuse())
        with pytest.raises(JobError, match="gave no good answer for 0.3 s: S"):
            source.read()


def test_a_store_that_goes_down_in_the_middle_of_a_table(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": np.random.default_rng(1).random(100_000)}), sink)
    out = storage.folder("s3://bucket/out")
    out.write("t.parquet", sink.getvalue())
    monkeypatch.setenv("MS2IMG_S3_PATIENCE", "0.3")
    with out.open("t.parquet") as source:
        file = pq.ParquetFile(source)
        proxy.plan = always(Refuse())
        with pytest.raises(JobError, match="gave no good answer for 0.3 s: S"):
            file.read()


@pytest.mark.parametrize("lost", ["create", "replace"])
def test_a_lost_answer_is_not_taken_for_somebody_else_s_write(proxy_conditional: FaultProxy, lost: str) -> None:
    out = storage.folder("s3://bucket/out")
    assert out.is_conditional
    proxy_conditional.plan = first(1, DropAnswer(), where=is_write) if lost == "create" else always(Delay(0))
    version = out.create("lease", b"owner 1")
    assert version == out.names()["lease"].version
    assert out.create("lease", b"owner 2") is None
    proxy_conditional.plan = first(1, DropAnswer(), where=is_write) if lost == "replace" else always(Delay(0))
    renewed = out.replace_if("lease", b"owner 1, later", str(version))
    assert renewed == out.names()["lease"].version
    assert out.replace_if("lease", b"owner 2", str(version)) is None
    assert out.read("lease") == b"owner 1, later"


def is_write(request: Request) -> bool:
    return request.method == "PUT"


def test_the_trial_of_conditions_is_not_misled_by_faults(
    proxy: FaultProxy, proxy_conditional: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each, is_conditional in ((proxy, False), (proxy_conditional, True)):
        each.plan = first(2, DropAnswer())
        monkeypatch.setenv("AWS_ENDPOINT_URL", each.url)
        assert storage.folder("s3://bucket/tried").is_conditional is is_conditional
        assert each.faults
        assert storage.folder("s3://bucket/tried").names() == {}


def test_an_upload_that_breaks_off_leaves_the_old_object(
    s3: S3Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = storage.folder("s3://bucket/out")
    out.write("big", b"old")
    monkeypatch.setenv("MS2IMG_S3_PATIENCE", "0.3")
    proxy.plan = always(CutUpload())
    for name in ("big", "new"):
        with pytest.raises(JobError, match=f"s3://bucket/out/{name}: .* gave no good answer for 0.3 s"):
            out.write(name, bytes(3_000_000))
    assert (s3.keys("bucket/out"), s3.get("bucket/out/big")) == (["out/big"], b"old")
    proxy.plan = first(2, CutUpload())
    monkeypatch.setenv("MS2IMG_S3_PATIENCE", "6")
    out.write("big", bytes(3_000_000))
    assert s3.get("bucket/out/big") == bytes(3_000_000)


def _write(location: str) -> None:
    storage.folder(location).write("big", bytes(30_000_000))


def test_a_writer_that_is_killed_leaves_the_old_object(
    s3: S3Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.folder("s3://bucket/out").write("big", b"old")
    proxy.requests.clear()
    proxy.plan = always(Delay(60))
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=("s3://bucket/out",))
    writer.start()
    deadline = time.monotonic() + 60
    while not proxy.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.kill()
    writer.join()
    assert [request.method for request in proxy.requests] == ["PUT"]
    assert (s3.keys("bucket/out"), s3.get("bucket/out/big")) == (["out/big"], b"old")
