"""The page of all commands with their options, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from typer.core import TyperCommand, TyperGroup

from promptkit.cli.main import app


def command_page() -> str:
    """Returns the page."""
    introduction = (
        "# Commands\n\n"
        "Every command has `--help`, which prints what is below. A finished command exits with 0, and with 1 after an error\n"
        "that its message explains; an unknown option exits with 2.\n"
    )
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return introduction + "\n".join(sections(group, "promptkit"))


def sections(group: TyperGroup, path: str) -> Iterator[str]:
    """Yields the section of each command of a group."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, TyperGroup):
            yield from sections(command, f"{path} {name}")
        else:
            yield f"\n## {path} {name}\n\n```text\n{help_of(command, f'{path} {name}')}\n```\n"


def help_of(command: TyperCommand, path: str) -> str:
    """Returns the help text of a command."""
    with command.make_context(path, [], resilient_parsing=True) as context:
        return command.get_help(context)
