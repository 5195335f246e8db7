"""Connecting to Ray: the cluster that the environment names, or a private one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from cluster.shared import require_shared
from cluster.spilling import spilling
from ms2img.errors import JobError, UsageError

CONNECT_SECONDS = 10
DATA_THREAD = "ray-data"  # name of a thread of ours that waits for Ray Data's rows


@contextmanager
def connected(*, num_cpus: int | None = None, writes: Sequence[str] = (), is_tracked: bool = False) -> Iterator[None]:
    """Hold a Ray connection for the length of the block.

    The cluster at ``RAY_ADDRESS`` is used where that is set; otherwise a private Ray is started on this machine with
    `num_cpus` CPUs (default: all) and stopped at the end; after an interruption, or a failure of a Ray Data job at
    work, `end_process` ends it. Blocks nest: an inner one uses the outer one's connection.

    `writes`: the locations that the block's work writes; `is_tracked`: whether it logs runs. On a cluster both must be
    places that all nodes reach, see `cluster.shared.require_shared`.

    Raises `UsageError` when Ray is not installed, the named cluster does not answer, or a place is not shared;
    `JobError` when Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine unasked
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # our progress counts runs; Ray Data's lines count blocks
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a call after Ray has died must not start another one
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # today's default, without its warning
    # Zero-copy views of shared memory are read-only; torch warns about each. What we write to, we copy first.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    try:
        import ray
    except ImportError:
        raise UsageError("this command needs Ray: pip install 'ms2img[cluster]'") from None

    def require_places() -> None:
        require_shared(writes, os.environ.get("MLFLOW_TRACKING_URI", "") if is_tracked else None)

    if ray.is_initialized():
        require_places()
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    is_main = threading.current_thread() is threading.main_thread()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            _require_listener(address)
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, **spilling(), **quiet)
    except OSError as error:
        # Without a number it is Ray's own, after somebody has answered our knock.
        hint = "; if it is up, is the token its own (RAY_AUTH_TOKEN_PATH)?" if error.errno is None else ""
        raise UsageError(f"RAY_ADDRESS={address}: no Ray cluster answers there: {error}{hint}") from None
    except Exception as error:  # Ray raises bare ones when its processes die or time out while they start
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise JobError(f"Ray could not be started: {reason}") from None
    if is_main:  # Ray puts its own handler there, which ends the process without a word
        signal.signal(signal.SIGTERM, on_sigterm or signal.SIG_DFL)
    # What Ray prints by itself goes to standard output, which is for results: pages of its log when it is killed.
    ray._private.worker.print_to_stdstream = lambda *_args, **_options: None
    try:
        require_places()
        yield
    except BaseException as error:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL + 1)  # it would report its own end, by pages
        # After Ctrl-C, SIGTERM, or a failure amid a Ray Data job, threads are still within Ray's core, which a shutdown
        # would free under them: now and then a segmentation fault, without a word. See `end_process`.
        if isinstance(error, Exception) and not _at_work():
            _shut_down()
        raise
    _shut_down()


def _shut_down() -> None:
    """End the connection, unless Ray has died: then the shutdown takes seconds, in which Ray may end this process
    without a word, while things are still to be said and let go. Ray cleans up when the process ends."""
    import ray

    if ray_is_alive():
        ray.shutdown()


def _at_work() -> bool:
    """Whether threads that read or run a Ray Data job are still there."""
    return any(thread.name.startswith(("StreamingExecutor-", DATA_THREAD)) for thread in threading.enumerate())


def is_connected() -> bool:
    """Whether there still is a connection to Ray: one that has died, or that an interruption has left."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def end_process(status: int) -> NoReturn:
    """End this process at once with the private Ray below it, without Ray's own shutdown, see `connected`."""
    import psutil  # Ray brings it

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def ray_is_alive() -> bool:
    """Whether the Ray we are connected to still has its processes: those of this machine, else its head's port."""
    import ray

    if not ray.is_initialized():
        return False
    node = ray._private.worker._global_node
    if node is not None and node.head:
        return not {"gcs_server", "raylet"} & {kind for kind, _ in node.dead_processes()}
    try:
        _require_listener(ray.get_runtime_context().gcs_address)
    except OSError:
        return False
    return True


def _require_listener(address: str) -> None:
    """Knock once at ``host:port`` (``OSError`` when nobody listens): Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if host and port.isdecimal():  # "auto" and "local" have no port; Ray finds those by itself
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
