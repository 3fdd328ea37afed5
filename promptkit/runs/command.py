"""Writes the commands that repeat a run, for example with more calibrations."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from promptkit.core.paths import OUT
from promptkit.runs.inferred_options import (
    DATA_PLACEHOLDER,
    LEARNED_PLACEHOLDER,
    PMI,
    PROMPT,
    TASK_PLACEHOLDER,
    inferred_options,
)
from promptkit.runs.schema import RunSettings
from promptkit.runs.words import command_words

CALIBRATION_OPTIONS = frozenset({"calibrate", "labelmap", "per_class"})
"""The options that the calibrations of a command replace."""


def eval_command(
    settings: RunSettings, calibrate: Sequence[str], *, folder: Path | None = None, recorded: Mapping[str, object] | None = None
) -> str | None:
    """Returns the command that repeats a run with the given calibrations.

    Args:
        settings: Settings of the run.
        calibrate: The calibrations, as the command line spells them.
        folder: The run's folder.
        recorded: The options that the run has recorded; None for a run that was created from Python objects, whose options are
            inferred from the settings.

    Returns:
        The command, or None if the command line cannot express the run, such as one of a model that was given as an object.
    """
    options = inferred_options(settings, folder) if recorded is None else recorded
    if options is None:
        return None
    kept = {name: value for name, value in options.items() if name not in CALIBRATION_OPTIONS}
    if recorded is not None and PROMPT in kept:
        folders = cast(Sequence[str], kept[PROMPT])
        kept[PROMPT] = [folder if Path(folder).exists() else LEARNED_PLACEHOLDER for folder in folders]
    further = [name for name in calibrate if not (options.get("score") == PMI and name == PMI)]
    words = command_words("eval", kept, out=OUT if folder is None else folder.parent)
    return shlex.join([*words, "--calibrate", ",".join(further)])


def placeholders(command: str) -> dict[str, str]:
    """Returns the placeholders in a command, with descriptions of their replacements."""
    found = {}
    if command.startswith(f"promptkit eval {TASK_PLACEHOLDER} "):
        found[TASK_PLACEHOLDER] = "your task file and its options"
    if f" --data {DATA_PLACEHOLDER} " in command:
        found[DATA_PLACEHOLDER] = "the folder of the datasets"
    if f" --prompt {LEARNED_PLACEHOLDER} " in command:
        found[LEARNED_PLACEHOLDER] = "the folder of the learned manipulation"
    return found


def explained(command: str) -> str:
    """Returns a command, followed by an explanation of its placeholders in parentheses."""
    notes = [f"replace {name} by {value}" for name, value in placeholders(command).items()]
    return command + (f" ({'; '.join(notes)})" if notes else "")
