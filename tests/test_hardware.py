"""What the training loop does to the process it runs in."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from ms2img.learn.environment import ENVIRONMENT

CODE = """
import resource, sys, threading
import torch
from ms2img.learn.hardware import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(25_000_000)  # 100 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

def measure():
    faults()
    start = resident()
    print(faults())
    with freed_memory_kept():
        faults()
        print(faults())
        print(resident() - start)
    print(resident() - start)
    print(faults())

if sys.argv[1:] == ["thread"]:
    thread = threading.Thread(target=measure)
    thread.start(); thread.join()
else:
    measure()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_freed_memory_is_kept_while_training_and_given_back_after(where: str) -> None:
    """Also in a thread other than the main one, as Ray Train runs a training, in the environment of our workers."""
    command = [sys.executable, "-c", CODE, where]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    before, inside, held, left, after = (float(line) for line in done.stdout.split())
    assert before > 20  # 100 MB are 50 pages of 2 MiB or 25,000 of 4 KiB
    assert inside <= 2
    assert held > 90
    assert left < 10
    assert after > 20
