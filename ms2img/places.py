"""Which options of a command name places: files, folders and addresses that it reads or writes.

A field of a config says so by a mark in its annotation, ``samples: Annotated[str, Reads("sheet")]``, so that whoever
moves a command to another machine knows what has to come along and what has to be reached from there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from ms2img.config import Config

Key = str | int
#: What is no place where a model is asked for: one in the registry, by name, and one by the id of its run.
MODEL_NAMES = r"(models|runs):/.*|[0-9a-f]{32}"


@dataclass(frozen=True)
class Reads:
    """Marks an option that names what is read.

    `holds`: "data", any file or folder; "sheet", a sample sheet, which names the files of runs; "input", a sheet or
    something else, as the content tells; "runs", files whose places are written down, so that they stay where they are.
    `names`: a regular expression of values that are names and no places, such as registered models.
    `described_by`: it is a YAML file with these keys, which may name places themselves, relative to the file.
    """

    holds: Literal["data", "sheet", "input", "runs"] = "data"
    names: str = ""
    described_by: type[Config] | None = None


@dataclass(frozen=True)
class Writes:
    """Marks an option that names what is written.

    `unset`: the method of the config that says where that is when the option is not given; it returns an empty text
    where nothing is written then.
    """

    unset: str = ""


@dataclass(frozen=True)
class Place:
    """A value that names a place: where it stands among the values, and how it is marked.

    `allow_outside`: whether the sheet that it may be was allowed to name files above its own folder.
    """

    keys: tuple[Key, ...]
    value: str
    mark: Reads | Writes
    allow_outside: bool

    @property
    def option(self) -> str:
        """The key at the top of the values."""
        return str(self.keys[0])


def mark_of(config: type[Config], key: str) -> Reads | Writes | None:
    """The mark of a field, if it names a place."""
    return next((mark for mark in config.model_fields[key].metadata if isinstance(mark, Reads | Writes)), None)


def places(config: type[Config], values: Mapping[str, Any]) -> Iterator[Place]:
    """Every place that `values` of a config name, in nested configs too; values that are not there name none."""
    yield from _places(config, values, ())


def replaced(values: Mapping[str, Any], new: Mapping[tuple[Key, ...], str]) -> dict[str, Any]:
    """A copy of `values` with other places, by their keys."""
    answer = copy.deepcopy(dict(values))
    for keys, value in new.items():
        value_at(answer, keys[:-1])[keys[-1]] = value
    return answer


def value_at(values: Mapping[str, Any], keys: Sequence[Key]) -> Any:
    """What stands under these keys."""
    found: Any = values
    for key in keys:
        found = found[key]
    return found


def _places(config: type[Config], values: Mapping[str, Any], under: tuple[Key, ...]) -> Iterator[Place]:
    allow_outside = bool(values.get("allow_outside"))
    for key in config.model_fields:
        value, mark = values.get(key), mark_of(config, key)
        here = (*under, key)
        if mark is None:
            yield from _nested(config.model_fields[key].annotation, value, here)
        elif isinstance(value, str):
            yield Place(here, value, mark, allow_outside)
        elif isinstance(value, Sequence):
            for index, each in enumerate(value):
                yield Place((*here, index), str(each), mark, allow_outside)


def _nested(annotation: Any, value: Any, here: tuple[Key, ...]) -> Iterator[Place]:
    """The places in a config within a config, or in a mapping of names to configs."""
    if not isinstance(value, Mapping):
        return
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield from _places(annotation, value, here)
    elif get_origin(annotation) is dict:
        for name, each in value.items():
            yield from _nested(get_args(annotation)[1], each, (*here, name))
    else:
        for part in get_args(annotation):  # X | None
            yield from _nested(part, value, here)
