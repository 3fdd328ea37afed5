"""Reads the predictions of one branch of a finished run, and computes the input of its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from promptkit.align.chain import chain_from_settings
from promptkit.collect.collected import Collected
from promptkit.collect.read_outputs import from_bytes
from promptkit.core.errors import RunError, unknown
from promptkit.core.metric_input import MetricInput
from promptkit.evaluation.results import compute_results
from promptkit.runs.baseline_files import read_baselines
from promptkit.runs.files import expect
from promptkit.runs.finished import read_predictions, read_rows, read_tensors
from promptkit.runs.folder import SETTINGS, SUMMARY

KEYS = frozenset(
    {"id", "fold", "gold", "accepted", "prediction", "correct", "skipped", "no_answer", "logprobs", "generations", "demos"}
)
"""The keys of a run's records that metrics are computed from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction of a branch for one row."""

    gold: str
    predicted: str | None
    """None if the row has no answer."""
    correct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The predictions of one branch of a finished run."""

    name: str
    align: str
    """Its name in the run, such as `contextual`."""
    task: str
    split: str
    rows: Mapping[str, Prediction]
    """Row id -> prediction."""
    seen_rows: int = 0
    """Number of the run's rows that its predictors were fitted on."""


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
        return Branch(
            name=name, align=chosen, task=summary["task"], split=summary["split"], rows=rows, seen_rows=summary["seen_rows"]
        )


def read_baseline(path: Path, baseline: str | None, *, name: str) -> tuple[Branch, MetricInput] | None:
    """Returns a baseline without a model that was evaluated on the rows of a run, as if it were a branch, and its metric input.

    Args:
        path: Folder of the run.
        baseline: Name of the baseline, such as `tfidf`.
        name: The name that the result gets.

    Returns:
        The baseline; None if the run has no such baseline.

    Raises:
        RunError: If the folder contains no finished run, or a file is damaged.
    """
    summary, predictions = read_predictions(path)
    baselines = read_baselines(path)
    found = [result for result in baselines.results if result.name == baseline] if baselines else []
    if not found or len(found[0].predictions) != len(predictions):
        return None
    (result,) = found
    answers = zip(predictions, result.predictions, result.metric_input.correct, strict=True)
    rows = {row["id"]: Prediction(gold=row["gold"], predicted=answer, correct=bool(right)) for row, answer, right in answers}
    branch = Branch(name=name, align=result.name, task=summary["task"], split=summary["split"], rows=rows)
    return branch, result.metric_input


def read_metric_input(path: Path, branch: str) -> MetricInput:
    """Returns the input of the metrics of a branch of a finished run; rows are in the order of its predictions.

    Args:
        path: Folder of the run.
        branch: Name of the branch.

    Raises:
        RunError: If the folder contains no finished run, or its settings cannot be read.
    """
    settings, samples, support = read_rows(path, KEYS)
    with expect(path / SETTINGS, "the settings of a run"):
        chain = {chain.name: chain for chain in map(chain_from_settings, settings["align"])}[branch]
    collected = Collected(samples=samples, support=support, read_outputs=from_bytes(read_tensors(path)))
    (result,) = compute_results([chain], collected)
    return result.metric_input
