"""A command line taken apart by the command's own parser, and put together again with other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from ms2img.config import Config, load_yaml
from ms2img.errors import UsageError
from pipelines.command import COMMANDS, Registered, resolve

COMMON = ("config", "json", "quiet", "debug")  # options that every command has
CONFIG_KEY = "config"


@dataclass(frozen=True, eq=False)
class CommandLine:
    """A command line that the command itself would take.

    `values`: what was typed, by key; `flags`: common options that were given; `yaml_path`: the ``--config`` file and
    `yaml` what stands in it; `config`: all of it, resolved.
    """

    name: str
    registered: Registered
    values: dict[str, Any]
    flags: tuple[str, ...]
    yaml_path: str | None
    yaml: dict[str, Any]
    config: Config
    parameters: Sequence[Any]

    def words(self, values: Mapping[str, Any], yaml_path: str | None) -> list[str]:
        """The command line with these values in place of the typed ones."""
        given = {**values, CONFIG_KEY: yaml_path}
        positional: list[str] = []
        options: list[str] = []
        for parameter in self.parameters:
            value = given.get(parameter.name)
            if value is None or value == []:
                continue
            if parameter.param_type_name == "argument":
                positional += map(str, value if isinstance(value, list | tuple) else [value])
            else:
                options += _option(parameter, value)
        options += [f"--{flag}" for flag in self.flags]
        if any(word.startswith("-") for word in positional):
            return [*self.name.split(), *options, "--", *positional]
        return [*self.name.split(), *positional, *options]


def parse(words: Sequence[str], app: typer.Typer) -> CommandLine:
    """Take a command line apart; whatever the command itself would refuse is refused here, in the same words.

    Raises `UsageError`, or the parser's own error.
    """
    found: Any = typer.main.get_command(app)
    names: list[str] = []
    context, rest = None, list(words)
    while isinstance(found, TyperGroup):
        if not rest or rest[0].startswith("-"):
            before = " ".join(["ms2img submit [OPTIONS] --", *names])
            raise UsageError(f"{_shown(rest)} where a command is expected: {before} COMMAND ...")
        context = found.make_context(names[-1] if names else "ms2img", rest[:1], parent=context)
        names.append(rest.pop(0))
        _, found, _ = found.resolve_command(context, names[-1:])
    name = " ".join(names)
    registered = COMMANDS[name]
    if not registered.is_job:
        raise UsageError(f"ms2img {name} runs on this machine; it is no job for a cluster")
    given = dict(found.make_context(names[-1], rest, parent=context).params)
    yaml_path = given.pop(CONFIG_KEY)
    flags = tuple(flag for flag in COMMON if given.pop(flag, False) is True)
    values = {key: value for key, value in given.items() if value is not None and value not in ([], ())}
    return CommandLine(
        name=name,
        registered=registered,
        values=values,
        flags=flags,
        yaml_path=yaml_path,
        yaml=load_yaml(yaml_path) if yaml_path is not None else {},
        config=resolve(registered.config, values, yaml_path, name, registered.arguments),
        parameters=found.params,
    )


def _shown(rest: Sequence[str]) -> str:
    """What stands at the place of a command."""
    return f"'{rest[0]}' stands" if rest else "nothing stands"


def typed(line: CommandLine, key: str) -> str:
    """An option as a user types it: ``OUT`` or ``--out``."""
    return key.upper() if key in line.registered.arguments else f"--{key.replace('_', '-')}"


def _option(parameter: Any, value: Any) -> list[str]:
    """The words that give an option a value."""
    if parameter.is_flag:
        return [(parameter.opts if value else parameter.secondary_opts)[0]]
    name = parameter.opts[0]
    if parameter.multiple:
        return [f"{name}={each}" for each in value]
    if parameter.nargs > 1:
        return [name, *map(str, value)]
    return [f"{name}={value}"]
