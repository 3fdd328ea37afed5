"""Tests of the difference of a metric between two predictions of the same rows, and their correction for several comparisons.

Under the hypothesis that two predictors are equally good, the sign of the difference of a row is arbitrary. For a metric that
is a mean over rows, the p-value is therefore the share of all choices of signs whose mean difference is at least as far from 0
as the observed one (a sign-flip permutation test). If all differences that are not 0 have the same size, as those of right and
wrong answers have, this is McNemar's exact test (McNemar 1947). Otherwise all choices of signs are enumerated for up to `EXACT`
rows that differ, and `FLIPS` random ones are drawn for more.

Other metrics, such as macro F1, are tested by the bootstrap: the share of resamples of the rows whose difference is at least as
far from its mean over resamples as the observed difference is from 0 (Efron and Tibshirani 1993, section 16.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import mcnemar, resamples
from promptkit.metrics.table import statistic

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

EXACT = 14
"""The most rows that differ for which all choices of signs are enumerated."""
FLIPS = 9999
"""The number of random choices of signs, drawn with the seed 0."""
_ROUNDING = 1e-12
"""The relative difference up to which two sums are equal."""

TestName = Literal["mcnemar", "sign-flip", "bootstrap", "t"]
"""A test: McNemar's exact test, sign flips of rows, the bootstrap, or Student's t over rows and seeds."""

TITLES: dict[TestName, str] = {
    "mcnemar": "McNemar's exact test",
    "sign-flip": "sign-flip permutation of rows",
    "bootstrap": "bootstrap of rows",
    "t": "Student's t over rows and seeds",
}
"""How a table names each test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PValue:
    """The two-sided p-value of a difference."""

    p: float
    test: TestName


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for several comparisons by the method of Holm (1979), in the given order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def paired_test(metric: Metric, first: MetricInput, other: MetricInput) -> PValue:
    """Tests the difference of a metric between two predictions of the same rows, in the same order."""
    one, two = metric.values(first), metric.values(other)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return sign_flip_test(two - one)
    weights = resamples(len(first))
    return bootstrap_test(statistic(metric, other)(weights) - statistic(metric, first)(weights))


def sign_flip_test(differences: Floats) -> PValue:
    """Tests whether the mean of the differences of rows is 0.

    Args:
        differences: Shape (N,).
    """
    left = differences[differences != 0]
    sizes = np.abs(left)
    if not len(left) or np.allclose(sizes, sizes[0], rtol=_ROUNDING, atol=0):
        return PValue(p=mcnemar(int((left > 0).sum()), int((left < 0).sum())), test="mcnemar")
    observed = abs(left.sum()) * (1 - _ROUNDING)
    if len(left) <= EXACT:
        signs = 1.0 - 2.0 * (np.arange(2 ** len(left))[:, None] >> np.arange(len(left)) & 1)
        return PValue(p=float((np.abs(signs @ left) >= observed).mean()), test="sign-flip")
    generator, extreme = np.random.default_rng(0), 0
    for start in range(0, FLIPS, 1000):
        signs = generator.integers(0, 2, (min(1000, FLIPS - start), len(left))) * 2.0 - 1.0
        extreme += int((np.abs(signs @ left) >= observed).sum())
    return PValue(p=(1 + extreme) / (1 + FLIPS), test="sign-flip")


def bootstrap_test(differences: Floats) -> PValue:
    """Tests whether a difference is 0, from its values for the sample and for each resample, shape (1 + R,)."""
    observed, resampled = abs(float(differences[0])) * (1 - _ROUNDING), differences[1:]
    extreme = int((np.abs(resampled - resampled.mean()) >= observed).sum())
    return PValue(p=(1 + extreme) / (1 + len(resampled)), test="bootstrap")
