"""The logits of images as differentiable functions of the operations on their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from promptkit.core.arrays import Array
from promptkit.core.errors import TrainingError, Unsupported
from promptkit.core.interventions import InputOperation, Interventions
from promptkit.core.model import Precision
from promptkit.core.requests import Classify, Request
from promptkit.models.hf.checkpointing import checkpointing
from promptkit.models.hf.differentiable import AUTOCAST_DTYPES
from promptkit.models.vision.forward import on_device, pixels_of
from promptkit.models.vision.network import Classifier
from promptkit.models.vision.structure import POOLED


class TorchLogits:
    """The logits of requests as functions of interventions; implements `promptkit.core.model.DifferentiableScores`."""

    def __init__(
        self, classifier: Classifier, requests: Sequence[Request], *, batch_size: int, checkpointing: bool, precision: Precision
    ) -> None:
        """Stores the arguments.

        Args:
            classifier: The classifier.
            requests: `Classify` requests with the same interventions.
            batch_size: The largest number of images computed at once.
            checkpointing: Whether the backward pass computes the activations of each layer again.
            precision: The precision of matrix products and convolutions, if not that of the weights.

        Raises:
            Unsupported: A request is not for logits.
            TrainingError: The requests have different interventions.
        """
        if any(not isinstance(request.verb, Classify) for request in requests):
            raise Unsupported(
                "Only the logits of classes can be differentiated, not features",
                code="only-logits",
                hint="Train with an aligner that reads class probabilities",
                requests=len(requests),
            )
        if len({request.interventions for request in requests}) > 1:
            raise TrainingError(
                "Images that are trained together must have the same operations",
                code="mixed-interventions",
                hint="Train on each group of such images separately",
                requests=len(requests),
            )
        self._classifier, self._requests, self._batch_size = classifier, requests, batch_size
        self._checkpointing, self._precision = checkpointing, precision
        self._operations = requests[0].interventions.operations if requests else ()
        self.device: torch.device = classifier.device
        self.costs: Sequence[int] = [1] * len(requests)

    def batches(self, chosen: Sequence[int]) -> list[list[int]]:
        """Splits the chosen requests into batches that are each computed at once."""
        return [[*chosen[start : start + self._batch_size]] for start in range(0, len(chosen), self._batch_size)]

    def scores(self, chosen: Sequence[int], interventions: Interventions[Tensor]) -> list[list[Tensor]]:
        """Returns, for each chosen request, one tensor with the logits of its classes.

        The operations of the requests that have parameters are replaced by the given ones, in order; operations without
        parameters stay where they are.
        """
        requests = [self._requests[index] for index in chosen]
        operations = _replaced(self._operations, interventions.operations, self.device)
        with ExitStack() as stack:
            if self._checkpointing and torch.is_grad_enabled():
                structure = self._classifier.structure
                modules = [self._classifier.module.get_submodule(name) for name in structure.layers if name != POOLED]
                stack.enter_context(checkpointing(modules))
            if self._precision != "no":
                stack.enter_context(torch.autocast(self.device.type, AUTOCAST_DTYPES[self._precision]))
            logits = self._classifier.logits(pixels_of(self._classifier, [request.image for request in requests], operations))
        return [[_chosen(row, request)] for row, request in zip(logits, requests, strict=True)]

    def weights_hash(self) -> str:
        """Returns the SHA-256 of the names and values of all weights of the model."""
        return self._classifier.weights_hash()


def _chosen(logits: Tensor, request: Request) -> Tensor:
    assert isinstance(request.verb, Classify)
    return logits[list(request.verb.classes)] if request.verb.classes else logits


def _replaced(
    operations: Sequence[InputOperation[Array]], trained: Sequence[InputOperation[Tensor]], device: torch.device
) -> list[InputOperation[Tensor]]:
    """Returns the operations, with the trained ones in place of the operations with parameters."""
    expected = [operation.name for operation in operations if operation.arrays]
    if expected != [operation.name for operation in trained]:
        raise TrainingError(
            "The trained operations differ from the operations of the images",
            code="wrong-operations",
            got=", ".join(operation.name for operation in trained) or "none",
            hint=f"Give the operations with parameters in their order: {', '.join(expected) or 'none'}",
            expected=tuple(expected),
            operations=tuple(operation.name for operation in trained),
        )
    remaining = iter(trained)
    return [next(remaining) if operation.arrays else on_device(operation, device) for operation in operations]
