"""The stack: its services in their order, started, stopped, killed and ended by name."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.native import ray_node
from cluster.native.credentials import Credentials
from cluster.native.ports import free_block
from cluster.native.process import GRACE_SECONDS, Service, end, start, wait_for
from cluster.native.ray_node import LOOPBACK, Worker
from cluster.native.services import address, dashboard, node_environment, service_of
from cluster.native.state import STATE_NAME, State
from ms2img.errors import UsageError

SERVERS = ("redis", "postgres", "s3", "mlflow")  # the others are Ray nodes: "head", "worker-1", ...
#: What ends a service soon and cleanly; SIGTERM has PostgreSQL wait for the last client to go.
ENDS_ON = {"postgres": signal.SIGINT}


def _quiet(_: str) -> None:
    """Say nothing."""


class Stack:
    """A cluster on this machine. Make one with `native_cluster`, or `Stack.up` for one that outlives this process."""

    def __init__(self, state: State, tell: Callable[[str], None] = _quiet) -> None:
        self._state = state
        self._tell = tell
        self._credentials = Credentials.of(state.folder / "secrets")
        self._workers: dict[str, Worker] = {}
        self._services: dict[str, Service] = {}

    @classmethod
    def up(
        cls,
        folder: Path,
        workers: int | tuple[Worker, ...] = 2,
        *,
        host: str = LOOPBACK,
        s3_endpoint: str | None = None,
        tell: Callable[[str], None] = _quiet,
    ) -> Stack:
        """Start everything, wait until all of it answers, and tell a line a service.

        `folder` gets ``state.json``, ``secrets/`` and ``logs/``; data lies in a private folder below ``/tmp``, whose
        short path Unix sockets need. `workers`: that many with one CPU each, or what each of them is. `host`: the
        address that all of it listens on. `s3_endpoint`: what clients are told instead of the S3 server's own
        address, such as a proxy before it.

        Raises `UsageError` when a program is missing or a cluster is up in `folder`, `JobError` when a service does
        not start; what was started has then been ended.
        """
        folder = folder.absolute()
        if (old := State.read(folder)) and any(started.is_running() for started in old.processes.values()):
            raise UsageError(f"{folder}: a cluster is up there; end it first: python -m cluster.native down")
        for name in ("logs", "secrets"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix="ms2c-", dir="/tmp"))
        home.chmod(0o711)  # PostgreSQL may run as another user, in a folder of its own
        stack = cls(State(folder, home, host, s3_endpoint), tell)
        try:
            stack._start_all((Worker(),) * workers if isinstance(workers, int) else workers)
        except BaseException:
            stack.down()
            raise
        return stack

    def _start_all(self, workers: tuple[Worker, ...]) -> None:
        """Each as soon as what it needs answers."""
        servers = self._state.ports["servers"] = {}
        first = self._free_block()
        for place, name in enumerate(SERVERS):
            servers[name] = first + place
        self._begin("redis", "postgres", "s3")
        self._await("redis")
        self._state.ports["head"] = ray_node.node_ports(self._free_block(), head=True)
        self._begin("head")
        self._await("postgres", "s3")
        self._begin("mlflow")
        self._await("head")
        names = [self._new_worker(worker) for worker in workers]
        self._begin(*names)
        self._await("mlflow", *names)

    @classmethod
    def attach(cls, folder: Path) -> Stack:
        """The cluster that is up in `folder`. Raises `UsageError` when there is none."""
        state = State.read(folder.absolute())
        if state is None:
            raise UsageError(f"{folder}: no cluster is up there")
        return cls(state)

    def environment(self) -> dict[str, str]:
        """The variables that lead a driver or client to this cluster; some of them are secrets or their places."""
        return {
            **node_environment(self._state, self._credentials),
            "RAY_ADDRESS": self.address("head"),
            "RAY_API_SERVER_ADDRESS": self._dashboard,
        }

    def address(self, service: str) -> str:
        """``host:port`` of a server, of the head's GCS, or of a worker's node manager."""
        return address(self._state, service, self._workers)

    @property
    def home(self) -> Path:
        """The private folder with the services' data; a node's temporary folder is the one of its name."""
        return self._state.home

    @property
    def ports(self) -> dict[str, dict[str, int]]:
        """Every port that the stack may listen on, by service and purpose."""
        return self._state.ports

    def running(self) -> dict[str, bool]:
        """Every service that was started, and whether its process is there."""
        return {name: started.is_running() for name, started in self._state.processes.items()}

    def processes(self) -> dict[str, list[int]]:
        """Every process of every service, by service; PostgreSQL's own children are not counted."""
        return {name: started.session() for name, started in self._state.processes.items()}

    def leader(self, service: str) -> int:
        """The number of the process that a service began with."""
        return self._state.processes[service].pid

    def stop(self, service: str) -> None:
        """Ask a service to end, and wait until it has; its data stay."""
        end(self._state.processes[service], ENDS_ON.get(service, signal.SIGTERM))

    def start(self, service: str) -> None:
        """Start a service that has ended, with the ports and data it had, and wait until it answers."""
        self._begin(service)
        self._await(service)

    def kill(self, service: str) -> None:
        """``kill -9`` of everything a service runs, at once: as if its machine lost power."""
        end(self._state.processes[service], grace=0)

    def kill_worker(self, number: int) -> None:
        """`kill` of the worker node of that number, from 1."""
        self.kill(f"worker-{number}")

    def kill_head(self) -> None:
        """`kill` of the head node."""
        self.kill("head")

    def start_head(self) -> None:
        """A new head with the address of the old one, which goes on with what Redis has."""
        self.start("head")

    def add_worker(self, worker: Worker = Worker()) -> int:  # noqa: B008 - frozen
        """One more worker node; its number."""
        name = self._new_worker(worker)
        self.start(name)
        return int(name.removeprefix("worker-"))

    def forget_worker(self, number: int) -> None:
        """`kill_worker`, and no more part of the cluster."""
        self.kill_worker(number)
        del self._state.processes[f"worker-{number}"]
        self._state.save()

    def alive_nodes(self) -> int:
        """How many nodes the head counts as alive, itself included; 0 when it does not answer."""
        return len(ray_node.alive_nodes(self._dashboard, self._credentials.ray_token))

    def down(self) -> None:
        """End every process that the state lists, and remove data and state; logs and secrets stay in the folder."""
        for name, started in reversed(self._state.processes.items()):
            # A node has nothing to save: its end would wait for what runs there.
            end(started, ENDS_ON.get(name, signal.SIGTERM), grace=GRACE_SECONDS if name in SERVERS else 0)
        shutil.rmtree(self._state.home, ignore_errors=True)
        (self._state.folder / STATE_NAME).unlink(missing_ok=True)

    @property
    def _dashboard(self) -> str:
        return dashboard(self._state)

    def _free_block(self) -> int:
        blocks = self._state.ports.values()
        return free_block(self._state.host, [min(ports.values()) for ports in blocks if ports])

    def _new_worker(self, worker: Worker) -> str:
        name = f"worker-{sum(each.startswith('worker-') for each in self._state.ports) + 1}"
        self._workers[name] = worker
        self._state.ports[name] = ray_node.node_ports(self._free_block(), head=False)
        return name

    def _log(self, name: str) -> Path:
        return self._state.folder / "logs" / f"{name}.log"

    def _begin(self, *names: str) -> None:
        for name in names:
            self._services[name] = self._service(name)
            self._state.processes[name] = start(self._services[name], self._log(name))
            self._state.save()

    def _await(self, *names: str) -> None:
        for name in names:
            wait_for(self._services[name], self._state.processes[name], self._log(name))
            self._tell(f"{name:10} {self.address(name)}")

    def _service(self, name: str) -> Service:
        return service_of(name, self._state, self._credentials, self._workers)


@contextmanager
def native_cluster(
    folder: Path, workers: int | tuple[Worker, ...] = 2, *, host: str = LOOPBACK, s3_endpoint: str | None = None
) -> Iterator[Stack]:
    """A cluster for the length of the block; see `Stack.up`."""
    stack = Stack.up(folder, workers, host=host, s3_endpoint=s3_endpoint)
    try:
        yield stack
    finally:
        stack.down()
