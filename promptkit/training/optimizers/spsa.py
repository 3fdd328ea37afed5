"""SPSA: a gradient estimated from two losses, regardless of the number of parameters.

    g = (L(p + c s) - L(p - c s)) / (2 c) * s,  s uniform in {-1, 1}^D

(simultaneous perturbation, Spall 1992, IEEE Transactions on Automatic Control 37(3)), averaged over several s. c falls as
(step + 1)^-0.101, as Spall recommends (1998, IEEE Transactions on Aerospace and Electronic Systems 34(3)). The perturbation and
the learning rate are in units of each parameter's scale, its initial root mean square: for a soft prompt, that of the model's
embedding. BlackVIP's correction, a look-ahead momentum (Oh et al. 2023, arXiv:2303.14773), is omitted: it did not help in a
trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from promptkit.core.arguments import checked
from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError
from promptkit.core.seeding import generator
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Rates, Step

DECAY = 0.101
"""The exponent with which the perturbation decays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spsa:
    """Gradient descent with gradients estimated from losses (Spall 1992)."""

    perturbation: float = 0.1
    """The initial size of the perturbation, in units of the parameters' scale."""
    averaged: int = 1
    """The number of estimates, from two losses each, that a step averages."""

    name: ClassVar[str] = "spsa"
    has_learning_rate: ClassVar[bool] = True
    learning_rate: ClassVar[float | None] = 1.0
    uses_gradients: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self)
        if self.perturbation <= 0 or self.averaged < 1:
            raise InputError(
                "The perturbation must be above 0, and the number of averaged estimates at least 1",
                code="out-of-range",
                got=f"perturbation={self.perturbation}, averaged={self.averaged}",
                perturbation=self.perturbation,
                averaged=self.averaged,
            )

    def begin(self, state: TrainingState, seed: int) -> Step:
        """Returns the step function; the optimizer state is each parameter's scale."""
        for name, array in state.parameters.items():
            state.optimizer_state.setdefault(name, as_array(np.array([root_mean_square(array)])))
        scales = {name: float(state.optimizer_state[name].numpy()[0]) for name in state.parameters}

        def step(objective: Objective, rates: Rates) -> float:
            values = {name: array.numpy() for name, array in state.parameters.items()}
            signs = [_signs(state.parameters, (seed, state.step, number)) for number in range(self.averaged)]
            c = self.perturbation / (state.step + 1) ** DECAY
            moves = [(sign, distance) for sign in signs for distance in (c, -c)]
            losses = objective.losses(
                [
                    {name: as_array(value + distance * scales[name] * sign[name]) for name, value in values.items()}
                    for sign, distance in moves
                ]
            )
            for name, value in values.items():
                terms = [loss / (2 * distance) * sign[name] for loss, (sign, distance) in zip(losses, moves, strict=True)]
                gradient = sum(terms[1:], terms[0]) / self.averaged
                state.parameters[name] = as_array(value - rates[name] * scales[name] * gradient)
            return float(np.mean(losses))

        return step


def root_mean_square(array: Array) -> float:
    """Returns the root mean square of the numbers; 1 if all are 0."""
    return float(np.sqrt(np.mean(array.numpy().astype(np.float64) ** 2))) or 1.0


def _signs(parameters: Mapping[str, Array], seed: tuple[int, ...]) -> dict[str, NDArray[np.floating]]:
    """Returns a random sign, -1 or 1, for each number."""
    draw = generator("spsa", seed)
    return {name: 2.0 * draw.integers(0, 2, array.shape) - 1 for name, array in sorted(parameters.items())}
