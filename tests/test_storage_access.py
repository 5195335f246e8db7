"""Who may use the store and from where: keys, settings, profiles, processes, and how long a store is asked."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fault_proxy import Fault, Refuse, Request, always, fault_proxy
from s3_servers import KEY, SECRET, S3Server, use

from ms2img.errors import Code, Ms2imgError, RunError, UsageError
from ms2img.io import storage
from ms2img.io.patience import Patience


def test_one_who_may_read_but_not_list(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [s3.put(f"bucket/many/{index}", b"x") for index in range(5)]

    def no_listing(request: Request) -> Fault | None:
        return Refuse(403, "AccessDenied") if "list-type" in request.path else None

    with fault_proxy(s3.endpoint, no_listing) as proxy:
        use(s3.through(proxy.url), monkeypatch)
        storage.require_access(wanted)
        assert [getattr(answer, "size", None) for answer in storage.statuses(wanted).values()] == [1] * 5
        proxy.plan = always(Refuse(403, "AccessDenied"))
        with pytest.raises(UsageError, match=r"^s3://bucket: .* denies access; .* \[AccessDenied\]$"):
            storage.require_access(wanted)
        assert {getattr(answer, "code", None) for answer in storage.statuses(wanted).values()} == {Code.STORAGE}


def test_another_region_is_named(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_proxy(s3.endpoint, always(Refuse(400, "AuthorizationHeaderMalformed"))) as proxy:
        use(s3.through(proxy.url), monkeypatch)
        with pytest.raises(UsageError, match="expects another region; set AWS_REGION to the bucket's"):
            storage.require_access(["s3://bucket/a"])


def every_refusal(location: str) -> list[Ms2imgError]:
    """What each way to the store says that cannot succeed."""
    acts = (
        lambda: storage.require_access([location]), lambda: storage.status(location),
        lambda: storage.open_bytes(location).__enter__(), lambda: storage.files_in(location),
        lambda: storage.is_folder(location), lambda: storage.folder(location).write("x", b"x"),
        lambda: storage.folder(location).read("x"), lambda: storage.folder(location).names(),
        lambda: storage.folder(location).create("x", b"x"), lambda: storage.folder(location).delete(["x"]),
        lambda: storage.folder(location).open("x"),
    )  # fmt: skip
    refusals: list[Ms2imgError] = [
        answer
        for answer in storage.statuses([f"{location}{index}" for index in range(5)]).values()
        if isinstance(answer, RunError)
    ]
    assert len(refusals) == 5
    for act in acts:
        with pytest.raises(Ms2imgError) as refusal:
            act()
        refusals.append(refusal.value)
    return refusals


@pytest.mark.parametrize(
    ("changed", "location", "says"),
    [
        ({"AWS_SECRET_ACCESS_KEY": SECRET + "x"}, "s3://bucket/a", "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": KEY + "x"}, "s3://bucket/a", "InvalidAccessKeyId"),
        ({}, "s3://no-such-bucket/a", "NoSuchBucket"),
    ],
)
def test_a_wrong_key_or_bucket_is_named(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], location: str, says: str
) -> None:
    s3.put("bucket/a", b"x")
    use(replace(s3, environment={**s3.environment, **changed}), monkeypatch)
    start, *_ = (refusal for refusal in every_refusal(location) if isinstance(refusal, UsageError))
    bucket = location.rpartition("/")[0]
    assert str(start).startswith(f"{bucket}: {s3.endpoint} (AWS_ENDPOINT_URL) ")
    assert str(start).endswith(f"[{says}]")
    for refusal in every_refusal(location):
        text = str(refusal)
        assert "\n" not in text
        assert SECRET not in text
        assert KEY not in text
        assert s3.endpoint in text
        assert isinstance(refusal, UsageError) or (isinstance(refusal, RunError) and refusal.code is Code.STORAGE)


def test_the_right_key_has_access(s3: S3Server, tmp_path: Path) -> None:
    storage.require_access(["s3://bucket/not/there", str(tmp_path / "not there")])
    with pytest.raises(UsageError, match="names no bucket; expected s3://BUCKET/KEY"):
        storage.require_access(["s3://"])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9"}, "S3 settings: .*AWS_ENDPOINT_URL"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no S3 credentials: set AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "nobody"}, "S3 settings: .*nobody"),
        ({"MS2IMG_S3_PATIENCE": "soon"}, "MS2IMG_S3_PATIENCE is 'soon', expected seconds above 0"),
        ({"MS2IMG_S3_PATIENCE": "-1"}, "MS2IMG_S3_PATIENCE is '-1', expected seconds above 0"),
    ],
)
def test_wrong_settings_are_named(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], says: str
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name, value in changed.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for act in (
        lambda: storage.require_access(["s3://bucket/a"]),
        lambda: storage.status("s3://bucket/a"),
        lambda: storage.folder("s3://bucket").names(),
    ):
        with pytest.raises(UsageError, match=says) as refusal:
            act()
        assert "\n" not in str(refusal.value)


def test_the_s3_variable_wins_and_no_metadata_service_is_asked(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("bucket/a", b"abc")
    asked: list[str] = []

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_PUT = do_GET  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    with storage.open_bytes("s3://bucket/a") as handle:
        assert handle.read() == b"abc"
    assert storage.status("s3://bucket/a").size == 3
    server.shutdown()
    server.server_close()
    assert asked == []


def test_a_profile_may_name_the_store_and_the_key(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("bucket/a", b"abc")
    (tmp_path / "config").write_text(f"[profile lab]\nregion = us-east-1\nendpoint_url = {s3.endpoint}\n")
    (tmp_path / "keys").write_text(f"[lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    with storage.open_bytes("s3://bucket/a") as handle:
        assert handle.read() == b"abc"
    assert storage.status("s3://bucket/a").size == 3
    with pytest.raises(UsageError, match=f"^s3://none: {s3.endpoint} .AWS_ENDPOINT_URL is not set"):
        storage.require_access(["s3://none/a"])


def _size(location: str) -> int:
    with storage.open_bytes(location) as handle:
        return len(handle.read()) + storage.status(location).size


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_have_their_own_client(s3: S3Server, method: str) -> None:
    s3.put("bucket/a", b"abc" * 1000)
    assert _size("s3://bucket/a") == 6000
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_size, ["s3://bucket/a"] * 6) == [6000] * 6


def test_a_process_ends_cleanly_after_reading(s3: S3Server) -> None:
    s3.put("bucket/a", b"abc")
    code = "from ms2img.io import storage\nwith storage.open_bytes('s3://bucket/a') as h: print(h.read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'abc'\n", "")


def test_without_boto3_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys, json\nsys.modules['boto3'] = None\n"
        "from ms2img.io import storage\nfrom ms2img.errors import UsageError\n"
        "try: storage.status('s3://bucket/a')\nexcept UsageError as error: print(json.dumps(str(error)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout or "null") == "s3:// locations need boto3: pip install 'ms2img[s3]'", done.stderr


def test_patience_is_bounded_and_gives_the_last_error() -> None:
    class PassingError(Exception):
        pass

    patience, tries = Patience(total=0.6), []

    def fail() -> None:
        tries.append(1)
        raise PassingError(f"attempt {len(tries)}")

    with pytest.raises(PassingError, match=r"attempt \d\d"):
        patience.retry(fail, lambda error: isinstance(error, PassingError))
    assert 10 <= len(tries) <= 40  # pauses of 0.025 to 0.05 s after the first six
    tries.clear()
    with pytest.raises(PassingError, match="attempt 1"):
        patience.retry(fail, lambda error: False)
    assert patience.retry(lambda: os.getpid(), lambda error: True) == os.getpid()
