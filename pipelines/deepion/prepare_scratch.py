"""The scratch folder of a preparation: shares of spectra, and which windows are imaged, under what they follow from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ms2img.deepion.image_folder import Part
from ms2img.deepion.prepare import SHARE_POINTS, WINDOW_VALUES, Written
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.deepion.spill import Spills
from ms2img.errors import UsageError
from ms2img.io.storage import Folder, is_remote

_OURS = re.compile(r"(spectra|images)-[0-9a-f]{16}/")
_OF_READING = ("spectra", "min_snr", "ppm")  # the settings that a share follows from


class Scratch:
    """The work of one job, or of those before it that were ended.

    folder: where it lies. spills: the shares, which outlive a change of other settings than those of reading.
    """

    def __init__(self, place: Folder, settings: PrepareSettings, made: Mapping[str, Any], out: str) -> None:
        values = settings.to_dict()
        reading = {name: values[name] for name in _OF_READING}
        self.folder = place
        self.spills = Spills(place, f"spectra-{_key(made, reading, SHARE_POINTS)}/")
        self._images = f"images-{_key(made, values, WINDOW_VALUES, out)}/"

    def keep(self, number: int, window: Written) -> None:
        """Note that a window is imaged, and its part written. Raises `JobError` as `Folder.write`."""
        self.folder.write(f"{self._images}{number:06d}.json", json.dumps(asdict(window)).encode())

    def kept(self, out: Folder) -> dict[int, Written]:
        """The windows that were imaged before and whose parts are still in the output folder."""
        parts, found = out.names("images/"), {}
        for name in self.folder.names(self._images):
            values = json.loads(self.folder.read(name) or b"null")
            if values is not None:
                part = values["part"] and Part(**values["part"])
                if part is None or part.name in parts:
                    found[int(Path(name).stem)] = Written(**values | {"part": part})
        return found

    @contextmanager
    def for_one_job(self) -> Iterator[None]:
        """What jobs with other settings left is removed first, and all of it last.

        Not so after a `JobError` or an interruption, from which the same command goes on.
        """
        self._remove(but=(self.spills.under, self._images))
        try:
            yield
        except UsageError:
            self._remove()
            raise
        self._remove()

    def _remove(self, but: tuple[str, ...] = ()) -> None:
        """Remove what is ours, but for names that begin so, and the folder where nothing is left in it."""
        names = [name for name in self.folder.names() if _OURS.match(name) and not name.startswith(but)]
        self.folder.delete(names)
        if not is_remote(self.folder.location):
            for place in [*dict.fromkeys(name.split("/")[0] for name in names), ""]:
                with suppress(OSError):  # there is something else in it
                    Path(self.folder.location, place).rmdir()


def _key(*values: Any) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=8).hexdigest()
