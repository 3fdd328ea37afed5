"""Hides the texts in a result of tuning: those of rows, of the prompt, and of instructions in the names of candidates."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from promptkit.tuning.figures import Standing, TuningResult

INSTRUCTION = re.compile(r"""instruction (?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
"""An instruction in the name of a prompt, as `promptkit.tuning.names` writes it."""
TEXT_OPTIONS = frozenset({"--instruction", "--template"})
"""The options of a command that can be texts of a prompt."""


def without_texts(result: TuningResult, standings: Sequence[Standing]) -> tuple[TuningResult, tuple[Standing, ...]]:
    """Returns a result and its leaderboard with numbers in place of instructions, and without other texts.

    Args:
        result: The result.
        standings: The candidates.
    """
    numbers: dict[str, str] = {}
    has_text = not TEXT_OPTIONS.isdisjoint(shlex.split(result.command))
    shown = result.model_copy(
        update={
            "prompt": "",
            "command": "" if has_text else result.command,
            "hard_rows": tuple(row.model_copy(update={"text": ""}) for row in result.hard_rows),
        }
    )
    return (
        TuningResult.model_validate(_numbered(shown.model_dump(), numbers)),
        tuple(Standing.model_validate(_numbered(each.model_dump(), numbers)) for each in standings),
    )


def _numbered(value: object, numbers: dict[str, str]) -> object:
    """Returns values with a number in place of each instruction in their texts."""
    if isinstance(value, str):
        return INSTRUCTION.sub(lambda found: numbers.setdefault(found[0], f"instruction {len(numbers) + 1}"), value)
    if isinstance(value, Mapping):
        return {name: _numbered(each, numbers) for name, each in value.items()}
    return [_numbered(each, numbers) for each in value] if isinstance(value, list | tuple) else value
