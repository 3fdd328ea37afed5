"""Builds the learning curve of a run from the command line, with the task of the run for its baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.config.evaluation import EvalConfig
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, PromptkitError
from promptkit.core.paths import expanded
from promptkit.runs.recorded import read_options

if TYPE_CHECKING:
    from promptkit.studies.learning_curve import LearningCurve
    from promptkit.tasks.task import Task


def learning_curve_of(run: str, calibrate: str, per_class: str, draws: int) -> LearningCurve:
    """Returns the learning curve of a run, with a baseline on its inputs if its task can still be loaded.

    Args:
        run: Folder of the run.
        calibrate: Probes and label maps of the run, or `all`.
        per_class: Numbers of labeled rows of each label, separated by commas.
        draws: How many times labeled rows are drawn.

    Raises:
        PromptkitError: As `learning_curve`; a number is invalid.
    """
    from promptkit.studies.learning_curve import learning_curve

    return learning_curve(run, calibrate=calibrate, per_class=_numbers(per_class), draws=draws, task=_task(expanded(run)))


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise InputError(
            "The numbers of labeled rows must be whole numbers above 0, separated by commas",
            code="invalid-numbers",
            got=setting("per_class", text),
            hint=f"Write {setting('per_class', (1, 2, 5, 10))}",
            value=text,
        )
    return sorted({int(word) for word in words})


def _task(run: Path) -> Task | None:
    """The task of the run; None if the run was made from Python, or the task is not found any more."""
    options = read_options(run)
    if options is None:
        return None
    try:
        return EvalConfig(**options).load_task()
    except PromptkitError:
        return None
