"""Predictions for labeled rows that the predictor was not fitted on: the basis of statements about new rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.metric_input import MetricInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutOfFold:
    """Probabilities of labeled rows, each predicted without its own label.

    Either the rows were held out, or every row was predicted by a predictor that was fitted on the other folds.
    """

    labels: tuple[str, ...]
    """The labels in the declared order."""
    gold: Integers
    """The index of each row's label, shape (N,)."""
    probabilities: Floats
    """The probabilities of the labels, shape (N, K); they are 0 in a row without an answer and sum to 1 in the others."""
    folds: int = 0
    """The number of folds; 0 if the rows were held out."""

    @classmethod
    def of_metric_input(cls, metric_input: MetricInput, labels: tuple[str, ...], *, folds: int = 0) -> OutOfFold:
        """Returns the predictions for the evaluated rows of a run.

        Args:
            metric_input: The input of the run's metrics, whose kind is `labels`.
            labels: The labels in the declared order.
            folds: The number of folds; 0 if the rows were held out.
        """
        return cls(labels=labels, gold=metric_input.gold, probabilities=metric_input.probabilities, folds=folds)

    def __len__(self) -> int:
        return len(self.gold)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Whether each row has an answer, shape (N,)."""
        answered: NDArray[np.bool_] = self.confidence > 0
        return answered

    @property
    def confidence(self) -> Floats:
        """The probability of each row's likeliest label, shape (N,); 0 without an answer."""
        confidence: Floats = self.probabilities.max(1)
        return confidence

    @property
    def predicted(self) -> Integers:
        """The index of each row's likeliest label, shape (N,). Ties go to the first label."""
        predicted: Integers = self.probabilities.argmax(1)
        return predicted

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each row's likeliest label is correct, shape (N,); False without an answer."""
        correct: NDArray[np.bool_] = self.answered & (self.predicted == self.gold)
        return correct
