"""``manifest.json``: which files make up an image data set. Its replacement is the commit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ms2img.errors import UsageError
from ms2img.io.storage import Folder, folder, join

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 2


@dataclass(frozen=True)
class Shard:
    """One committed file: its name below the folder, rows, bytes, and the blake2b-16 of its bytes in hex."""

    name: str
    rows: int
    bytes: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds: how the images were made, and the committed files.

    `n_shards` is the number that samples are dealt over (`ms2img.io.dataset.shards.shard_of`); a shard without rows has
    no file, one above the size cap has several.
    """

    stage_version: int
    render: dict[str, Any]
    render_fingerprint: str
    n_images: int
    n_errors: int
    n_shards: int
    files: tuple[Shard, ...]

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of the committed files."""
        return tuple(file.name for file in self.files)

    def write(self, out: Folder) -> None:
        """Commit: replace the folder's manifest by this one."""
        text = json.dumps({"manifest_version": MANIFEST_VERSION, **asdict(self)}, indent=2, sort_keys=True)
        out.write(MANIFEST_NAME, (text + "\n").encode())

    @classmethod
    def read(cls, out: str | Path | Folder) -> Self | None:
        """The folder's manifest; None where there is none yet. Raises `UsageError` if it is not ours."""
        store = folder(str(out)) if isinstance(out, str | Path) else out
        where = join(store.location, MANIFEST_NAME)
        try:
            content = store.read(MANIFEST_NAME)
            if content is None:
                return None
            values = json.loads(content)
            version = values.pop("manifest_version")
            if version != MANIFEST_VERSION:
                raise UsageError(
                    f"{where}: manifest version {version}; this ms2img reads version {MANIFEST_VERSION}: "
                    "convert into a new folder"
                )
            return cls(**{**values, "files": tuple(Shard(**file) for file in values["files"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{where}: not a manifest of ms2img convert: {error}") from None


def require_manifest(out: str | Path | Folder) -> Manifest:
    """The manifest of a finished data set. Raises `UsageError` where there is none."""
    manifest = Manifest.read(out)
    if manifest is None:
        where = out if isinstance(out, str | Path) else out.location
        raise UsageError(f"{where}: no {MANIFEST_NAME} here; expected the OUT folder of a finished 'ms2img convert'")
    return manifest
