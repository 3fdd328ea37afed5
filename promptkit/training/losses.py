"""The losses of rows under parameters: with gradients through the model, or from what it answers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from promptkit.align.loss import loss_of, loss_of_output
from promptkit.core.arrays import Array, as_array
from promptkit.core.distributed import processes
from promptkit.core.errors import OutOfMemory, Unsupported
from promptkit.core.inputs import Interventions
from promptkit.core.manipulation import Learnable
from promptkit.core.model import Differentiable, DifferentiableScores, Precision
from promptkit.core.requests import Output, Request
from promptkit.manipulate.learned.trigger_tokens import IDS, TriggerTokens
from promptkit.manipulate.learned.vocabulary import forbidden
from promptkit.training.dataset import TrainingData, divided
from promptkit.training.optimizers.base import Parameters

if TYPE_CHECKING:
    from torch import Tensor

Judged = tuple[float, bool | None]
"""A row's loss, and whether it is answered right: None where the answer is a text."""
RIGHT = (None, False, True)
"""The numbers of a row's second part, where processes tell them."""
LOSS_SCALES = tuple(2.0**power for power in (16, 12, 8, 4, 0))
"""By which a loss is multiplied where gradients are of 16 bits, the first that makes none infinite."""


class Losses(Protocol):
    """The losses of chosen rows, which stand where `Material` says."""

    def judged(self, candidates: Sequence[Parameters], chosen: Sequence[int]) -> list[list[Judged]]:
        """Under each of these parameters, of each row."""
        ...

    def gradient(self, parameters: Parameters, chosen: Sequence[int]) -> tuple[float, dict[str, Array]]:
        """See `Objective.gradient`."""
        ...

    def token_swap_scores(self, parameters: Parameters, chosen: Sequence[int]) -> tuple[float, dict[str, Any]]:
        """See `Objective.swaps`."""
        ...

    def weights_hash(self) -> str:
        """Of the frozen model, where its weights are at hand."""
        ...


@dataclass(slots=True)
class Batch:
    """The rows of one step: an `Objective` that counts the rows which the model computes for it."""

    of: Losses
    chosen: Sequence[int]
    fixed_parameters: Parameters
    """What belongs to the parameters, and no optimizer sees."""
    evaluations: int = field(default=0, init=False)

    def losses(self, candidates: Sequence[Parameters]) -> list[float]:
        """See `Objective.losses`."""
        self.evaluations += len(candidates) * len(self.chosen)
        whole = [{**self.fixed_parameters, **each} for each in candidates]
        return [sum(loss for loss, _ in rows) / len(rows) for rows in self.of.judged(whole, self.chosen)]

    def gradient(self, parameters: Parameters) -> tuple[float, dict[str, Array]]:
        """See `Objective.gradient`."""
        self.evaluations += len(self.chosen)
        return self.of.gradient({**self.fixed_parameters, **parameters}, self.chosen)

    def token_swap_scores(self, parameters: Parameters) -> tuple[float, dict[str, Any]]:
        """See `Objective.swaps`."""
        self.evaluations += len(self.chosen)
        return self.of.token_swap_scores(parameters, self.chosen)


class BlackBoxLosses:
    """From `Score` requests alone, so on any model that answers them. What is tried once is kept in no score cache."""

    def __init__(self, material: TrainingData) -> None:
        self._material = material

    def judged(self, candidates: Sequence[Parameters], chosen: Sequence[int]) -> list[list[Judged]]:
        """All candidates are asked at once, so that batches are full."""
        material = self._material
        puts = [material.put(material.with_parameters(parameters)) for parameters in candidates]
        requests = [request for put in puts for request in material.requests(put, chosen)]
        own = processes().share([len(request.input.ids) for request in requests])
        answers = zip(own, self._answers([requests[index] for index in own]), strict=True)
        reading, targets = material.bound.reading, [material.targets[place] for place in chosen] * len(candidates)
        found = {index: loss_of_output(reading, targets[index], output) for index, output in answers}
        return _of_all(found, len(candidates), len(chosen))

    def _answers(self, requests: Sequence[Request]) -> list[Any]:
        model = self._material.model
        model.load()
        answers: dict[int, Output] = {}
        for indices, outputs in model.answer(requests):
            answers.update(zip(indices, outputs, strict=True))
        return [answers[index] for index in range(len(requests))]

    def gradient(self, parameters: Parameters, chosen: Sequence[int]) -> tuple[float, dict[str, Array]]:
        """There is none."""
        name = self._material.model.name
        hint = "Use an optimizer without gradients: spsa or cma-es"
        raise Unsupported(f"The model {name} does not provide gradients", code="no-gradients", hint=hint, model=name)

    def token_swap_scores(self, parameters: Parameters, chosen: Sequence[int]) -> tuple[float, dict[str, Any]]:
        """There are none."""
        return self.gradient(parameters, chosen)

    def weights_hash(self) -> str:
        """Requests change no weights, which may be anywhere."""
        return ""


class GradientLosses:
    """Through the model, by its differentiable forward. Discrete tokens are read as the vectors that they are."""

    def __init__(
        self, material: TrainingData, model: Differentiable, *, checkpointing: bool = False, precision: Precision = "no"
    ) -> None:
        """The keywords are those of `Trains.differentiable`."""
        self._material, self._model = material, model
        self._checkpointing, self._precision = checkpointing, precision

    def judged(self, candidates: Sequence[Parameters], chosen: Sequence[int]) -> list[list[Judged]]:
        """Computed without gradients."""
        import torch

        whole = [*chosen] * len(candidates)
        own = self._own(whole)
        found: dict[int, Judged] = {}
        with torch.no_grad():
            for number, parameters in enumerate(candidates):
                mine = [index for index in own if index // len(chosen) == number]
                judged = self._judged(self._within(self._tensors(parameters)), [whole[index] for index in mine])
                found.update(zip(mine, judged, strict=True))
        return _of_all(found, len(candidates), len(chosen))

    def _own(self, rows: Sequence[int]) -> list[int]:
        """Which of the rows this process computes, as indices."""
        tokens = self._forward.tokens
        return processes().share([tokens[row] for row in rows])

    def _judged(self, interventions: Interventions[Tensor], chosen: Sequence[int]) -> list[Judged]:
        found: dict[int, tuple[Tensor, bool | None]] = {}
        for part in self._forward.batches(chosen):
            found.update(zip(part, self._losses(interventions, part), strict=True))
        return [(float(found[place][0]), found[place][1]) for place in chosen]

    def _losses(self, interventions: Interventions[Tensor], part: Sequence[int]) -> list[tuple[Tensor, bool | None]]:
        """Of rows that are computed at once."""
        reading, targets = self._material.bound.reading, self._material.targets
        scores = self._forward.scores(part, interventions)
        return [loss_of(reading, targets[place], rows) for place, rows in zip(part, scores, strict=True)]

    def gradient(self, parameters: Parameters, chosen: Sequence[int]) -> tuple[float, dict[str, Array]]:
        """See `Objective.gradient`."""
        tensors = self._tensors(parameters)
        leaves = {name: each.requires_grad_() for name, each in tensors.items() if not self._material.is_constant(name)}
        total, slopes = self._slopes(lambda: self._within(tensors), leaves, chosen)
        return total, {name: as_array(slope) for name, slope in slopes.items()}

    def token_swap_scores(self, parameters: Parameters, chosen: Sequence[int]) -> tuple[float, dict[str, Any]]:
        """HotFlip's first-order estimates; see `Objective.swaps`."""
        import torch

        table: Any = self._within(self._tensors(parameters)).vectors
        interventions = Interventions(vectors=table.requires_grad_())
        total, found = self._slopes(lambda: interventions, {"table": table}, chosen)
        slopes = torch.from_numpy(found["table"]).to(table.device)
        changes = self._forward.projected(slopes) - (slopes * table.detach()).sum(1, keepdim=True)
        changes[:, forbidden(self._material.model.card)] = float("inf")
        ends, estimates = 0, {}
        for name, array in parameters.items():
            estimates[name] = changes[ends : ends + array.shape[0]].cpu().numpy()
            ends += array.shape[0]
        return total, estimates

    def _slopes(
        self, interventions: Callable[[], Interventions[Tensor]], leaves: Mapping[str, Tensor], chosen: Sequence[int]
    ) -> tuple[float, dict[str, Any]]:
        """The mean loss and its slope along each leaf that it depends on, summed over parts of a batch and processes.

        In fp16 a loss is multiplied, so that no small slope vanishes, as far as none is infinite (Micikevicius et al. 2018,
        1710.03740): each time from the largest factor down, so that a step is a function of where the training stands.
        """
        own = [chosen[index] for index in self._own(chosen)]
        for scale in LOSS_SCALES if self._precision == "fp16" else (1.0,):
            for leaf in leaves.values():
                leaf.grad = None
            with _fitting(self._forward.device):
                loss = sum(self._backward(interventions(), part, len(chosen), scale) for part in self._forward.batches(own))
            total, slopes = _summed(loss, leaves)
            if not np.isfinite(total) or all(np.isfinite(slope).all() for slope in slopes.values()):
                break
        return total, {name: slope / np.float32(scale) for name, slope in slopes.items()}

    def _backward(self, interventions: Interventions[Tensor], part: Sequence[int], count: int, scale: float) -> float:
        losses = [loss for loss, _ in self._losses(interventions, part)]
        mean = sum(losses[1:], losses[0]) / count
        (mean * scale).backward()  # type: ignore[no-untyped-call]
        return float(mean.detach())

    def _within(self, parameters: Mapping[str, Tensor]) -> Interventions[Tensor]:
        """What every prompt holds that is learned."""
        import torch

        parts = [self._part(*each) for each in zip(self._material.learnables, divided(parameters), strict=True)]
        rows = [part.vectors for part in parts if part.vectors is not None]
        return Interventions(
            vectors=torch.cat(rows) if rows else None,
            prefixes=tuple(prefix for part in parts for prefix in part.prefixes),
            edits=tuple(edit for part in parts for edit in part.edits),
        )

    def _part(self, learnable: Learnable, own: Mapping[str, Any]) -> Interventions[Any]:
        if isinstance(learnable, TriggerTokens):
            return Interventions(vectors=self._forward.embed(own[IDS].int().tolist()))
        return learnable.interventions(own)

    def _tensors(self, parameters: Parameters) -> dict[str, Tensor]:
        import torch

        return {name: torch.from_numpy(each.numpy().copy()).to(self._forward.device) for name, each in parameters.items()}

    @cached_property
    def _forward(self) -> DifferentiableScores:
        around = self._material.around
        learned = [each.as_vectors(around) if isinstance(each, TriggerTokens) else each for each in self._material.learnables]
        requests = self._material.requests(self._material.put(learned), self._material.everything)
        return self._model.differentiable(requests, checkpointing=self._checkpointing, precision=self._precision)

    def weights_hash(self) -> str:
        """Of every weight."""
        return self._forward.weights_hash()


def _of_all(own: Mapping[int, Judged], candidates: int, rows: int) -> list[list[Judged]]:
    """Of each row under each candidate, where each process has judged its own."""
    numbers = np.zeros((candidates * rows, 2))
    for place, (loss, right) in own.items():
        numbers[place] = loss, RIGHT.index(right)
    judged = [(float(loss), RIGHT[int(right)]) for loss, right in processes().total(numbers)]
    return [judged[begin : begin + rows] for begin in range(0, len(judged), rows)]


@contextmanager
def _fitting(device: Any) -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise OutOfMemory(
            f"A part of a batch with its gradients does not fit in memory on {device}",
            code="out-of-memory",
            hint="Use --gradient-checkpointing, or smaller parts, such as --set batch_tokens=1024",
            device=str(device),
        ) from None


def _summed(loss: float, leaves: Mapping[str, Tensor]) -> tuple[float, dict[str, Any]]:
    """A loss, and the gradients of the leaves that it depends on in some process, over all processes."""
    both = processes()
    told = both.total(np.array([loss, *(float(leaf.grad is not None) for leaf in leaves.values())]))
    slopes = {name: leaf.new_zeros(leaf.shape) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    reached = [name for name, known in zip(leaves, told[1:], strict=True) if known]
    return float(told[0]), {name: both.total(slopes[name].detach().cpu().numpy()) for name in reached}
