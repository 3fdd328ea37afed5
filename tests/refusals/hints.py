"""The options that a message names, and the options of the command that printed it."""

from __future__ import annotations

import re
import shlex
from functools import cache

import typer.main

from promptkit.cli.main import app


def unusable_options(command: str, message: str) -> set[str]:
    """The options in a message that its command does not have. Those after the name of another command belong to that one."""
    with_other_commands = re.sub(r"promptkit [a-z]+(?: [a-z]+)*(?: [^;.,]+)?", "", message.removeprefix("promptkit: "))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", with_other_commands))
    return named - options_of(first_words(command))


def first_words(command: str) -> tuple[str, ...]:
    """The words of a command that can name it, such as `task init`."""
    try:
        return tuple(shlex.split(command)[:2])
    except ValueError:
        return tuple(command.split()[:2])


@cache
def options_of(words: tuple[str, ...]) -> frozenset[str]:
    """The options of the command that the words begin with."""
    command = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    return frozenset(option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts))
