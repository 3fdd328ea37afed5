"""Losses from a model's log-probabilities alone, for any model that scores continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.core.arrays import Array
from promptkit.core.distributed import processes
from promptkit.core.errors import Unsupported
from promptkit.core.requests import ClassifyOutput, Output, Request
from promptkit.training.dataset import TrainingData
from promptkit.training.objective import RowLoss, gathered, gathered_rows
from promptkit.training.optimizers.base import Parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class BlackBoxLosses:
    """Losses from `Score` requests. Answers are not cached, because candidates are tried only once."""

    def __init__(self, data: TrainingData) -> None:
        self._data = data

    def row_losses(self, candidates: Sequence[Parameters], rows: Sequence[int]) -> list[list[RowLoss]]:
        """Returns the loss of each row under each candidate; all requests are sent at once, in full batches."""
        data = self._data
        transforms = [data.transform(data.with_parameters(parameters)) for parameters in candidates]
        requests = [request for transform in transforms for request in data.requests(transform, rows)]
        targets = [data.targets[row] for row in rows] * len(candidates)
        local = processes().share([request.input.cost for request in requests])
        outputs = self._answers([requests[index] for index in local])
        losses = {
            index: RowLoss(loss, scores or ())
            for index, output in zip(local, outputs, strict=True)
            for loss, scores in [data.scorer.loss_of_output(targets[index], output)]
        }
        return gathered(losses, len(candidates), [data.score_counts[row] for row in rows])

    def _answers(self, requests: Sequence[Request]) -> list[Output]:
        model = self._data.model
        model.load()
        answers: dict[int, Output] = {}
        for indices, outputs in model.answer(requests):
            answers.update(zip(indices, outputs, strict=True))
        return [answers[index] for index in range(len(requests))]

    def class_logprobs(self, parameters: Parameters, rows: Sequence[int]) -> NDArray[np.float64]:
        """Returns the log-probabilities of all classes of a classifier for rows."""
        data = self._data
        requests = data.requests(data.transform(data.with_parameters(parameters)), rows)
        local = processes().share([request.input.cost for request in requests])
        numbers: dict[int, NDArray[np.float64]] = {}
        for index, output in zip(local, self._answers([requests[index] for index in local]), strict=True):
            assert isinstance(output, ClassifyOutput)
            numbers[index] = output.logprobs.numpy().astype(float)
        return gathered_rows(numbers, (len(rows), data.classes))

    def gradient(self, parameters: Parameters, rows: Sequence[int]) -> tuple[float, dict[str, Array]]:
        """Raises Unsupported."""
        raise self._no_gradients()

    def token_swap_scores(self, parameters: Parameters, rows: Sequence[int]) -> tuple[float, dict[str, NDArray[np.floating]]]:
        """Raises Unsupported."""
        raise self._no_gradients()

    def _no_gradients(self) -> Unsupported:
        name = self._data.model.name
        hint = "Use an optimizer without gradients: spsa or cma-es"
        return Unsupported(f"The model {name} does not provide gradients", code="no-gradients", hint=hint, model=name)

    def weights_hash(self) -> str:
        """Returns an empty string: scoring cannot change weights, which may be on a server."""
        return ""
