"""What ion images follow from besides their settings: so that a second call knows whether there is anything to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ms2img.deepion.faults import as_end
from ms2img.deepion.image_folder import MANIFEST_NAME, read_manifest
from ms2img.deepion.imzml import other_half
from ms2img.errors import RunError, UsageError
from ms2img.io.location import file_name
from ms2img.io.storage import Folder, status

#: Raised by hand when the same file and settings would give other images; a golden test guards it.
STAGE = 1


def made_of(path: str, *, section: int | None = None, is_simulated: bool = False) -> dict[str, Any]:
    """Of an imzML file: its two halves, by name, size and version. Nothing is read.

    Raises `UsageError` for a half that is not there, `JobError` for a store that is gone.
    """
    try:
        status(path)  # before its half: a wrong name is wrong as a whole
        ibd, _ = other_half(path)
    except RunError as error:
        raise as_end(error) from None
    return made_of_files([path, ibd], section=section, simulated=is_simulated)


def made_of_files(paths: Sequence[str], **options: Any) -> dict[str, Any]:
    """Of any files, and of options that are no `PrepareSettings`. Raises as `made_of`."""
    try:
        found = {path: status(path) for path in paths}
    except RunError as error:
        raise as_end(error) from None
    inputs = {file_name(path): f"{each.size} bytes, {each.version}" for path, each in found.items()}
    return {"stage": STAGE, **options, "inputs": inputs}


def require_same(out: Folder, settings: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of a folder that holds just these ion images; None for a folder without any.

    Raises `UsageError`, naming the difference, for ion images that were made otherwise.
    """
    if out.read(MANIFEST_NAME) is None:
        return None
    manifest = read_manifest(out)
    earlier = manifest.get("made")
    if not earlier:
        raise UsageError(f"{out.location}: holds ion images that no file is named for; give OUT another folder")
    before, inputs, now = manifest["facts"]["settings"] | earlier, earlier["inputs"], {**settings, **made}
    for key in sorted({*before, *now} - {"inputs"}):
        if before.get(key) != now.get(key):
            raise UsageError(
                f"{out.location}: made with {key}={before.get(key)}, now asked for {key}={now.get(key)}; give OUT "
                "another folder, or the old option"
            )
    for name in sorted({*inputs, *made["inputs"]}):
        if inputs.get(name) != made["inputs"].get(name):
            is_both = name in inputs and name in made["inputs"]
            what = f"{name} has changed since" if is_both else f"{name} is of one and not of the other"
            raise UsageError(f"{out.location}: made of other files, {what}; give OUT another folder")
    return manifest
