"""What runs and where: ``state.json`` in the cluster's folder. What it does not list is never touched."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cluster.native.process import Started
from ms2img.errors import UsageError
from ms2img.io.atomic import replace_file

STATE_NAME = "state.json"


@dataclass
class State:
    """Of a cluster that is up.

    `home`: the short private folder below ``/tmp`` with its data; `ports`: by service and purpose, the range of a
    node's worker processes as two of them; `processes`: by service.
    """

    folder: Path
    home: Path
    host: str
    s3_endpoint: str | None = None
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    processes: dict[str, Started] = field(default_factory=dict)

    def save(self) -> None:
        """Replace the file."""
        told = {**asdict(self), "folder": str(self.folder), "home": str(self.home)}
        with replace_file(self.folder / STATE_NAME) as temporary:
            temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """The state in `folder`, None where there is none. Raises `UsageError` for a file that is not ours."""
        path = folder / STATE_NAME
        if not path.exists():
            return None
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            processes = {name: Started(**each) for name, each in told.pop("processes").items()}
            return cls(**{**told, "folder": folder, "home": Path(told["home"]), "processes": processes})
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{path}: not the state of a native cluster: {error}; remove it") from None
