"""Variance components of correctness: a random-effects analysis of variance over crossed factors.

Every item is answered once for every combination of the levels of the factors (seed, template, order, ...). With an axis for
each factor and one for the items, an answer is modeled as the sum of one random effect for every set A of axes,

    y = mu + sum over A of effect_A,    Var(effect_A) = sigma2_A,

and the variances are estimated by the method of moments (Searle, Casella and McCulloch 1992, Variance Components, ch. 4). In a
balanced design, the mean square MS_A has the expectation sum over B containing A of n_B sigma2_B, where n_B is the number of
answers with the same combination of the levels of B. Solved for the variances,

    sigma2_A = 1 / n_A * sum over B containing A of (-1)^(|B| - |A|) MS_B.

The estimates are unbiased for any distribution, that of binary correctness included; an estimate of a component near 0 may
therefore be negative. The highest interaction includes the noise, which cannot be separated from it.
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
"""The name of the component with the highest interaction and all interactions above `MAX_INTERACTION`."""
MAX_INTERACTION = 2
"""The most axes of an interaction that has its own component."""

Axes = tuple[int, ...]
"""A set of axes, in ascending order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component of the variance."""

    name: str
    """The names of its factors."""
    variance: float
    """The estimate, which may be negative."""
    share: float
    """Its share of the sum of all positive components."""
    degrees_of_freedom: int
    """The degrees of freedom; the estimate is poor if there are few."""


def components(values: Floats, names: Sequence[str]) -> list[Component]:
    """Estimates the variance components.

    Args:
        values: An axis for each name, each of length 2 or more.
        names: The names of the axes.

    Returns:
        The single factors first, then their interactions, then the residual.
    """
    squares = mean_squares(values)
    estimates = moments(squares, values.shape)
    all_axes = tuple(range(values.ndim))
    residual = [axes for axes in squares if len(axes) > MAX_INTERACTION or axes == all_axes]
    groups = [(" × ".join(names[axis] for axis in axes), [axes]) for axes in squares if axes not in residual]
    estimated = [
        (name, sum(estimates[axes] for axes in sets), sum(_degrees_of_freedom(axes, values.shape) for axes in sets))
        for name, sets in [*groups, (RESIDUAL, residual)]
    ]
    total = sum(max(0.0, variance) for _, variance, _ in estimated) or 1.0
    return [
        Component(name=name, variance=variance, share=max(0.0, variance) / total, degrees_of_freedom=degrees)
        for name, variance, degrees in estimated
    ]


def mean_squares(values: Floats) -> dict[Axes, float]:
    """Returns the mean square of every set of axes, single axes first."""
    all_axes = tuple(range(values.ndim))
    sets = chain.from_iterable(combinations(all_axes, size) for size in range(1, values.ndim + 1))
    squares = {}
    for axes in sets:
        effect = values.mean(tuple(set(all_axes) - set(axes)), keepdims=True)
        for axis in axes:
            effect = effect - effect.mean(axis, keepdims=True)
        sum_of_squares = float((effect**2).sum()) * _answers_per_level(axes, values.shape)
        squares[axes] = sum_of_squares / _degrees_of_freedom(axes, values.shape)
    return squares


def moments(squares: Mapping[Axes, float], shape: Sequence[int]) -> dict[Axes, float]:
    """Returns the estimate of sigma2 for every set of axes.

    Args:
        squares: The mean square of every set of axes.
        shape: The number of levels of each axis.
    """
    return {
        axes: sum((-1) ** (len(other) - len(axes)) * square for other, square in squares.items() if set(axes) <= set(other))
        / _answers_per_level(axes, shape)
        for axes in squares
    }


def _answers_per_level(axes: Axes, shape: Sequence[int]) -> int:
    """Returns the number of answers with the same combination of the levels of some axes."""
    return prod(size for axis, size in enumerate(shape) if axis not in axes)


def _degrees_of_freedom(axes: Axes, shape: Sequence[int]) -> int:
    return prod(shape[axis] - 1 for axis in axes)
