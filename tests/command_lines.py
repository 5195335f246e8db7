"""The parser's own view of every command, by its name as one types it; nothing here is a test."""

from __future__ import annotations

from typing import Any

import typer


def parsers(app: typer.Typer) -> dict[str, Any]:
    """``{"train": ..., "massformer train": ...}``: commands, and those of groups by both words."""
    found = {}
    for name, each in typer.main.get_command(app).commands.items():
        inner = getattr(each, "commands", None)
        found |= {name: each} if inner is None else {f"{name} {word}": command for word, command in inner.items()}
    return found
