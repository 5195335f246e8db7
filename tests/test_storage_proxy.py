"""The fault proxy itself: what passes is unchanged, and each fault is what it says."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from fault_proxy import Drop, DropAnswer, Refuse, always, fault_proxy, first, share
from s3_servers import S3Server


def test_signed_requests_pass_unchanged(s3: S3Server) -> None:
    with fault_proxy(s3.endpoint) as proxy:
        behind = s3.through(proxy.url)
        content = bytes(range(256)) * 5000
        behind.put("bucket/a b/ü.bin", content)
        assert s3.get("bucket/a b/ü.bin") == content == behind.get("bucket/a b/ü.bin")
        assert behind.keys("bucket") == ["a b/ü.bin"]
        assert not proxy.faults
        assert {request.method for request in proxy.requests} == {"PUT", "GET"}


def test_faults_are_what_they_say(s3: S3Server) -> None:
    s3.put("bucket/a", b"0123456789")
    with fault_proxy(s3.endpoint, always(Refuse(503, "SlowDown"))) as proxy:
        client = s3.through(proxy.url).client()
        with pytest.raises(ClientError, match="SlowDown"):
            client.get_object(Bucket="bucket", Key="a")
        proxy.plan = always(DropAnswer(after=4))
        with pytest.raises(HTTPClientError):
            client.get_object(Bucket="bucket", Key="a")["Body"].read()
        proxy.plan = first(2, Drop(), where=lambda request: request.method == "GET")
        before = len(proxy.requests)
        assert client.get_object(Bucket="bucket", Key="a")["Body"].read() == b"0123456789"
        assert [request.fault for request in proxy.requests[before:]] == [Drop(), Drop(), None]
        proxy.plan = always(DropAnswer())
        with pytest.raises(HTTPClientError):
            client.put_object(Bucket="bucket", Key="b", Body=b"there all the same")
    assert s3.get("bucket/b") == b"there all the same"


def test_a_share_is_seeded() -> None:
    from fault_proxy import Request

    def drawn(seed: int) -> list[object]:
        plan = share(0.3, seed)
        return [plan(Request("GET", "/")) for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 30 < sum(fault is not None for fault in drawn(1)) < 90
