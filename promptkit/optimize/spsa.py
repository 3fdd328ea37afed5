"""Simultaneous perturbation: a gradient estimated from losses alone, two of them whatever the number of parameters.

    g = (L(p + c s) - L(p - c s)) / (2 c) * s,  s uniform in {-1, 1}^D

(SPSA, Spall 1992, IEEE Transactions on Automatic Control 37(3)), the mean of several; c falls as (step + 1)^-0.101, the gain
that Spall advises (1998, IEEE Transactions on Aerospace and Electronic Systems 34(3)). What is followed is a momentum, whose
gradient is estimated where it leads to (SPSA-GC of BlackVIP, Oh et al. 2023, 2303.14773):

    m <- beta m - rate g(p + beta m),  p <- p + m

Perturbations, rate and momentum are in units of each parameter's own scale, its root mean square at the beginning: that of
the model's embedding for a soft prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from promptkit.checkpoint import Standing
from promptkit.errors import PromptkitError
from promptkit.manipulate.arrays import as_array, as_numpy
from promptkit.optimizers import Objective, Rates, Step
from promptkit.types import Array

DECAY = 0.101
"""Of the perturbation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spsa:
    """Follows gradients estimated from losses."""

    perturbation: float = 0.1
    """How far to either side the loss is asked for at first, in units of the parameters' own scale."""
    averaged: int = 1
    """How many estimates, of two losses each, a step takes the mean of."""
    momentum: float = 0.9
    """beta above; 0 is Spall's own."""

    name: ClassVar[str] = "spsa"
    learning_rate: ClassVar[float | None] = 0.01
    gradients: ClassVar[bool] = False
    discrete: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what no gradient is estimated by."""
        if not 0 < self.perturbation < float("inf") or self.averaged < 1 or not 0 <= self.momentum < 1:
            raise PromptkitError(
                "A perturbation is above 0, the number of estimates at least 1 and a momentum at least 0 and below 1",
                got=f"perturbation={self.perturbation}, averaged={self.averaged}, momentum={self.momentum}",
            )

    def begin(self, standing: Standing, seed: int) -> Step:
        """See `Optimizer`; `state` holds each parameter's scale and its momentum."""
        for name, array in standing.parameters.items():
            standing.state.setdefault(f"scale/{name}", as_array(np.array([scale_of(array)])))
            standing.state.setdefault(f"momentum/{name}", as_array(0 * as_numpy(array)))

        def step(objective: Objective, rates: Rates) -> float:
            scales = {name: float(as_numpy(standing.state[f"scale/{name}"])[0]) for name in standing.parameters}
            pull = {name: self.momentum * as_numpy(standing.state[f"momentum/{name}"]) for name in scales}
            at = {name: as_numpy(array) + scales[name] * pull[name] for name, array in standing.parameters.items()}
            signs = [_signs(standing.parameters, (seed, standing.step, number)) for number in range(self.averaged)]
            c = self.perturbation / (standing.step + 1) ** DECAY
            ways = [(sign, way) for sign in signs for way in (c, -c)]
            losses = objective.losses([{n: as_array(at[n] + way * scales[n] * sign[n]) for n in at} for sign, way in ways])
            for name, array in standing.parameters.items():
                g = sum(loss / (2 * way) * sign[name] for loss, (sign, way) in zip(losses, ways, strict=True)) / self.averaged
                moved = pull[name] - rates[name] * g
                standing.parameters[name] = as_array(as_numpy(array) + scales[name] * moved)
                standing.state[f"momentum/{name}"] = as_array(moved)
            return float(np.mean(losses))

        return step


def scale_of(array: Array) -> float:
    """The root mean square of its numbers; 1 where they are all 0."""
    return float(np.sqrt(np.mean(as_numpy(array).astype(np.float64) ** 2))) or 1.0


def _signs(parameters: Mapping[str, Array], drawn: tuple[int, ...]) -> dict[str, Any]:
    """-1 or 1 for each number."""
    chance = np.random.default_rng(int.from_bytes(hashlib.sha256(f"spsa\0{drawn}".encode()).digest()))
    return {name: 2.0 * chance.integers(0, 2, array.shape) - 1 for name, array in sorted(parameters.items())}
