"""A config class becomes a command: options, defaults, YAML twin, exit statuses, one-line refusals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Literal

import pytest
import typer
from command_lines import parsers
from pydantic import Field

from ms2img.config import Config
from ms2img.errors import UsageError
from pipelines import cli
from pipelines.command import COMMANDS, Output, Result, command, command_group, named


class BrewConfig(Config):
    bean: str = Field(description="what is ground")
    cups: list[str] = Field(default=[], description="where it goes")
    grams: float = Field(18.0, gt=0, description="dose in g")
    roast: Literal["light", "dark"] = Field("light", description="colour")
    milk: bool = Field(False, description="with milk")
    window: tuple[float, float] = Field((90.0, 96.0), description="temperature from, to in °C")


@pytest.fixture
def brew(monkeypatch):
    app = typer.Typer(rich_markup_mode=None)
    seen: list[BrewConfig] = []

    @command(app, "brew", BrewConfig, arguments=("bean", "cups"))
    def _brew(config: BrewConfig, output: Output) -> Result:
        """Brew one."""
        seen.append(config)
        output.say("brewed")
        return Result({"grams": config.grams}, status=3 if config.milk else 0)

    @app.command("other")
    def _other() -> None: ...

    monkeypatch.setattr(cli, "app", app)
    return seen


def test_values_come_from_command_line_then_yaml_then_default(brew, tmp_path, capsys):
    (tmp_path / "brew.yaml").write_text("bean: arabica\ngrams: 20\nroast: dark\nwindow: [88, 92]\n")
    assert cli.main(["brew", "robusta"]) == 0
    assert cli.main(["brew", "--config", str(tmp_path / "brew.yaml"), "--grams", "21"]) == 0
    assert cli.main(["brew", "robusta", "a", "b", "--milk", "--window", "80", "85"]) == 3
    assert brew == [
        BrewConfig(bean="robusta"),
        BrewConfig(bean="arabica", grams=21, roast="dark", window=(88, 92)),
        BrewConfig(bean="robusta", cups=["a", "b"], milk=True, window=(80, 85)),
    ]
    assert capsys.readouterr().out.splitlines() == ["brewed"] * 3


def test_json_is_the_last_line_and_alone_on_standard_output(brew, capsys):
    assert cli.main(["brew", "x", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"grams": 18.0}
    assert err == "brewed\n"


def test_quiet_says_nothing(brew, capsys):
    assert cli.main(["brew", "x", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["brew"], "ms2img brew: BEAN is missing; see 'ms2img brew --help'"),
        (["brew", "x", "--grams", "-1"], "grams: .*greater than 0; got -1.0"),
        (["brew", "x", "--grams", "much"], "Invalid value for '--grams': .*valid number"),
        (["brew", "x", "--roast", "burnt"], "Invalid value for '--roast': 'burnt' is not one of 'light', 'dark'"),
        (["brew", "x", "--gram", "3"], "No such option: --gram.*--grams"),
        (["brew", "x", "--config", "no.yaml"], "no.yaml: cannot read the config file"),
        (["bru"], "No such command 'bru'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(brew, capsys, arguments, message):
    assert cli.main(arguments) == 2
    _, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UsageError("sheet.csv, row 3: no"), 2, "ms2img: sheet.csv, row 3: no"),
        (KeyboardInterrupt(), 130, "ms2img: interrupted"),
        (ZeroDivisionError("by\nzero"), 1, "ms2img: internal error: ZeroDivisionError: by (--debug shows where)"),
    ],
)
def test_errors_become_one_line_and_a_status(monkeypatch, capsys, error, status, message):
    app = typer.Typer(rich_markup_mode=None)

    @command(app, "fail", BrewConfig, arguments=("bean",))
    def _fail(config: BrewConfig, output: Output) -> Result:
        """Fail."""
        raise error

    @app.command("other")
    def _other() -> None: ...

    monkeypatch.setattr(cli, "app", app)
    assert cli.main(["fail", "x"]) == status
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert len(err.splitlines()) == 1
    assert cli.main(["fail", "x", "--debug"]) == status
    assert "Traceback" in capsys.readouterr().err


@pytest.fixture
def kitchen(monkeypatch):
    """A command line with a group of two commands."""
    app = typer.Typer(rich_markup_mode=None)
    group = command_group(app, "kitchen", "What is brewed and baked.")
    monkeypatch.setattr("pipelines.command.COMMANDS", dict(COMMANDS))
    seen: list[BrewConfig] = []

    @command(group, "kitchen brew", BrewConfig, arguments=("bean", "cups"))
    def _brew(config: BrewConfig, output: Output) -> Result:
        """Brew one."""
        seen.append(config)
        return Result({"grams": config.grams})

    @command(group, "kitchen bake", BrewConfig, arguments=("bean",), is_job=False)
    def _bake(config: BrewConfig, output: Output) -> Result:
        """Bake one."""
        return Result({})

    monkeypatch.setattr(cli, "app", app)
    return seen


def test_a_command_of_a_group_is_two_words_and_all_else_as_any_command(kitchen, tmp_path, capsys):
    (tmp_path / "brew.yaml").write_text("bean: arabica\ngrams: 20\n")
    assert cli.main(["kitchen", "brew", "--config", str(tmp_path / "brew.yaml"), "--roast=dark", "--json"]) == 0
    assert kitchen == [BrewConfig(bean="arabica", grams=20, roast="dark")]
    assert json.loads(capsys.readouterr().out) == {"grams": 20.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kitchen", "brew"], "ms2img kitchen brew: BEAN is missing; see 'ms2img kitchen brew --help'"),
        (["kitchen", "brwe", "x"], "No such command 'kitchen brwe'; did you mean 'kitchen brew'?"),
        (["kitchen", "brew", "x", "--gram", "3"], "No such option: --gram.*--grams"),
        (["kitchem", "brew"], "No such command 'kitchem'"),
    ],
)
def test_wrong_usage_of_a_group_names_the_command_as_it_is_typed(kitchen, capsys, arguments, message):
    assert cli.main(arguments) == 2
    _, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


@pytest.mark.parametrize(("arguments", "status"), [(["kitchen"], 2), (["kitchen", "--help"], 0)])
def test_a_group_alone_lists_its_commands(kitchen, capsys, arguments, status):
    assert cli.main(arguments) == status
    told = capsys.readouterr().out
    assert re.search(r"Usage: ms2img kitchen .*What is brewed and baked\..*bake +Bake one\.", told.replace("\n", " "))
    assert not kitchen


def test_what_a_command_line_names():
    assert named(["train", "x"]) == "train"
    assert named(["massformer", "sweep", "x"]) == "massformer sweep"
    assert named(["massformer"]) is None
    assert named(["massformer", "train-x"]) is None
    assert named([]) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["sweep", "x"], "add --resume to the same command to go on"),
        (["massformer", "sweep", "x"], "add --resume to the same command to go on"),
        (["massformer", "sweep", "x", "--resume"], "run the same command again to go on"),
        (["massformer", "prepare", "sweep"], "run the same command again to go on"),
    ],
)
def test_an_interruption_says_how_to_go_on(monkeypatch, capsys, given, told):
    def interrupted(arguments: object) -> Result:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "invoke", interrupted)
    assert cli.main(given) == 130
    assert capsys.readouterr().err == f"ms2img: interrupted; {told}\n"


def test_every_option_of_every_command_has_help_and_is_fast_to_ask():
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import pipelines.cli"], capture_output=True, text=True
    )
    loaded = {line.rsplit("|", 1)[-1].strip() for line in listing.stderr.splitlines()}
    assert not loaded & {"ray", "torch", "mlflow", "sklearn", "matplotlib", "numba", "rdkit"}
    for name, each in parsers(cli.app).items():
        assert each.help, name
        for parameter in each.params:
            assert parameter.help, f"{name}: {parameter.name}"
