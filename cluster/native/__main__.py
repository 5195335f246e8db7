"""``python -m cluster.native up|down|status|environment --folder DIR``: the native cluster by hand."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.native.ray_node import Worker
from cluster.native.stack import Stack
from ms2img.errors import Ms2imgError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one of the four; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cluster.native", description=__doc__)
    parser.add_argument("verb", choices=("up", "down", "status", "environment"))
    parser.add_argument("--folder", type=Path, default=Path(".cluster"), help="where state, secrets and logs lie")
    parser.add_argument("--workers", type=int, default=2, help="worker nodes with CPUs alone")
    parser.add_argument("--gpu-workers", type=int, default=0, help="further ones with one logical GPU each")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs of a worker node")
    parser.add_argument("--wait", action="store_true", help="up: stay, and end the cluster on Ctrl-C")
    given = parser.parse_args(arguments)
    try:
        return {"up": _up, "down": _down, "status": _status, "environment": _environment}[given.verb](given)
    except Ms2imgError as error:
        print(f"cluster.native: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("cluster.native: interrupted; what was started has been ended", file=sys.stderr)
        return 130


def _up(given: argparse.Namespace) -> int:
    workers = (Worker(given.cpus),) * given.workers + (Worker(given.cpus, gpus=1),) * given.gpu_workers
    stack = Stack.up(given.folder, workers, tell=print)
    print(f'\nup. In another shell:\n  eval "$({_again("environment", given)})"\n  ms2img ...')
    if not given.wait:
        print(f"and at the end, which also removes what it holds:\n  {_again('down', given)}")
        return 0
    print("Ctrl-C ends it and removes what it holds.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        stack.down()
    return 0


def _down(given: argparse.Namespace) -> int:
    Stack.attach(given.folder).down()
    print("down")
    return 0


def _status(given: argparse.Namespace) -> int:
    stack = Stack.attach(given.folder)
    running = stack.running()
    for name, runs in running.items():
        print(f"{name:10} {stack.address(name):22} {'running' if runs else 'ended'}")
    print(f"{stack.alive_nodes()} Ray nodes alive")
    return 0 if all(running.values()) else 1


def _environment(given: argparse.Namespace) -> int:
    for name, value in Stack.attach(given.folder).environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _again(verb: str, given: argparse.Namespace) -> str:
    return shlex.join([sys.executable, "-m", "cluster.native", verb, "--folder", str(given.folder)])


if __name__ == "__main__":
    sys.exit(main())
