"""The protocol of baselines: predictors of answers that use only labeled rows, and no pretrained model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from promptkit.core.examples import Example, LabeledExample
from promptkit.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Rows = Sequence[LabeledExample]
"""Labeled rows, on which a baseline is fitted."""
Scores = Mapping[str, float]
"""Label, choice or text -> its log-probability; those with a probability of 0 can be left out."""


class Baseline(Protocol):
    """A predictor without a pretrained model."""

    @property
    def name(self) -> str:
        """Its name in tables and files."""
        ...

    @property
    def description(self) -> str:
        """A short description for the caption of a table."""
        ...

    @property
    def max_rows(self) -> int | None:
        """The largest number of labeled rows that it is fitted on, chosen by the hash of their id; None for any number."""
        ...

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether it can predict the answers of a task."""
        ...

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the scores of each item; the answer with the highest score is its prediction.

        Args:
            rows: The training rows, at least one; their order has no effect.
            items: The rows to predict.
            labels: The labels of the task, in the declared order; empty if the task declares none.
        """
        ...


class NumberBaseline(ABC):
    """A baseline that predicts a number. Its label is the nearest one of a scale, if there is one."""

    name: ClassVar[str]
    description: ClassVar[str]
    max_rows: ClassVar[int | None] = None

    @abstractmethod
    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether it can predict the answers of a task."""

    @abstractmethod
    def predict_values(self, rows: Rows, items: Sequence[Example]) -> list[float]:
        """Returns the number of each item.

        Args:
            rows: The training rows, at least one; their order has no effect.
            items: The rows to predict.
        """


AnyBaseline = Baseline | NumberBaseline
"""A baseline that predicts answers, or one that predicts numbers."""


def scores_of(logprobs: Floats, labels: Sequence[str]) -> list[Scores]:
    """Returns the scores of items.

    Args:
        logprobs: Log-probabilities, shape (items, labels).
        labels: The label of each column.
    """
    return [dict(zip(labels, row, strict=True)) for row in logprobs.tolist()]


def predicted(scores: Scores) -> str:
    """Returns the answer with the highest score; ties go to the first."""
    return max(scores, key=lambda answer: scores[answer])
