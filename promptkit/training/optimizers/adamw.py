"""AdamW, Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as torch implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.arguments import checked
from promptkit.core.arrays import Array
from promptkit.core.errors import InputError
from promptkit.manipulate.learned.tensors import to_array, to_tensor
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Rates, Step

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

MAX_RATE = 1e37
"""The largest learning rate passed to torch, whose step size would otherwise overflow float32 before the loss shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Gradient descent by `torch.optim.AdamW` (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    weight_decay: float = 0.0
    """The weight decay, relative to the learning rate."""

    name: ClassVar[str] = "adamw"
    has_learning_rate: ClassVar[bool] = True
    learning_rate: ClassVar[float | None] = None
    uses_gradients: ClassVar[bool] = True
    is_discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self)
        if self.weight_decay < 0:
            reason, decay = "The weight decay must be at least 0", self.weight_decay
            raise InputError(reason, code="out-of-range", got=f"weight_decay={decay}", weight_decay=decay)

    def begin(self, state: TrainingState, seed: int) -> Step:
        """Returns the step function; the optimizer state is torch's: `exp_avg`, `exp_avg_sq` and `step` of each parameter."""
        import torch

        tensors = {name: to_tensor(array).requires_grad_() for name, array in state.parameters.items()}
        groups = [{"params": [tensor], "name": name} for name, tensor in tensors.items()]
        optimizer = torch.optim.AdamW(groups, weight_decay=self.weight_decay, foreach=False)
        _restore(optimizer, tensors, state.optimizer_state)

        def step(objective: Objective, rates: Rates) -> float:
            loss, gradients = objective.gradient(state.parameters)
            if not np.isfinite(loss):
                return loss
            for name, tensor in tensors.items():
                tensor.grad = to_tensor(gradients[name]) if name in gradients else None
            for group in optimizer.param_groups:
                group["lr"] = min(rates[group["name"]], MAX_RATE)
            optimizer.step()
            state.parameters.update({name: to_array(tensor) for name, tensor in tensors.items()})
            state.optimizer_state.update(_saved_state(optimizer, tensors))
            return loss

        return step


def _saved_state(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Returns the optimizer's state of each parameter: `name/key` -> array."""
    return {
        f"{name}/{key}": to_array(value) for name, tensor in tensors.items() for key, value in optimizer.state[tensor].items()
    }


def _restore(optimizer: Optimizer, tensors: Mapping[str, Tensor], saved: Mapping[str, Array]) -> None:
    for path, array in saved.items():
        name, _, key = path.rpartition("/")
        optimizer.state[tensors[name]][key] = to_tensor(array)
