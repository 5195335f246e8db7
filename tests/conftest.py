"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Where the public real files lie; absent on a user's machine, always present in continuous integration.
SHARED = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))
#: Set in continuous integration, where everything a test may need is installed: a skip is then a failure.
FORBID_SKIPS = bool(os.environ.get("MS2IMG_FORBID_SKIPS"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data (`data/`), or a skip that says which variable names it."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real data at {SHARED / 'data'}; set MS2IMG_SHARED to the folder that holds data/")
    return SHARED


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
