"""Published weights that an encoder starts from: from a place a user names to a worker."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ms2img.errors import RunError, UsageError
from ms2img.io.storage import open_bytes


def read_weights(location: str, *, base: int) -> bytes:
    """The content of a safetensors file, local or ``s3://``, once it fits an encoder (`base`: see `ResNet18`).

    Raises `UsageError`, naming the file, as `ms2img.deepion.resnet.load_weights` does, and where there is none.
    """
    from ms2img.deepion.resnet import ResNet18, load_weights

    try:
        with open_bytes(location) as stream:
            content = stream.read()
    except RunError as error:
        raise UsageError(str(error)) from None
    with weights_file(content) as path:
        try:
            load_weights(path or "", ResNet18(base=base))
        except UsageError as error:
            raise UsageError(str(error).replace(str(path), location)) from None
    return content


@contextmanager
def weights_file(content: bytes) -> Iterator[Path | None]:
    """Weights as a local file for the length of the block; None for none."""
    if not content:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ms2img-weights-") as scratch:
        path = Path(scratch, "weights.safetensors")
        path.write_bytes(content)
        yield path
