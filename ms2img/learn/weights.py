"""A network's weights as one safetensors file: no pickle, and checked before memory is taken for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ms2img.errors import UsageError

_DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "BOOL": torch.bool}


def save_weights(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write a ``state_dict`` to `path` by one rename."""
    from safetensors.torch import save_file

    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: str | Path, network: nn.Module) -> None:
    """Give `network`, built under ``torch.device("meta")``, the weights in the file, and put it into evaluation mode.

    Raises `UsageError`, naming the file, unless it holds exactly the tensors of the network, by name, shape and type;
    that is known from its header.
    """
    from safetensors import SafetensorError, safe_open

    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in network.state_dict().items()}
    try:
        with safe_open(path, framework="pt", device="cpu") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118 (no mapping)
            found = {name: (tuple(part.get_shape()), _DTYPES.get(part.get_dtype())) for name, part in slices.items()}
            _require_equal(expected, found, place=str(path))
            state = {name: stream.get_tensor(name) for name in found}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not the weights of a model bundle: {error}") from None
    network.load_state_dict(state, assign=True)
    network.eval()


def _require_equal(expected: Mapping[str, object], found: Mapping[str, object], *, place: str) -> None:
    mismatch = "the weights do not belong to this description"
    for name in sorted({*expected, *found}):
        if name not in found or name not in expected:
            raise UsageError(f"{place}: tensor '{name}' is {'missing' if name not in found else 'unknown'}; {mismatch}")
        if found[name] != expected[name]:
            raise UsageError(f"{place}: tensor '{name}' is {found[name]}, expected {expected[name]}; {mismatch}")
