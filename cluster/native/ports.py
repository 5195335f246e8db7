"""Ports: a block of consecutive free ones for each node, below those that the kernel gives to outgoing connections."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from contextlib import ExitStack

from ms2img.errors import JobError

FIRST, LAST = 20_000, 32_000  # Linux gives 32768 and more to outgoing connections
BLOCK = 60  # ports a node: its services and one for each of its worker processes
TRIES = 100


def free_block(host: str, taken: Collection[int] = ()) -> int:
    """The first of `BLOCK` ports of `host` that nobody listens on; `taken` are first ports of blocks in use.

    Raises `JobError` when there is none.
    """
    firsts = list(range(FIRST, LAST - BLOCK, BLOCK))
    # At random: of two clusters that start at the same time each should find its own.
    for first in random.sample(firsts, k=min(TRIES, len(firsts))):
        if first not in taken and _is_free(host, range(first, first + BLOCK)):
            return first
    raise JobError(f"no {BLOCK} consecutive free ports between {FIRST} and {LAST} on {host}")


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def _is_free(host: str, ports: Collection[int]) -> bool:
    with ExitStack() as sockets:
        try:
            for port in ports:
                probe = sockets.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ports of a cluster that has just ended
                probe.bind((host, port))
        except OSError:
            return False
    return True
