"""Where the variance of right and wrong answers lies: a random-effects analysis of variance over crossed factors.

Every item is answered once under every combination of the factors (seed, template, order, ...). With one axis a factor and
the items the last, an answer is modelled as the sum of one random effect for every set A of axes,

    y = mu + sum over A of effect_A,    Var(effect_A) = sigma2_A,

and the variances are estimated by the method of moments (Searle, Casella and McCulloch 1992, Variance Components, ch. 4).
The mean square MS_A of a balanced design has the expectation sum over B that hold A of n_B sigma2_B, where n_B is how
many answers share one combination of the levels of B; turned round,

    sigma2_A = 1 / n_A * sum over B that hold A of (-1)^(|B| - |A|) MS_B.

Unbiased whatever the distribution, right and wrong included; a component that is near 0 may therefore be estimated below 0.
The highest interaction holds the noise as well, if there is any: nothing tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

RESIDUAL = "residual"
PAIRS = 2
"""Interactions of more axes than this are told in one figure."""

Axes = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of the variance."""

    name: str
    variance: float
    """As estimated, which may be below 0."""
    share: float
    """Of the sum of those above 0."""
    degrees: int
    """Degrees of freedom: few make a poor estimate."""


def components(values: Floats, names: Sequence[str]) -> list[Component]:
    """The parts of the variance; `values` has an axis for each name, none of length 1."""
    table = mean_squares(values)
    estimates = moments(table, values.shape)
    together = tuple(range(values.ndim))
    rest = [axes for axes in table if len(axes) > PAIRS or axes == together]
    parts = [(" × ".join(names[axis] for axis in axes), [axes]) for axes in table if axes not in rest]
    found = [
        (name, sum(estimates[axes] for axes in sets), sum(_degrees(axes, values.shape) for axes in sets))
        for name, sets in [*parts, (RESIDUAL, rest)]
    ]
    whole = sum(max(0.0, variance) for _, variance, _ in found) or 1.0
    return [
        Component(name=name, variance=variance, share=max(0.0, variance) / whole, degrees=degrees)
        for name, variance, degrees in found
    ]


def mean_squares(values: Floats) -> dict[Axes, float]:
    """MS of every set of axes, the single ones first."""
    every = tuple(range(values.ndim))
    sets = chain.from_iterable(combinations(every, size) for size in range(1, values.ndim + 1))
    found = {}
    for axes in sets:
        effect = values.mean(tuple(set(every) - set(axes)), keepdims=True)
        for axis in axes:
            effect = effect - effect.mean(axis, keepdims=True)
        found[axes] = float((effect**2).sum()) * _shared(axes, values.shape) / _degrees(axes, values.shape)
    return found


def moments(table: Mapping[Axes, float], shape: Sequence[int]) -> dict[Axes, float]:
    """The estimate of sigma2 for every set of axes."""
    return {
        axes: sum((-1) ** (len(other) - len(axes)) * square for other, square in table.items() if set(axes) <= set(other))
        / _shared(axes, shape)
        for axes in table
    }


def _shared(axes: Axes, shape: Sequence[int]) -> int:
    """How many answers share one combination of the levels of these axes."""
    return prod(size for axis, size in enumerate(shape) if axis not in axes)


def _degrees(axes: Axes, shape: Sequence[int]) -> int:
    return prod(shape[axis] - 1 for axis in axes)
