"""Every port that the stack listens on is in SECURITY.md's table, and does what the table says of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from cluster.native import Stack, native_cluster

SECURITY = Path(__file__).resolve().parent.parent / "SECURITY.md"
HEADER = "| service | port | protocol | reachable from | protection |"
LISTENING = "0A"
#: What the native stack calls a port -> the service in the table.
SERVICES = {
    "gcs": "Ray GCS",
    "dashboard": "Ray dashboard and job server",
    "dashboard_metrics": "Ray dashboard metrics",
    "autoscaler_metrics": "Ray autoscaler metrics",
    "node_manager": "Ray node manager",
    "object_manager": "Ray object manager",
    "agent_http": "Ray dashboard agent",
    "agent_grpc": "Ray dashboard agent",
    "runtime_env_agent": "Ray runtime environment agent",
    "metrics": "Ray metrics export",
    "mlflow": "MLflow server",
    "s3": "S3 relay",
    "redis": "Valkey (in `make cluster`: Redis)",
    "postgres": "PostgreSQL",
}
WORKERS = "Ray workers and drivers"
#: Asked by a stranger: exit status 0 only where Ray answered without a token.
STRANGER = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_get(b"x", b"y", timeout=5)
"""


@dataclass(frozen=True)
class Row:
    service: str
    protocol: str
    protection: str


@dataclass(frozen=True)
class Listener:
    """A listening socket: who listens, on which address and port."""

    owner: str
    host: str
    port: int


def listed() -> list[Row]:
    """The table of ports, a row a port."""
    lines = SECURITY.read_text(encoding="utf-8").splitlines()
    rows = []
    for line in lines[lines.index(HEADER) + 2 :]:
        if not line.startswith("|"):
            break
        service, _, protocol, _, protection = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append(Row(service, protocol, protection))
    return rows


def listeners(pids: dict[int, str]) -> Iterator[Listener]:
    """The TCP ports that these processes listen on, from the kernel's own tables."""
    owners = {}
    for pid, name in pids.items():
        with suppress(OSError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    owners[str(handle.readlink())] = name
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            owner = owners.get(f"socket:[{fields[9]}]")
            if fields[3] == LISTENING and owner:
                host, _, port = fields[1].rpartition(":")
                yield Listener(owner, _address(host), int(port, 16))


def _address(text: str) -> str:
    """An address of /proc/net: hexadecimal, each group of four bytes in the machine's order."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    raw = b"".join(words)
    if raw.startswith(bytes(10) + b"\xff\xff"):  # IPv4 in IPv6
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def test_the_kernels_addresses_are_read() -> None:
    assert _address("0100007F") == "127.0.0.1"
    assert _address("0000000000000000FFFF00000100007F") == "127.0.0.1"
    assert _address("0" * 32) == "::"


def test_what_this_process_listens_on_is_found() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        found = list(listeners({os.getpid(): "us"}))
        assert Listener("us", "127.0.0.1", server.getsockname()[1]) in found


def test_every_port_of_the_table_has_a_protection_that_we_know() -> None:
    known = {"token", "password", "signature", "TLS", "loopback", "network policy"}
    assert [row for row in listed() if row.protection not in known] == []
    assert set(SERVICES.values()) | {WORKERS} <= {row.service for row in listed()}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with native_cluster(tmp_path_factory.mktemp("ports"), workers=1) as running:
        yield running


def _named(stack: Stack) -> dict[int, str]:
    return {port: name for ports in stack.ports.values() for name, port in ports.items() if name in SERVICES} | {
        port: service for service, ports in stack.ports.items() for port in ports.values() if service in SERVICES
    }


def _families(stack: Stack) -> dict[int, str]:
    return {pid: name for name, pids in stack.processes().items() for pid in pids}


@pytest.mark.cluster
def test_no_port_is_open_that_the_table_does_not_list_and_all_are_on_loopback(stack: Stack) -> None:
    found = list(listeners(_families(stack)))
    assert len(found) > len(SERVICES)
    named, protections = _named(stack), {row.service: row.protection for row in listed()}
    ranges = [
        range(ports["first_worker"], ports["last_worker"] + 1)
        for ports in stack.ports.values()
        if "first_worker" in ports
    ]
    unlisted = [
        each
        for each in found
        if SERVICES.get(named.get(each.port, "")) not in protections and not any(each.port in span for span in ranges)
    ]
    assert unlisted == []
    # Metrics answer without a token: on loopback, or behind a network policy, and nowhere else.
    assert [each for each in found if each.host not in ("127.0.0.1", "::1")] == []


@pytest.mark.cluster
def test_no_port_answers_without_its_protection(stack: Stack) -> None:
    named = _named(stack)
    answered = []
    for each in listeners(_families(stack)):
        service = SERVICES.get(named.get(each.port, ""), WORKERS)
        [row] = {row for row in listed() if row.service == service and _speaks(row, named.get(each.port, ""))}
        if row.protection not in ("loopback", "network policy") and _answers_a_stranger(row, each):
            answered.append((each, row))
    assert answered == []


def _speaks(row: Row, name: str) -> bool:
    """Of a service with two ports: the row of this one."""
    return row.protocol == {"agent_http": "HTTP", "agent_grpc": "gRPC"}.get(name, row.protocol)


def _answers_a_stranger(row: Row, listener: Listener) -> bool:
    """Whether somebody without token, password or signature is served."""
    address = f"{listener.host}:{listener.port}"
    if row.protocol == "HTTP":
        path = {"MLflow server": "/api/2.0/mlflow/experiments/search?max_results=1", "S3 relay": "/"}
        return _status(f"http://{address}{path.get(row.service, '/api/jobs/')}") < 400
    if row.protocol == "gRPC":
        stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        asked = subprocess.run(
            [sys.executable, "-c", STRANGER, address],
            env={**stranger, "RAY_AUTH_MODE": "disabled"}, capture_output=True, timeout=120,
        )  # fmt: skip
        return asked.returncode == 0
    with socket.create_connection((listener.host, listener.port), timeout=10) as connection:
        if row.protocol == "RESP":
            connection.sendall(b"PING\r\n")
            return not connection.recv(100).startswith(b"-NOAUTH")
        start = b"\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
        connection.sendall((len(start) + 4).to_bytes(4, "big") + start)
        answer = connection.recv(100)
        return answer[:1] == b"R" and answer[5:9] == bytes(4)  # "you are in"


def _status(url: str) -> int:
    try:
        with urlopen(url, timeout=20) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        return error.code
