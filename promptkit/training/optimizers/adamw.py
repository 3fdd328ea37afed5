"""Adam with decoupled weight decay (AdamW, Loshchilov and Hutter 2019, 1711.05101)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.core.arrays import as_array
from promptkit.core.errors import InputError
from promptkit.core.registry import checked
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Rates, Step

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's own (Kingma and Ba 2015, 1412.6980)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Follows gradients through the model."""

    weight_decay: float = 0.0
    """The share of each parameter that a step at a learning rate of 1 takes off."""

    name: ClassVar[str] = "adamw"
    rated: ClassVar[bool] = True
    learning_rate: ClassVar[float | None] = None
    gradients: ClassVar[bool] = True
    discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a decay that is none."""
        checked(self)
        if self.weight_decay < 0:
            reason, decay = "The weight decay must be at least 0", self.weight_decay
            raise InputError(reason, code="out-of-range", got=f"weight_decay={decay}", weight_decay=decay)

    def begin(self, standing: TrainingState, seed: int) -> Step:
        """See `Optimizer`; `state` holds the running means of the gradients and of their squares."""

        def step(objective: Objective, rates: Rates) -> float:
            loss, gradients = objective.gradient(standing.parameters)
            if np.isfinite(loss):
                for name, gradient in gradients.items():
                    self._move(standing, name, gradient.numpy(), rates[name])
            return loss

        return step

    def _move(self, standing: TrainingState, name: str, g: np.ndarray, rate: float) -> None:
        count = standing.step + 1
        p = standing.parameters[name].numpy()
        m, v = (standing.state[key].numpy() if key in standing.state else 0 * g for key in (f"first/{name}", f"second/{name}"))
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        p = p - rate * self.weight_decay * p
        p = p - rate * (m / (1 - BETAS[0] ** count)) / (np.sqrt(v / (1 - BETAS[1] ** count)) + EPSILON)
        standing.parameters[name] = as_array(p)
        standing.state |= {f"first/{name}": as_array(m), f"second/{name}": as_array(v)}
