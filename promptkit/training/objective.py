"""The objective of one training step: losses of rows as a function of the parameters.

The loss itself is defined in `promptkit.align.loss`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from promptkit.core.arrays import Array
from promptkit.core.distributed import processes
from promptkit.training.optimizers.base import Parameters


class RowLoss(NamedTuple):
    """The loss of one row."""

    loss: float
    """The loss."""
    scores: tuple[float, ...]
    """The scores of the row's candidates, in their order; empty for generated texts."""


class Losses(Protocol):
    """The losses of rows of a `TrainingData`, given by index."""

    def row_losses(self, candidates: Sequence[Parameters], rows: Sequence[int]) -> list[list[RowLoss]]:
        """Returns the loss of each row under each candidate's parameters."""
        ...

    def gradient(self, parameters: Parameters, rows: Sequence[int]) -> tuple[float, dict[str, Array]]:
        """Returns the mean loss of the rows, and its gradient; see `Objective.gradient`."""
        ...

    def token_swap_scores(self, parameters: Parameters, rows: Sequence[int]) -> tuple[float, dict[str, NDArray[np.floating]]]:
        """Returns the mean loss of the rows, and the estimated change for other tokens; see `Objective.token_swap_scores`."""
        ...

    def class_logprobs(self, parameters: Parameters, rows: Sequence[int]) -> NDArray[np.float64]:
        """Returns the log-probabilities of all classes of a classifier for rows, shape (rows, classes)."""
        ...

    def weights_hash(self) -> str:
        """Returns a hash of the frozen model's weights; empty if they are not accessible."""
        ...


@dataclass(slots=True, kw_only=True)
class BatchObjective:
    """The objective of one step: the mean loss of its rows."""

    source: Losses
    """Computes the losses."""
    rows: Sequence[int]
    """The rows of the step."""
    fixed_parameters: Parameters
    """Parameters that the optimizer does not see."""
    rows_computed: int = field(default=0, init=False)
    """The number of rows that the model computed, once for each candidate."""

    def losses(self, candidates: Sequence[Parameters]) -> list[float]:
        """Returns the mean loss of the rows for each candidate."""
        self.rows_computed += len(candidates) * len(self.rows)
        complete = [{**self.fixed_parameters, **parameters} for parameters in candidates]
        return [mean_loss(losses) for losses in self.source.row_losses(complete, self.rows)]

    def gradient(self, parameters: Parameters) -> tuple[float, dict[str, Array]]:
        """Returns the mean loss of the rows, and its gradient with respect to each parameter."""
        self.rows_computed += len(self.rows)
        return self.source.gradient({**self.fixed_parameters, **parameters}, self.rows)

    def token_swap_scores(self, parameters: Parameters) -> tuple[float, dict[str, NDArray[np.floating]]]:
        """Returns the mean loss of the rows, and the estimated change for other tokens."""
        self.rows_computed += len(self.rows)
        return self.source.token_swap_scores(parameters, self.rows)


def mean_loss(losses: Sequence[RowLoss]) -> float:
    """Returns the mean loss of rows."""
    return sum(loss for loss, _ in losses) / len(losses)


def gathered_rows(local: Mapping[int, NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Returns the numbers of all rows, collected from all processes.

    Args:
        local: This process's numbers, by row.
        shape: The number of rows, and the number of values of each row.
    """
    numbers = np.zeros(shape)
    for row, values in local.items():
        numbers[row] = values
    total: NDArray[np.float64] = processes().total(numbers)
    return total


def gathered(local: Mapping[int, RowLoss], candidates: int, counts: Sequence[int]) -> list[list[RowLoss]]:
    """Returns the losses of all rows under all candidates, from those that each process computed.

    Args:
        local: This process's losses, by candidate * rows + row.
        candidates: The number of candidates.
        counts: The number of scores of each row.
    """
    rows = len(counts)
    numbers = np.zeros((candidates * rows, 1 + max(counts)))
    for index, (loss, scores) in local.items():
        numbers[index, : 1 + len(scores)] = loss, *scores
    total = processes().total(numbers).tolist()
    losses = [RowLoss(loss, tuple(scores[: counts[index % rows]])) for index, (loss, *scores) in enumerate(total)]
    return [losses[start : start + rows] for start in range(0, len(losses), rows)]
