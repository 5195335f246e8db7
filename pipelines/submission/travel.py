"""Making a command line fit for a cluster: small files come along, all else must be where every node reaches it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cluster.secrets import has_password, require_no_secret
from ms2img.config import load_yaml
from ms2img.errors import RunError, UsageError
from ms2img.io.location import suffix
from ms2img.io.sheet import Sheet
from ms2img.places import Key, Place, Reads, Writes, mark_of, places, replaced, value_at
from pipelines.submission.command_line import CommandLine, typed

LARGEST = 10 * 2**20  # bytes of a file that travels
SHEET_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
INPUTS = "inputs"  # folder of the files that travel, in the job's working folder
REMEDY = "put it on s3://, or name a folder that every node shares with --shared"

OUTPUT_REMEDY = "a job writes to s3://, or below a folder that every node shares and --shared names"


@dataclass(frozen=True)
class Trip:
    """A command line as the job has it, and the files that travel with it, by their names in its working folder."""

    words: tuple[str, ...]
    files: dict[str, bytes]


def prepare(line: CommandLine, shared: Sequence[str]) -> Trip:
    """Rewrite a command line for a cluster; `shared`: folders that every node has.

    Raises `UsageError`, naming the first: a local file that is too large or missing, a local folder, a run in a sheet,
    or an output, that only this machine reaches; a secret in any of it.
    """
    return _Preparation(line, [_plain(folder) for folder in shared]).trip()


@dataclass
class _Preparation:
    line: CommandLine
    shared: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)  # a file here -> its name in the working folder

    def trip(self) -> Trip:
        """The command line as the job runs it, and the files that go with it. Raises `UsageError`, see `prepare`."""
        line, config = self.line, self.line.registered.config
        values = self._rewritten(list(places(config, line.values)), line.values, here="")
        yaml_path = None
        if line.yaml_path is not None:
            rest = {key: value for key, value in line.yaml.items() if key not in line.values}
            rest = self._rewritten(list(places(config, rest)), rest, here="", source=line.yaml_path)
            self._require_small(line.yaml_path, "--config")
            yaml_path = self._take(line.yaml_path, _dumped(rest))
        self._require_outputs()
        words = line.words(values, yaml_path)
        require_no_secret((f"{line.name}, word {number}", word) for number, word in enumerate(words, 1))
        require_no_secret(
            (origin, self.files[name].decode("utf-8", errors="replace")) for origin, name in self.origins.items()
        )
        return Trip(tuple(words), self.files)

    def _rewritten(
        self, found: Sequence[Place], values: Mapping[str, Any], *, here: str, source: str = ""
    ) -> dict[str, Any]:
        """The values with each place as the job finds it. `here`: the folder that relative places start from."""
        new: dict[tuple[Key, ...], str] = {}
        for place in found:
            what = f"{source}: {'.'.join(map(str, place.keys))}" if source else typed(self.line, place.option)
            if has_password(place.value):
                raise UsageError(f"{what}: an address with a password in it, which a job would show to everyone")
            if isinstance(place.mark, Reads):
                new[place.keys] = self._read(place, place.mark, what, here)
            elif place.value:
                new[place.keys] = self._written(place.value, what)
        return replaced(values, new)

    def _read(self, place: Place, mark: Reads, what: str, here: str) -> str:
        """What is read: as it is where the nodes reach it; a small file travels."""
        value = place.value
        if not value or "://" in value or (mark.names and _is_name(value, mark.names)):
            return value
        path = _plain(os.path.join(here, value))  # noqa: PTH118 (Path takes the steps out of "./")
        if self._is_shared(path):
            self._require_runs(path, mark, place.allow_outside, what, travels=False)
            return path
        if Path(path).is_dir():
            raise UsageError(f"{what} {value}: is a folder of this machine; {REMEDY}")
        if not Path(path).is_file():
            if mark.names:
                return value
            raise UsageError(f"{what} {value}: there is no such file")
        if mark.holds == "runs":
            raise UsageError(f"{what} {value}: is a file of this machine; {REMEDY}")
        self._require_small(path, f"{what} {value}")
        self._require_runs(path, mark, place.allow_outside, what, travels=True)
        taken = self._take(path)
        if mark.described_by is not None:
            held = load_yaml(path)
            nested = list(places(mark.described_by, held))
            held = self._rewritten(nested, held, here=str(Path(path).parent), source=value)
            there = {place.keys: self._from(taken, value_at(held, place.keys)) for place in nested}
            self.files[taken] = _dumped(replaced(held, there))
        return taken

    def _from(self, taken: str, value: str) -> str:
        """A place in a file that travels as `taken`, relative to its folder there if it travels too."""
        return os.path.relpath(value, Path(taken).parent) if value in self.files else value

    def _written(self, value: str, what: str) -> str:
        """What is written: an address, or a folder that is shared."""
        if "://" in value:
            return value
        path = _plain(value)
        if not self._is_shared(path):
            raise UsageError(f"{what} {value}: is a place of this machine; {OUTPUT_REMEDY}")
        return path

    def _require_outputs(self) -> None:
        """An output that no option names, and that does not follow from one that all nodes reach, would be lost."""
        config = self.line.config
        for key in type(config).model_fields:
            mark = mark_of(type(config), key)
            if not isinstance(mark, Writes) or key in self.line.values or key in self.line.yaml:
                continue
            default = getattr(config, mark.unset)() if mark.unset else getattr(config, key)
            if default and "://" not in default and not self._is_shared(_plain(default)):
                raise UsageError(
                    f"{typed(self.line, key)} is missing: it would be {default} of one machine; {OUTPUT_REMEDY}"
                )

    def _require_runs(self, path: str, mark: Reads, allow_outside: bool, what: str, *, travels: bool) -> None:
        """Refuse a sheet with a run that only this machine reaches, naming the first and its row."""
        if not Path(path).is_file() or not (mark.holds == "sheet" or (mark.holds == "input" and _is_sheet(path))):
            return
        sheet = Sheet.read(path, allow_outside=allow_outside)
        for index, (run, row) in enumerate(zip(sheet.runs, sheet.rows, strict=True)):
            for column, location in (("path", run.path), ("quant_path", run.quant_path)):
                if location is None or "://" in location:
                    continue
                cell = str(sheet.table[column].iloc[index]).strip()
                if not self._is_shared(location) or (travels and not Path(cell).is_absolute()):
                    raise UsageError(f"{what} {path}: row {row}: {column} {cell} is a file of this machine; {REMEDY}")

    def _require_small(self, path: str, what: str) -> None:
        size = Path(path).stat().st_size
        if size > LARGEST:
            raise UsageError(
                f"{what}: has {size / 2**20:.1f} MB; up to {LARGEST // 2**20} MB travel with a job: {REMEDY}"
            )

    def _take(self, path: str, content: bytes | None = None) -> str:
        """Take a file along, with other content if given; its name in the job's working folder."""
        path = _plain(path)
        if path not in self.origins:
            name, number = f"{INPUTS}/{Path(path).name}", 1
            while name in self.files:
                number += 1
                name = f"{INPUTS}/{number}/{Path(path).name}"
            self.files[name] = Path(path).read_bytes() if content is None else content
            self.origins[path] = name
        return self.origins[path]

    def _is_shared(self, path: str) -> bool:
        return any(Path(path).is_relative_to(folder) for folder in self.shared)


def _plain(path: str) -> str:
    """An absolute path without ``..``; links are not followed, for nodes may have others."""
    return os.path.abspath(path)  # noqa: PTH100 (Path.absolute keeps "..")


def _is_name(value: str, names: str) -> bool:
    import re

    return re.fullmatch(names, value) is not None


def _is_sheet(path: str) -> bool:
    """Whether an input that may be a sheet or a run is a sheet: by its ending, unless its content is that of a run."""
    from ms2img.io.run_files import format_or_reason

    return suffix(path) in SHEET_SUFFIXES and isinstance(format_or_reason(path), RunError)


def _dumped(values: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).encode()
