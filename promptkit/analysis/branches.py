"""Reads the predictions of one branch of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from promptkit.core.errors import RunError, unknown
from promptkit.runs.files import expect
from promptkit.runs.finished import read_predictions
from promptkit.runs.folder import SUMMARY


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction of a branch for one row."""

    gold: str
    predicted: str | None
    """None if no answer was found in a generated text."""
    correct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The predictions of one branch of a finished run."""

    name: str
    task: str
    split: str
    rows: Mapping[str, Prediction]
    """Row id -> prediction."""


def locate(spelling: str) -> tuple[Path, str | None]:
    """Returns the folder and the branch that RUN or RUN:BRANCH names; the branch is None if only a run is named.

    Raises:
        RunError: If there is no such folder (`no-such-folder`).
    """
    path = Path(spelling)
    if path.is_dir():
        return path, None
    for index in (index for index, character in enumerate(spelling) if character == ":"):
        path = Path(spelling[:index])
        if path.is_dir():
            return path, spelling[index + 1 :]
    raise RunError(
        f"There is no run folder {spelling}",
        code="no-such-folder",
        hint="Use a folder that promptkit eval printed, or RUN:BRANCH",
        folder=spelling,
    )


def read_branch(path: Path, branch: str | None, *, name: str) -> Branch:
    """Returns a branch of a finished run.

    Args:
        path: Folder of the run.
        branch: Name of the branch, such as `contextual`; the run's first branch if None.
        name: The name that the result gets.

    Raises:
        InputError: If the run has no such branch.
        RunError: If the folder contains no finished run.
    """
    summary, predictions = read_predictions(path)
    with expect(path / SUMMARY, "the summary of a run"):
        branches = [str(result["align"]) for result in summary["results"]]
        chosen = branches[0] if branch is None else branch
        if chosen not in branches:
            raise unknown(f"branch of the run {path}", chosen, branches)
        rows = {
            row["id"]: Prediction(gold=row["gold"], predicted=row["predictions"][chosen], correct=row["correct"][chosen])
            for row in predictions
        }
        return Branch(name=name, task=summary["task"], split=summary["split"], rows=rows)
