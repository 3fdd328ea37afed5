"""The rows of a run with the answers of its branches, as objects and as a data frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan

from promptkit.core.metric_input import MetricInput
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.run_data import RunData


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAnswer:
    """The answer of one branch to a row."""

    prediction: str | None
    """The prediction; None for a row without an answer."""
    correct: bool
    """Whether the prediction is correct."""
    probabilities: Mapping[str, float]
    """Label or choice -> probability; empty for free texts and for a row without an answer."""
    value: float | None
    """The predicted value on the task's numeric scale; None without a scale or an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow(EvaluatedRow):
    """An evaluated row with the answer of each branch."""

    answers: Mapping[str, RowAnswer]
    """Branch -> its answer."""

    def columns(self, branches: Mapping[str, str]) -> dict[str, object]:
        """Returns the row as column -> value, for a data frame.

        Args:
            branches: Branch -> what precedes the names of its columns.
        """
        columns: dict[str, object] = {"id": self.id}
        if self.fold:
            columns["fold"] = self.fold
        if self.row_id is not None:
            columns["row_id"] = self.row_id
        own = {*columns, "gold"}
        columns |= {f"input {name}" if name in own else name: value for name, value in self.inputs.items()}
        columns["gold"] = self.gold
        for branch, prefix in branches.items():
            answer = self.answers[branch]
            columns |= {f"{prefix}prediction": answer.prediction, f"{prefix}correct": answer.correct}
            if self.choices:
                columns[f"{prefix}probabilities"] = dict(answer.probabilities)
            else:
                columns |= {f"{prefix}p({label})": value for label, value in answer.probabilities.items()}
            if answer.value is not None:
                columns[f"{prefix}value"] = answer.value
        return columns


def run_rows(run: RunData) -> Iterator[RunRow]:
    """Yields the rows of a run with the answers of its branches."""
    inputs = {result.align: (result.predictions, result.metric_input) for result in run.results}
    probabilities = {align: each.probabilities for align, (_, each) in inputs.items()}
    for index, row in enumerate(run.evaluated):
        names = run.labels or row.choices
        answers = {
            align: RowAnswer(
                prediction=predictions[index],
                correct=bool(metric_input.correct[index]),
                probabilities=dict(zip(names, probabilities[align][index].tolist(), strict=False))
                if metric_input.answered[index]
                else {},
                value=_value(metric_input, index),
            )
            for align, (predictions, metric_input) in inputs.items()
        }
        yield RunRow(
            id=row.id,
            fold=row.fold,
            row_id=row.row_id,
            inputs=row.inputs,
            gold=row.gold,
            accepted=row.accepted,
            choices=row.choices,
            answers=answers,
        )


def _value(metric_input: MetricInput, index: int) -> float | None:
    """The predicted value of a row on a numeric scale; None without a scale or an answer."""
    if metric_input.predicted_values is None:
        return None
    value = float(metric_input.predicted_values[index])
    return None if isnan(value) else value
