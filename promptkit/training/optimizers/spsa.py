"""Simultaneous perturbation: a gradient estimated from losses alone, two of them whatever the number of parameters.

    g = (L(p + c s) - L(p - c s)) / (2 c) * s,  s uniform in {-1, 1}^D

(SPSA, Spall 1992, IEEE Transactions on Automatic Control 37(3)), the mean of several; c falls as (step + 1)^-0.101, the gain
that Spall advises (1998, IEEE Transactions on Aerospace and Electronic Systems 34(3)). Perturbation and learning rate are in
units of each parameter's own scale, its root mean square at the beginning: that of the model's embedding for a soft prompt.
BlackVIP's correction, a momentum that looks ahead (Oh et al. 2023, 2303.14773), is left out: a trial gained nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError
from promptkit.core.registry import checked
from promptkit.core.seeding import generator
from promptkit.training.checkpoint import TrainingState
from promptkit.training.optimizers.base import Objective, Rates, Step

DECAY = 0.101
"""Of the perturbation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spsa:
    """Follows gradients estimated from losses."""

    perturbation: float = 0.1
    """How far to either side the loss is asked for at first, in units of the parameters' own scale."""
    averaged: int = 1
    """How many estimates, of two losses each, a step takes the mean of."""

    name: ClassVar[str] = "spsa"
    rated: ClassVar[bool] = True
    learning_rate: ClassVar[float | None] = 1.0
    gradients: ClassVar[bool] = False
    discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what no gradient is estimated by."""
        checked(self)
        if self.perturbation <= 0 or self.averaged < 1:
            raise InputError(
                "The perturbation must be above 0, and the number of averaged estimates at least 1",
                code="out-of-range",
                got=f"perturbation={self.perturbation}, averaged={self.averaged}",
                perturbation=self.perturbation,
                averaged=self.averaged,
            )

    def begin(self, standing: TrainingState, seed: int) -> Step:
        """See `Optimizer`; `state` holds each parameter's scale."""
        for name, array in standing.parameters.items():
            standing.state.setdefault(name, as_array(np.array([scale_of(array)])))
        scales = {name: float(standing.state[name].numpy()[0]) for name in standing.parameters}

        def step(objective: Objective, rates: Rates) -> float:
            at = {name: array.numpy() for name, array in standing.parameters.items()}
            signs = [_signs(standing.parameters, (seed, standing.step, number)) for number in range(self.averaged)]
            c = self.perturbation / (standing.step + 1) ** DECAY
            ways = [(sign, way) for sign in signs for way in (c, -c)]
            losses = objective.losses([{n: as_array(at[n] + way * scales[n] * sign[n]) for n in at} for sign, way in ways])
            for name, numbers in at.items():
                terms = [loss / (2 * way) * sign[name] for loss, (sign, way) in zip(losses, ways, strict=True)]
                slope = sum(terms[1:], terms[0]) / self.averaged
                standing.parameters[name] = as_array(numbers - rates[name] * scales[name] * slope)
            return float(np.mean(losses))

        return step


def scale_of(array: Array) -> float:
    """The root mean square of its numbers; 1 where they are all 0."""
    return float(np.sqrt(np.mean(array.numpy().astype(np.float64) ** 2))) or 1.0


def _signs(parameters: Mapping[str, Array], drawn: tuple[int, ...]) -> dict[str, Any]:
    """-1 or 1 for each number."""
    chance = generator("spsa", drawn)
    return {name: 2.0 * chance.integers(0, 2, array.shape) - 1 for name, array in sorted(parameters.items())}
