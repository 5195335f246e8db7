"""Counting the bytes of tensors while a network runs; on device "meta" that takes milliseconds and no memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TensorBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within its block, counts the tensors that operators make.

    `peak`: the most bytes that lived at once; `made`: all bytes ever made, about half of what goes to and from memory.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.made = 0
        self._live = 0
        self._known: set[int] = set()  # addresses of the storages that live

    def add(self, tensors: Iterable[Any]) -> None:
        """Count these too; a view of what is known brings no bytes of its own."""
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            address, size = storage._cdata, storage.nbytes()
            if address not in self._known:
                self._known.add(address)
                self._live += size
                self.made += size
                self.peak = max(self.peak, self._live)
                weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._live -= size

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.add(tree_leaves(result))
        return result
