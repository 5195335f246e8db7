"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from conversions import FAILURES, conversion, finish, study
from s3_servers import S3Server, have_servers, moto_server, rclone_server

#: Where the public real files lie; absent on a user's machine, always present in continuous integration.
SHARED = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))
#: Set in continuous integration, where everything a test may need is installed: a skip is then a failure.
FORBID_SKIPS = bool(os.environ.get("MS2IMG_FORBID_SKIPS"))
# `make test` draws the same examples every time: what passes, passes. `make fuzz` draws others.
hypothesis.settings.register_profile("fixed", derandomize=True)
if not os.environ.get("MS2IMG_EXPLORE"):
    hypothesis.settings.load_profile("fixed")
os.environ["MS2IMG_PROFILE"] = ""  # the tests are no user of whatever cluster this machine's user has


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data (`data/`), or a skip that says which variable names it."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real data at {SHARED / 'data'}; set MS2IMG_SHARED to the folder that holds data/")
    return SHARED


@pytest.fixture(scope="session")
def rclone_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One rclone S3 server for all tests; tests take `s3`."""
    if missing := have_servers():
        pytest.skip(f"no S3 server to test with: {missing} is not installed")
    with rclone_server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One moto server for all tests; tests take `s3_conditional`."""
    if missing := have_servers():
        pytest.skip(f"no S3 server to test with: {missing} is not installed")
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def s3(rclone_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A real S3 server that checks signatures, with an empty bucket `bucket`; this process's environment names it."""
    return _ready(rclone_process, monkeypatch)


@pytest.fixture
def s3_conditional(moto_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """As `s3`, but a server with conditional writes (which does not check signatures)."""
    return _ready(moto_process, monkeypatch)


def _ready(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.bucket("bucket")
    return server


@pytest.fixture(scope="session")
def undisturbed_conversion(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sheet of 32 runs, four of them cut short, and the data set of a conversion that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sheet = study(folder / "study", 32)
    with conversion(sheet, folder / "out") as process:
        assert finish(process)[0] == FAILURES
    return sheet, folder / "out"


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray with two CPUs for all tests that need it: starting one takes seconds."""
    from cluster.connect import connected

    os.environ.pop("RAY_ADDRESS", None)
    with connected(num_cpus=2):
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where skips are forbidden, a run with one ends as failed, naming it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if FORBID_SKIPS and skipped:
        for report in skipped:
            reporter.write_line(f"SKIPPED where skips are forbidden: {report.nodeid}: {report.longrepr[2]}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
