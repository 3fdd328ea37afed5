"""Losses and gradients through a model's differentiable forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promptkit.core.arrays import Array, as_array
from promptkit.core.caller import engine_setting, setting
from promptkit.core.distributed import processes
from promptkit.core.errors import OutOfMemory
from promptkit.core.interventions import Interventions
from promptkit.core.model import Differentiable, DifferentiableScores, DifferentiableTextScores, Precision, text_card
from promptkit.manipulate.learned.tensors import to_tensor
from promptkit.manipulate.learned.vocabulary import non_text_ids
from promptkit.training.dataset import TrainingData
from promptkit.training.objective import RowLoss, gathered, gathered_rows
from promptkit.training.optimizers.base import Parameters
from promptkit.training.parameters import divided

if TYPE_CHECKING:
    from torch import Tensor

LOSS_SCALES = tuple(2.0**power for power in (16, 12, 8, 4, 0))
"""The factors of the loss for fp16 gradients, tried in this order until all gradients are finite."""


class GradientLosses:
    """Losses and gradients by the model's differentiable forward pass; discrete tokens are read as their embeddings."""

    def __init__(
        self, data: TrainingData, model: Differentiable, *, checkpointing: bool = False, precision: Precision = "no"
    ) -> None:
        """Stores the arguments; weights load when they are first needed.

        Args:
            data: The rows.
            model: The frozen model.
            checkpointing: Whether the backward pass recomputes activations, to save memory.
            precision: The precision of matrix products.
        """
        self._data, self._model = data, model
        self._checkpointing, self._precision = checkpointing, precision

    def row_losses(self, candidates: Sequence[Parameters], rows: Sequence[int]) -> list[list[RowLoss]]:
        """Returns the loss of each row under each candidate, computed without gradients."""
        import torch

        repeated = [*rows] * len(candidates)
        local = self._local(repeated)
        losses: dict[int, RowLoss] = {}
        with torch.no_grad():
            for number, parameters in enumerate(candidates):
                indices = [index for index in local if index // len(rows) == number]
                interventions = self._interventions(self._tensors(parameters))
                values = self._values(interventions, [repeated[index] for index in indices])
                losses.update(zip(indices, values, strict=True))
        return gathered(losses, len(candidates), [self._data.score_counts[row] for row in rows])

    def class_logprobs(self, parameters: Parameters, rows: Sequence[int]) -> NDArray[np.float64]:
        """Returns the log-probabilities of all classes of a classifier for rows, computed without gradients."""
        import torch

        local = self._local(rows)
        places = {rows[index]: index for index in local}
        numbers: dict[int, NDArray[np.float64]] = {}
        with torch.no_grad():
            interventions = self._interventions(self._tensors(parameters))
            for part in self._forward.batches([*places]):
                for row, (logits,) in zip(part, self._forward.scores(part, interventions), strict=True):
                    numbers[places[row]] = logits.double().log_softmax(-1).cpu().numpy()
        return gathered_rows(numbers, (len(rows), self._data.classes))

    def _local(self, rows: Sequence[int]) -> list[int]:
        """Returns the indices of the rows that this process computes."""
        costs = self._forward.costs
        return processes().share([costs[row] for row in rows])

    def _values(self, interventions: Interventions[Tensor], rows: Sequence[int]) -> list[RowLoss]:
        losses: dict[int, RowLoss] = {}
        for part in self._forward.batches(rows):
            values = [
                RowLoss(float(loss), () if scores is None else tuple(scores.double().tolist()))
                for loss, scores in self._losses(interventions, part)
            ]
            losses.update(zip(part, values, strict=True))
        return [losses[row] for row in rows]

    def _losses(self, interventions: Interventions[Tensor], rows: Sequence[int]) -> list[tuple[Tensor, Tensor | None]]:
        """Returns the losses of rows that are computed in one forward pass."""
        scorer, targets = self._data.scorer, self._data.targets
        scores = self._forward.scores(rows, interventions)
        return [scorer.loss(targets[row], logprobs) for row, logprobs in zip(rows, scores, strict=True)]

    def gradient(self, parameters: Parameters, rows: Sequence[int]) -> tuple[float, dict[str, Array]]:
        """Returns the mean loss of the rows, and its gradient with respect to each parameter that is not fixed."""
        tensors = self._tensors(parameters)
        leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items() if not self._data.is_fixed(name)}
        loss, gradients = self._gradients(lambda: self._interventions(tensors), leaves, rows)
        return loss, {name: as_array(gradient) for name, gradient in gradients.items()}

    def token_swap_scores(self, parameters: Parameters, rows: Sequence[int]) -> tuple[float, dict[str, NDArray[np.floating]]]:
        """Returns the mean loss of the rows, and HotFlip's first-order estimate of its change for each other token."""
        import torch

        embeddings = self._interventions(self._tensors(parameters)).vectors
        assert embeddings is not None  # discrete tokens are read as vectors
        interventions = Interventions(vectors=embeddings.requires_grad_())
        loss, gradients = self._gradients(lambda: interventions, {"embeddings": embeddings}, rows)
        gradient = torch.from_numpy(gradients["embeddings"]).to(embeddings.device)
        scores = self._text_forward.projected(gradient) - (gradient * embeddings.detach()).sum(1, keepdim=True)
        scores[:, non_text_ids(text_card(self._data.model.card))] = float("inf")
        parts = torch.split(scores, [array.shape[0] for array in parameters.values()])
        return loss, {name: part.cpu().numpy() for name, part in zip(parameters, parts, strict=True)}

    def _gradients(
        self, interventions: Callable[[], Interventions[Tensor]], leaves: Mapping[str, Tensor], rows: Sequence[int]
    ) -> tuple[float, dict[str, NDArray[np.floating]]]:
        """Returns the mean loss and the gradients of the leaves it depends on, summed over parts of a batch and processes.

        In fp16 the loss is scaled, so that small gradients do not underflow (Micikevicius et al. 2018, arXiv:1710.03740). Each
        step starts from the largest factor, so that it is a function of only the training state.
        """
        local = [rows[index] for index in self._local(rows)]
        for scale in LOSS_SCALES if self._precision == "fp16" else (1.0,):
            for leaf in leaves.values():
                leaf.grad = None
            with _explained_out_of_memory(self._forward.device):
                loss = sum(self._backward(interventions(), part, len(rows), scale) for part in self._forward.batches(local))
            total, gradients = _summed(loss, leaves)
            if not np.isfinite(total) or all(np.isfinite(gradient).all() for gradient in gradients.values()):
                break
        return total, {name: gradient / np.float32(scale) for name, gradient in gradients.items()}

    def _backward(self, interventions: Interventions[Tensor], rows: Sequence[int], count: int, scale: float) -> float:
        """Accumulates the gradients of a part of `count` rows, and returns its share of the mean loss."""
        import torch

        losses = [loss for loss, _ in self._losses(interventions, rows)]
        mean = sum(losses[1:], losses[0]) / count
        torch.autograd.backward(mean * scale)
        return float(mean.detach())

    def _interventions(self, parameters: Mapping[str, Tensor]) -> Interventions[Tensor]:
        """Returns the interventions of all learnable manipulations for the forward pass."""
        import torch

        learnables = zip(self._data.learnables, divided(parameters), strict=True)
        parts = [learnable.interventions(named, self._embed) for learnable, named in learnables]
        vectors = [part.vectors for part in parts if part.vectors is not None]
        return Interventions(
            operations=tuple(operation for part in parts for operation in part.operations),
            vectors=torch.cat(vectors) if vectors else None,
            prefixes=tuple(prefix for part in parts for prefix in part.prefixes),
            edits=tuple(edit for part in parts for edit in part.edits),
        )

    def _tensors(self, parameters: Parameters) -> dict[str, Tensor]:
        return {name: to_tensor(array).to(self._forward.device) for name, array in parameters.items()}

    def _embed(self, ids: Sequence[int]) -> Tensor:
        return self._text_forward.embed(ids)

    @property
    def _text_forward(self) -> DifferentiableTextScores:
        assert isinstance(self._forward, DifferentiableTextScores)  # only manipulations of text read embeddings
        return self._forward

    @cached_property
    def _forward(self) -> DifferentiableScores:
        data = self._data
        forms = [learnable.differentiable_form(data.bind_context) for learnable in data.learnables]
        requests = data.requests(data.transform(forms), data.all_rows)
        return self._model.differentiable(requests, checkpointing=self._checkpointing, precision=self._precision)

    def weights_hash(self) -> str:
        """Returns a hash of the frozen model's weights."""
        return self._forward.weights_hash()


@contextmanager
def _explained_out_of_memory(device: object) -> Iterator[None]:
    """Replaces torch's out-of-memory error by one that suggests what to change."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise OutOfMemory(
            f"A part of a batch with its gradients does not fit in memory on {device}",
            code="out-of-memory",
            hint=f"Use {setting('gradient_checkpointing', True)}, or smaller parts, such as "
            f"{engine_setting('batch_tokens', 1024)}",
            device=str(device),
        ) from None


def _summed(loss: float, leaves: Mapping[str, Tensor]) -> tuple[float, dict[str, NDArray[np.floating]]]:
    """Returns the sums over all processes of the loss, and of the gradients of leaves that it depends on in some process."""
    group = processes()
    totals = group.total(np.array([loss, *(float(leaf.grad is not None) for leaf in leaves.values())]))
    gradients = {name: leaf.new_zeros(leaf.shape) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    reached = [name for name, count in zip(leaves, totals[1:], strict=True) if count]
    return float(totals[0]), {name: group.total(gradients[name].detach().cpu().numpy()) for name in reached}
