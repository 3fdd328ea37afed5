"""Predictions for rows without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np

from promptkit.core.arguments import check_arguments
from promptkit.core.output_reader import Answers, OutputReader
from promptkit.predictor.decide.rule import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats

T = TypeVar("T")

Column = Sequence[str | float | bool | list[str] | None]
"""The values of a column of the predictions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction for one row."""

    prediction: str | None
    """The predicted label, choice or text; None if the row has no answer, the predictor abstains, or there is an error."""
    probability: float | None
    """The probability of the prediction; None for a generated text, and without a prediction."""
    probabilities: Mapping[str, float]
    """Label or choice -> its probability; empty for a generated text, and for a row without an answer."""
    abstained: bool
    """Whether the row was read and no prediction is made."""
    error: str | None
    """Why the row could not be read; None if it was."""
    label_set: tuple[str, ...] | None = None
    """The labels that remain possible; None if no label sets were requested."""
    labels: tuple[str, ...] | None = None
    """The predicted labels of a row that any number of labels can apply to; None for other rows, and without a prediction."""
    value: float | None = None
    """The expected value of a row on a numeric scale; None without a scale, and for a row without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """The predictions for rows, in their order. Iterating over it yields a `Prediction` for each row."""

    labels: tuple[str, ...]
    """The labels that all rows share; empty if rows have different answer choices, or the answers are generated texts."""
    candidates: tuple[tuple[str, ...], ...]
    """The labels or choices of each row, in the order of `probabilities`; empty for a generated text, and for a row of choices
    without an answer."""
    predictions: tuple[str | None, ...]
    """The prediction for each row; None if it has no answer, the predictor abstains, or there is an error."""
    probabilities: Floats
    """The probabilities of the labels or choices, shape (rows, K); 0 in a row without an answer. K is 0 for generated texts. If
    any number of labels can apply, the probability that each label does."""
    errors: tuple[str | None, ...]
    """For each row, why it could not be read; None if it was."""
    sets: tuple[tuple[str, ...], ...] | None = None
    """For each row, the labels that remain possible: all without an answer, none with an error. None if not requested."""
    label_lists: tuple[tuple[str, ...] | None, ...] | None = None
    """The predicted labels of each row, if any number of labels can apply; None without a prediction, and for other tasks."""
    values: Floats | None = None
    """The expected value of each row, shape (rows,), NaN for a row without an answer; None without a numeric scale."""

    @classmethod
    @check_arguments("Predictions.of_answers")
    def of_answers(cls, answers: Answers, labels: tuple[str, ...], errors: Sequence[str | None]) -> Predictions:
        """Returns the predictions for rows, some of which could not be read.

        Args:
            answers: The answers to the rows that were read, in their order.
            labels: The labels that all rows share, if they do.
            errors: For each row, why it could not be read; None if it was.
        """
        read = [index for index, error in enumerate(errors) if error is None]
        probabilities = np.zeros((len(errors), answers.logprobs.shape[1]))
        probabilities[read] = answers.probabilities
        predictions: list[str | None] = [None] * len(errors)
        candidates: list[tuple[str, ...]] = [labels] * len(errors)
        for index, prediction, names in zip(read, answers.predictions, answers.candidates, strict=True):
            predictions[index], candidates[index] = prediction, names
        return cls(
            labels=labels,
            candidates=tuple(candidates),
            predictions=tuple(predictions),
            probabilities=probabilities,
            errors=tuple(errors),
            label_lists=None if answers.label_lists is None else _placed(answers.label_lists, read, len(errors)),
            values=None if answers.values is None else _placed_values(answers.values, read, len(errors)),
        )

    @classmethod
    @check_arguments("Predictions.empty")
    def empty(cls, reader: OutputReader) -> Predictions:
        """Returns the predictions for no rows, which have the columns of the predictions by a first aligner."""
        return cls.of_answers(reader.answers([]), reader.labels, [])

    @classmethod
    @check_arguments("Predictions.joined")
    def joined(cls, parts: Sequence[Predictions], reader: OutputReader) -> Predictions:
        """Concatenates predictions; rows of choices are padded to the largest number of choices.

        Args:
            parts: The predictions, in their order.
            reader: The first aligner of the predictor.
        """
        if not parts:
            return cls.empty(reader)
        labels = reader.labels
        lists = [part.label_lists for part in parts if part.label_lists is not None]
        values = [part.values for part in parts if part.values is not None]
        width = max(part.probabilities.shape[1] for part in parts)
        padded = [np.pad(part.probabilities, ((0, 0), (0, width - part.probabilities.shape[1]))) for part in parts]
        return cls(
            labels=labels,
            candidates=tuple(names for part in parts for names in part.candidates),
            predictions=tuple(prediction for part in parts for prediction in part.predictions),
            probabilities=np.concatenate([np.zeros((0, width)), *padded]),
            errors=tuple(error for part in parts for error in part.errors),
            label_lists=tuple(labels for each in lists for labels in each) if lists else None,
            values=np.concatenate(values) if values else None,
        )

    @check_arguments("Predictions.decided")
    def decided(self, rule: Rule) -> Predictions:
        """Returns the predictions for the rows that a rule answers, and with the label sets that it gives.

        Args:
            rule: Decides which rows are answered, by the probabilities of their labels.
        """
        answered = rule.answers(self.probabilities)
        pairs = zip(self.predictions, answered.tolist(), strict=True)
        predictions = tuple(prediction if is_answered else None for prediction, is_answered in pairs)
        members = rule.members(self.probabilities)
        if members is not None:
            members = members & np.array([error is None for error in self.errors], bool)[:, None]
        return replace(
            self,
            predictions=predictions,
            sets=None if members is None else tuple(self._labels(row) for row in members.tolist()),
        )

    def _labels(self, members: Sequence[bool]) -> tuple[str, ...]:
        return tuple(label for label, is_member in zip(self.labels, members, strict=True) if is_member)

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Whether each row was read and no prediction is made, shape (rows,)."""
        pairs = zip(self.predictions, self.errors, strict=True)
        return np.array([prediction is None and error is None for prediction, error in pairs], bool)

    @property
    def confidence(self) -> Floats:
        """The probability of each row's likeliest label or choice, shape (rows,); 0 without an answer, and for texts."""
        confidence: Floats = self.probabilities.max(1, initial=0.0)
        return confidence

    def __len__(self) -> int:
        return len(self.predictions)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            return replace(
                self,
                candidates=self.candidates[index],
                predictions=self.predictions[index],
                probabilities=self.probabilities[index],
                errors=self.errors[index],
                sets=None if self.sets is None else self.sets[index],
                label_lists=None if self.label_lists is None else self.label_lists[index],
                values=None if self.values is None else self.values[index],
            )
        prediction, error, probabilities = self.predictions[index], self.errors[index], self.probabilities[index].tolist()
        confidence = max(probabilities, default=0.0)
        has_scores, value = confidence > 0, None if self.values is None else float(self.values[index])
        is_single = has_scores and self.label_lists is None
        return Prediction(
            prediction=prediction,
            probability=confidence if is_single and prediction is not None else None,
            probabilities=dict(zip(self.candidates[index], probabilities, strict=False)) if has_scores else {},
            abstained=prediction is None and error is None,
            error=error,
            label_set=None if self.sets is None else self.sets[index],
            labels=None if self.label_lists is None else self.label_lists[index],
            value=None if value is None or np.isnan(value) else value,
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def to_columns(self) -> dict[str, Column]:
        """Returns the columns of a table of predictions: name -> values.

        The columns are `prediction`, `probability`, `value` (only with a numeric scale), `p_LABEL` for each label that all rows
        share, `label_set` (only if label sets were requested), `abstained` and `error`. If any number of labels can apply to a
        row, `prediction` is the list of those that do, and there is no column `probability`.
        """
        columns: dict[str, Column] = {}
        confidence, has_scores = self.confidence.tolist(), (self.confidence > 0).tolist()
        if self.label_lists is None:
            made = [prediction is not None for prediction in self.predictions]
            pairs = zip(confidence, has_scores, made, strict=True)
            columns["prediction"] = self.predictions
            columns["probability"] = [value if scored and is_made else None for value, scored, is_made in pairs]
        else:
            columns["prediction"] = [None if labels is None else [*labels] for labels in self.label_lists]
        if self.values is not None:
            columns["value"] = [None if np.isnan(value) else value for value in self.values.tolist()]
        for number, label in enumerate(self.labels):
            values = self.probabilities[:, number].tolist()
            columns[f"p_{label}"] = [value if scored else None for value, scored in zip(values, has_scores, strict=True)]
        if self.sets is not None:
            columns["label_set"] = [None if error else [*labels] for labels, error in zip(self.sets, self.errors, strict=True)]
        columns["abstained"] = self.abstained.tolist()
        columns["error"] = self.errors
        return columns


def _placed(lists: Sequence[T | None], rows: Sequence[int], count: int) -> tuple[T | None, ...]:
    """Returns a value for each of `count` rows: the given ones at the indices `rows`, and None for the others."""
    placed: list[T | None] = [None] * count
    for row, each in zip(rows, lists, strict=True):
        placed[row] = each
    return tuple(placed)


def _placed_values(values: Floats, rows: Sequence[int], count: int) -> Floats:
    placed: Floats = np.full(count, np.nan)
    placed[list(rows)] = values
    return placed
