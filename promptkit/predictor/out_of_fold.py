"""Predictions for labeled rows that the predictor was not fitted on: the basis of statements about new rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import NonNegativeInt

from promptkit.core.arguments import check_arguments, check_value
from promptkit.core.errors import InputError
from promptkit.core.metric_input import MetricInput
from promptkit.core.read_only import numeric_array, read_only_array

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

    def __post_init__(self) -> None:
        """Checks the values, and makes the arrays read-only."""
        check_value("labels", self.labels, tuple[str, ...], of="OutOfFold")
        check_value("folds", self.folds, NonNegativeInt, of="OutOfFold")
        gold = numeric_array("gold", self.gold, of="OutOfFold")
        probabilities = numeric_array("probabilities", self.probabilities, of="OutOfFold")
        shape = gold.size, len(self.labels)
        if probabilities.shape != shape or gold.ndim != 1 or not set(gold.tolist()) <= {*range(shape[1])}:
            raise InputError(
                "The probabilities of labeled rows need the shape (rows, labels), and gold the number of a label for each row",
                code="wrong-shape",
                got=f"probabilities of shape {probabilities.shape}, gold of shape {gold.shape} and {shape[1]} labels",
                shape=probabilities.shape,
                expected=shape,
            )
        object.__setattr__(self, "gold", read_only_array(gold.astype(np.int64)))
        object.__setattr__(self, "probabilities", read_only_array(probabilities.astype(np.float64)))

    @classmethod
    @check_arguments("OutOfFold.of_metric_input")
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
