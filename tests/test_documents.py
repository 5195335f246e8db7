"""What the documents say is true: commands exist, options exist, pinned versions cover what is declared."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from command_lines import parsers
from packaging.requirements import Requirement

from pipelines import cli
from pipelines.command import named

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
COMMANDS = parsers(cli.app)
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}


def typed_commands(page: Path) -> list[list[str]]:
    """The ``ms2img ...`` lines of the code blocks and inline code of a page, split into words."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(ms2img [a-z][^`]*)`", text)
    found = [line.removeprefix("$ ").removeprefix(".venv/bin/") for line in lines]
    commands = [shlex.split(line) for line in found if line.startswith("ms2img ")]
    return [part for words in commands for part in _submitted(words)]


def _submitted(words: list[str]) -> list[list[str]]:
    """A command, and the one that it submits: what stands behind ``--``."""
    if "--" not in words:
        return [words]
    at = words.index("--")
    return [words[:at], *([["ms2img", *words[at + 1 :]]] if words[at + 1 :] else [])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_in_a_document_exists(page):
    for _, *words in typed_commands(page):
        if words[0].startswith("-") or (words[0] in GROUPS and words[1:2] in ([], ["--help"])):
            continue
        name = named(words)
        assert name is not None, f"{page.name}: ms2img {' '.join(words)}"
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts + parameter.secondary_opts}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known | {"--help"}, f"{page.name}: ms2img {name} {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_is_in_the_readme():
    """Those of a group are on the group's page, and the readme leads there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = {named(words[1:]) for words in typed_commands(ROOT / "README.md")}
    for group in GROUPS:
        shown |= {named(words[1:]) for words in typed_commands(ROOT / "docs" / f"{group}.md")}
        assert f"(docs/{group}.md)" in readme
    assert set(COMMANDS) - shown <= {"demo"}  # make demo
    assert "make demo" in readme


def test_every_declared_package_is_pinned_and_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split():
        name, version = line.split("==")
        pins[canonical(name)] = version
    explained = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    declared = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    for requirement in map(Requirement, declared):
        if requirement.name == "ms2img":
            continue
        assert requirement.specifier.contains(pins[canonical(requirement.name)]), requirement
        assert requirement.name.lower() in explained, requirement


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
