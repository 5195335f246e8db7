"""Redis: where Ray's head keeps what it knows, so that a new head goes on with it."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from cluster.native.credentials import write_private
from cluster.native.process import Service
from cluster.native.programs import program

CONFIG = """\
bind {host}
port {port}
requirepass {password}
dir {data}
save ""
appendonly yes
appendfsync everysec
"""


def redis_service(home: Path, host: str, port: int, password: str) -> Service:
    """The server; its password stands in a file of mode 0600 and not on the command line."""
    data = home / "redis"
    data.mkdir(exist_ok=True)
    config = data / "redis.conf"
    write_private(config, CONFIG.format(host=host, port=port, password=password, data=data))
    command = [program("redis-server", "apt-get install redis-server"), str(config)]
    return Service("redis", command, lambda: _answers(host, port, password))


def _answers(host: str, port: int, password: str) -> bool:
    """Whether it knows the password and has read its data: while it loads, it answers ``-LOADING``."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1) as connection:
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        said = b""
        while said.count(b"\r\n") < 2:
            if not (more := connection.recv(1000)):
                break
            said += more
        return said == b"+OK\r\n+PONG\r\n"
    return False
