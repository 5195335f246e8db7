"""A command from a config: every field becomes an option with help, default and YAML twin.

The config classes are the single source of truth. A job's module says what its options are; here they become command
line parameters whose default is "not given", so that a value comes from the command line, else from ``--config``, else
from the field.
"""

from __future__ import annotations

import difflib
import inspect
import json
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console, RenderableType
from typer.core import TyperGroup

from ms2img.config import Config
from ms2img.errors import UsageError

FILE_WIDTH = 160  # columns of a table that goes to a file or a pipe, where there is no window to fit

ConfigT = TypeVar("ConfigT", bound=Config)


@dataclass(frozen=True)
class Output:
    """How a command talks to a person."""

    quiet: bool
    json: bool

    def say(self, text: str = "") -> None:
        """A line for a person; nothing under ``--quiet``, and on standard error under ``--json``."""
        if not self.quiet:
            print(text, file=sys.stderr if self.json else sys.stdout, flush=True)

    def show(self, what: RenderableType) -> None:
        """A table for a person, where `say` would put a line."""
        if not self.quiet:
            stream = sys.stderr if self.json else sys.stdout
            Console(file=stream, width=None if stream.isatty() else FILE_WIDTH).print(what)

    def warn(self, text: str) -> None:
        """A line that is worth reading even under ``--quiet``, on standard error."""
        print(f"ms2img: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Result:
    """What a command leaves behind: the values of its ``--json`` line and its exit status."""

    values: dict[str, Any]
    status: int = 0


@dataclass(frozen=True)
class Registered:
    """What is known of a command: the config of its options, the positional ones, whether a cluster may run it."""

    config: type[Config]
    arguments: tuple[str, ...]
    is_job: bool


#: Every command by its name as one types it, as `command` has registered it: "train", "massformer train".
COMMANDS: dict[str, Registered] = {}


def named(words: Sequence[str]) -> str | None:
    """The command that a command line begins with: one word, or two where the first names a group. None for none."""
    return next((name for size in (2, 1) if (name := " ".join(words[:size])) in COMMANDS), None)


class _Group(TyperGroup):
    """A group that refuses an unknown command by both its words."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """See `TyperGroup`."""
        if args[0] not in self.commands:
            [near] = difflib.get_close_matches(args[0], self.commands, n=1, cutoff=0.0)
            raise UsageError(f"No such command '{self.name} {args[0]}'; did you mean '{self.name} {near}'?")
        return super().resolve_command(ctx, args)


def command_group(app: typer.Typer, name: str, about: str) -> typer.Typer:
    """A group of commands, ``ms2img NAME COMMAND``; without a command it shows its help, and the status is 2."""
    group = typer.Typer(cls=_Group, rich_markup_mode=None)

    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            print(context.get_help())
            raise typer.Exit(2)

    group.callback(invoke_without_command=True)(show_help)
    app.add_typer(group, name=name, help=about)
    return group


def mean_and_sd(mean: float | None, sd: float | None) -> str:
    """``0.912 ± 0.034`` for a table; a dash where there is no number."""
    if mean is None:
        return "-"
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} ± {sd:.3f}"


def command(
    app: typer.Typer, name: str, config: type[ConfigT], *, arguments: Sequence[str] = (), is_job: bool = True
) -> Callable[[Callable[[ConfigT, Output], Result]], Callable[[ConfigT, Output], Result]]:
    """Register ``run(config, output) -> Result`` as `name`; fields in `arguments` are positional, in that order.

    The command's help text is the docstring of `run`. `is_job`: whether ``ms2img submit`` may send it to a cluster.
    In a group (see `command_group`, whose result is then `app`) `name` is both words: "massformer train".
    """
    COMMANDS[name] = Registered(config, tuple(arguments), is_job)

    def register(run: Callable[[ConfigT, Output], Result]) -> Callable[[ConfigT, Output], Result]:
        def invoke(**given: Any) -> Result:
            output = Output(quiet=given.pop("quiet"), json=given.pop("json"))
            given.pop("debug")  # read from the arguments by `pipelines.cli.main`, before any parsing can fail
            yaml_path = given.pop("config")
            values = {key: value for key, value in given.items() if value is not None and value != []}
            result = run(resolve(config, values, yaml_path, name, arguments), output)
            if output.json:
                print(json.dumps(result.values, sort_keys=True, allow_nan=False), flush=True)
            return result

        own_first = sorted(config.model_fields, key=lambda key: key not in config.__annotations__)
        names = [*arguments, *(key for key in own_first if key not in arguments)]
        parameters = [_parameter(key, config.model_fields[key], argument=key in arguments) for key in names]
        invoke.__signature__ = inspect.Signature(parameters + _common())  # type: ignore[attr-defined]
        invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters + _common()}
        invoke.__doc__ = run.__doc__
        app.command(name.split()[-1], help=inspect.cleandoc(run.__doc__ or ""))(invoke)
        return run

    return register


def resolve(
    config: type[ConfigT], given: dict[str, Any], yaml_path: str | None, name: str, arguments: Sequence[str]
) -> ConfigT:
    """Command line over YAML over defaults; a required argument that neither gives is named as the user types it."""
    required = [key for key, field in config.model_fields.items() if field.is_required()]
    if yaml_path is None:
        for key in required:
            if key not in given:
                typed = key.upper() if key in arguments else f"--{key.replace('_', '-')}"
                raise UsageError(f"ms2img {name}: {typed} is missing; see 'ms2img {name} --help'")
    return config.resolve(given, yaml_path)


def _common() -> list[inspect.Parameter]:
    """The options that every command has."""
    return [
        _keyword(
            "config", str | None, typer.Option("--config", help="YAML file with any of these options", metavar="FILE")
        ),
        _keyword("json", bool, typer.Option("--json", help="print one machine-readable line last"), default=False),
        _keyword("quiet", bool, typer.Option("--quiet", "-q", help="no progress, no text"), default=False),
        _keyword("debug", bool, typer.Option("--debug", help="show the traceback of an error"), default=False),
    ]


def _keyword(name: str, kind: Any, option: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _parameter(key: str, field: FieldInfo, *, argument: bool) -> inspect.Parameter:
    kind = _command_line_type(field.annotation)
    text = field.description or ""
    if argument:
        metavar = key.upper() + ("..." if get_origin(kind) is list else "")
        return _keyword(key, kind | None, typer.Argument(help=text, metavar=metavar, show_default=False))
    default = None if field.default is PydanticUndefined else field.default
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    shown = shown.lower() if isinstance(default, bool) else shown
    dashed = key.replace("_", "-")
    names = f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"
    if default not in (None, "", ()):
        text = f"{text} [default: {shown}]"
    option = typer.Option(names, help=text, show_default=False)
    return _keyword(key, kind | None, option)


def _command_line_type(annotation: Any) -> Any:
    """The type the command line parses: ``X | None`` is X, a tuple of any length a list; others stay."""
    if get_origin(annotation) in (Union, types.UnionType):
        return _command_line_type(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) is tuple and Ellipsis in get_args(annotation):
        return list[get_args(annotation)[0]]  # type: ignore[misc]
    return annotation
