"""Connecting to Ray: nested blocks share one connection, a cluster that does not answer is named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from cluster.connect import connected


def test_blocks_nest_and_the_outer_one_owns_the_connection(ray_session):
    import ray

    with connected(), connected():
        assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
    assert ray.is_initialized()


def test_an_address_nobody_answers_at_is_one_line():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: refused at once, by nobody else's server
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        # A process of its own: this one may hold the session's connection, which would rightly be used.
        program = "from cluster.connect import connected\nwith connected(): pass"
        environment = {**os.environ, "RAY_ADDRESS": address}
        ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"UsageError: RAY_ADDRESS={address}: no Ray cluster answers there: " in ended.stderr.splitlines()[-1]
