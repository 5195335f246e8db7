"""A network cut between the head and a worker, in two network namespaces; see ``tests/test_native_faults.py``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fault_laboratory import KINDS, PATIENCE, Laboratory, lead_to, tell
from fault_proxy import FaultProxy, nothing
from native_jobs import wait_until

from cluster.native import native_cluster
from cluster.native.ray_node import Worker

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

#: Until Ray's gRPC gives up a call to a worker that is cut off: 300 s to a keepalive, 120 s for its answer.
SILENCE_SECONDS = 420.0
NAMESPACE = f"ms2img-{os.getpid()}"
NEAR, FAR = "198.18.77.1", "198.18.77.2"  # of the block that is kept for tests of networks, RFC 2544


class Wire:
    """The wire to the far network."""

    def cut(self) -> None:
        """Nothing passes any more, in either direction, and nobody is told."""
        assert _ip("netns", "exec", NAMESPACE, "ip", "link", "set", "ms2img-far", "down") == 0

    def mend(self) -> None:
        """As before."""
        assert _ip("netns", "exec", NAMESPACE, "ip", "link", "set", "ms2img-far", "up") == 0


@contextmanager
def far_network() -> Iterator[Wire]:
    """A network namespace with the address `FAR`, reached from here as from `NEAR`."""
    if os.geteuid() or shutil.which("ip") is None or _ip("netns", "add", NAMESPACE):
        pytest.skip("no right to a network namespace (ip netns add)")
    within = ("netns", "exec", NAMESPACE, "ip")
    try:
        commands = (
            ("link", "add", "ms2img-near", "type", "veth", "peer", "name", "ms2img-far", "netns", NAMESPACE),
            ("addr", "add", f"{NEAR}/30", "dev", "ms2img-near"),
            ("link", "set", "ms2img-near", "up"),
            (*within, "addr", "add", f"{FAR}/30", "dev", "ms2img-far"),
            (*within, "link", "set", "ms2img-far", "up"),
            (*within, "link", "set", "lo", "up"),
        )
        assert not any(_ip(*command) for command in commands)
        yield Wire()
    finally:
        _ip("netns", "del", NAMESPACE)
        _ip("link", "del", "ms2img-near")


def _ip(*arguments: str) -> int:
    return subprocess.run(["ip", *arguments], capture_output=True).returncode


@pytest.fixture(scope="module")
def far_laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laboratory, Wire]]:
    """A cluster whose second worker is in a network of its own, and the wire to it."""
    folder = tmp_path_factory.mktemp("far")
    with far_network() as wire, native_cluster(folder / "c", workers=1, host=NEAR) as stack:
        stack.add_worker(Worker(host=FAR, wrapper=("ip", "netns", "exec", NAMESPACE)))
        yield Laboratory(stack, FaultProxy("", "", nothing), folder), wire


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_cut_between_head_and_worker(
    far_laboratory: tuple[Laboratory, Wire], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, wire = far_laboratory
    lead_to(lab.stack, monkeypatch)
    wire.mend()
    if lab.stack.alive_nodes() < 3:  # the test before: a node that was given up does not come back
        lab.stack.kill_worker(2)
        lab.stack.start("worker-2")
    wait_until(lambda: lab.stack.alive_nodes() == 3)
    seen = lab.struck(kind, wire.cut, lambda: None, seconds=SILENCE_SECONDS + PATIENCE)
    wait_until(lambda: lab.stack.alive_nodes() == 2)  # the head has given the far node up
    tell("network cut between head and worker", kind, seen)
