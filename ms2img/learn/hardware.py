"""What the machine offers: device, precision, memory layout, threads."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ms2img.errors import UsageError

# mallopt(3)
_MALLOC_TRIM_THRESHOLD, _MALLOC_MMAP_THRESHOLD, _MALLOC_MMAP_MAX = -1, -3, -4


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda[:n]"; `UsageError` when CUDA is asked for and absent."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device: '{name}', but torch finds no CUDA device here; use cpu or auto")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products and convolutions: for "auto", bfloat16 where the hardware multiplies it natively.

    On an AMD EPYC with avx512_bf16, bfloat16 autocast halves an epoch of the paper's CNN (bench/train_step.py);
    without such instructions it is emulated and slower than float32.
    """
    if name == "float32":
        return torch.float32
    if name == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Not torch's public interface, so absent means no.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = any(probe() for name in probes if (probe := getattr(torch.cpu, name, None)))
    return torch.bfloat16 if native else torch.float32


def place(model: nn.Module, device: torch.device) -> None:
    """Move the model there, convolution weights channels-last: a third off an epoch on a CPU."""
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Run the block with memory that is freed kept for the next request; afterwards all of it goes back.

    A training step frees and asks for the same hundreds of megabytes again. By default glibc returns every block above
    32 MiB to the system, which hands it out as zeroed pages: a fifth of the time of a large dense layer. A process
    without glibc is left as it is.
    """
    c = ctypes.CDLL(None)
    if not hasattr(c, "mallopt") or not hasattr(c, "malloc_trim"):
        yield
        return
    c.mallopt(_MALLOC_MMAP_MAX, 0)
    c.mallopt(_MALLOC_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        # What glibc arrives at by itself once a block of 32 MiB has been freed; setting one stops its adapting.
        c.mallopt(_MALLOC_MMAP_MAX, 65536)
        c.mallopt(_MALLOC_MMAP_THRESHOLD, 32 << 20)
        c.mallopt(_MALLOC_TRIM_THRESHOLD, 64 << 20)
        c.malloc_trim(0)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Run the block with `count` CPU threads inside torch's operators (None: unchanged)."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
