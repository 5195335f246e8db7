"""Connecting to Ray: nested blocks share one connection, a cluster that does not answer is named."""

from __future__ import annotations

import socket

import pytest

from cluster.connect import connected
from ms2img.errors import UsageError


def test_blocks_nest_and_the_outer_one_owns_the_connection(ray_session):
    import ray

    with connected(), connected():
        assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
    assert ray.is_initialized()


def test_an_address_nobody_answers_at_is_one_line(monkeypatch):
    import ray

    if ray.is_initialized():  # the session's own connection would be used, as it should
        ray.shutdown()
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: refused at once, by nobody else's server
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UsageError, match=f"RAY_ADDRESS={address}: no Ray cluster answers") as refusal, connected():
            pass
    assert "\n" not in str(refusal.value)
