"""The line that is told where a process ends without one."""

from __future__ import annotations

import subprocess
import sys

import pytest

TEXT = "ms2img: ended by Ray; run the same command again"
PROGRAM = """
import os, signal, subprocess, sys
from cluster.last_words import last_words
with last_words(sys.argv[1]):
    {body}
"""


@pytest.mark.parametrize(
    ("body", "status"), [("os._exit(1)", 1), ("os.kill(os.getpid(), signal.SIGKILL)", -9), ("os.abort()", -6)]
)
def test_they_are_said_where_the_process_ends_without_leaving_the_block(body, status):
    ended = _run(body)
    assert (ended.returncode, ended.stderr.splitlines()[-1:]) == (status, [TEXT])


@pytest.mark.parametrize(
    ("body", "status"), [("pass", 0), ("sys.exit(3)", 3), ("subprocess.Popen(['sleep', '0.5'])", 0)]
)
def test_they_are_not_said_where_the_block_is_left(body, status):
    ended = _run(body)
    assert (ended.returncode, ended.stderr) == (status, "")


def test_an_error_leaves_the_block_too():
    assert TEXT not in _run("1 / 0").stderr


def _run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), TEXT], capture_output=True, text=True, timeout=60
    )
