"""The options that a message names, and the options of the command that printed it."""

from __future__ import annotations

import re
import shlex
from functools import cache
from itertools import pairwise

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


KEYWORD = re.compile(r"(?<![\w:.\-/=,&])[a-z]+(?:_[a-z]+)*=(?:True|False|None)\b|\bin Python\b|\bpk\.(?!PromptkitError)\w+")
TEXT = re.compile(r"(?<![\w:.\-/=,&])[a-z]+(?:_[a-z]+)*=(?:\"|\[)")
"""Keywords with texts or lists as values, as in Python."""


def python_words(message: str) -> list[str]:
    """What a message of the command line says about Python. What was given may contain texts and lists."""
    return KEYWORD.findall(message) + TEXT.findall(re.sub(r"Given: .*?\. (?=[A-Z])", "", message))


def repeated_options(command: str, message: str) -> set[str]:
    """The options with values that a message proposes to add although its command has them already."""
    try:
        words = shlex.split(command)
    except ValueError:
        return set()
    given = {f"{option} {value}" for option, value in pairwise(words) if option.startswith("--")}
    given |= {word for word, following in pairwise([*words, "--"]) if word.startswith("--") and following.startswith("--")}
    advice = message.rpartition("Given: ")[2].partition(". ")[2] or message.partition(". ")[2]
    words_before = r"\b(?:[Aa]dd|[Uu]se|[Ww]rite|[Tt]ry|[Gg]ive|or|with|and|consider)"
    proposed = set(re.findall(words_before + r" (--[a-z][a-z-]+(?: [\w.+:=/,-]*[\w+/])?)", advice))
    return {each for each in proposed if each in given}
