"""Means over a study's cells, and means of paired differences, with 95% intervals.

Items and seeds are samples of larger populations; the values of other dimensions are fixed. Let v_s be the metric of seed s
over all items, S the number of seeds, and * a bootstrap resample of the items, the same for every cell. The variance of the
mean is estimated by

    Var*(mean_s v_s) + Var_s(v_s) / S - sum_s Var*(v_s - mean_s v_s) / (S (S - 1)),

but not less than either of its first two terms. The first is the contribution of the items, the second that of the seeds; both
contain the interaction of items and seeds, which is therefore subtracted once. For a proportion, this is the variance of a mean
over two crossed random factors. A bootstrap of both factors (Owen 2007, 10.1214/07-AOAS122) counts the interaction twice, and
its intervals are too wide if seeds hardly matter. The interval is Student's t with degrees of freedom by Satterthwaite's
approximation: it is wide for three seeds that differ, as it must be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.errors import unknown
from promptkit.display.table import Plain
from promptkit.metrics.intervals import Estimate, mean_of, resamples
from promptkit.metrics.table import applicable, statistic
from promptkit.studies.cells import SEED, Cell

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def check_metric(cells: Sequence[Cell], metric: str | None) -> str:
    """Returns the metric, or the default one of the runs: accuracy, or exact_match.

    Raises:
        InputError: If the runs do not have the metric.
    """
    known = cells[0].result.metrics
    if metric is not None and metric not in known:
        raise unknown("metric of the study", metric, known)
    return metric or next(iter(known))


def mean(cells: Sequence[Cell], metric: str) -> Estimate:
    """Returns the mean of a metric over cells; for the cells of a single run, the run's metric and interval."""
    first = cells[0].result
    if all(cell.result is first for cell in cells):
        return Estimate(**first.metrics[metric])
    values = _by_seed((cell.values.get(SEED), _resampled(cell, metric)) for cell in cells)
    return interval(values, len(first.correct), applicable(first.metric_input)[metric].bounds)


def difference(pairs: Sequence[tuple[Cell, Cell]], metric: str) -> Estimate:
    """Returns the mean difference of a metric over pairs of cells, first minus second, paired by item.

    A pair belongs to the seed of its first cell.
    """
    first, _ = pairs[0]
    low, high = applicable(first.result.metric_input)[metric].bounds
    values = _by_seed((a.values.get(SEED), _resampled(a, metric) - _resampled(b, metric)) for a, b in pairs)
    return interval(values, len(first.result.correct), (low - high, high - low))


def difference_to_baseline(cells: Sequence[Cell], correct: Floats) -> Estimate:
    """Returns the mean accuracy of cells minus that of a baseline, paired by item.

    Args:
        cells: The cells.
        correct: 1.0 for each item that the baseline predicts correctly, else 0.0; shape (items,).
    """
    weights = resamples(len(correct))
    baseline = mean_of(correct)(weights)
    values = _by_seed((cell.values.get(SEED), mean_of(cell.result.correct)(weights) - baseline) for cell in cells)
    return interval(values, len(correct), (-1.0, 1.0))


def _by_seed(values: Iterable[tuple[Plain, Floats]]) -> Floats:
    """Returns the mean of the values of each seed, shape (seeds, 1 + RESAMPLES)."""
    groups: dict[Plain, list[Floats]] = {}
    for seed, resampled in values:
        groups.setdefault(seed, []).append(resampled)
    return np.array([np.mean(group, axis=0) for group in groups.values()])


def interval(values: Floats, items: int, bounds: tuple[float, float]) -> Estimate:
    """Returns the mean over seeds and items with its 95% interval, as the module describes it.

    Args:
        values: The metric of each seed over all items, then over each resample of the items; shape (seeds, 1 + resamples).
        items: The number of items.
        bounds: The smallest and the largest value possible, at which the interval is cut.
    """
    from scipy.special import stdtrit

    seeds = len(values)
    means = values.mean(0)
    item_variance, seed_variance, interaction = float(means[1:].var(ddof=1)), 0.0, 0.0
    if seeds > 1:
        seed_variance = float(values[:, 0].var(ddof=1)) / seeds
        interaction = float((values - means)[:, 1:].var(axis=1, ddof=1).sum()) / (seeds * (seeds - 1))
    variance = max(item_variance + seed_variance - interaction, item_variance, seed_variance)
    satterthwaite = item_variance**2 / max(items - 1, 1) + seed_variance**2 / max(seeds - 1, 1)
    quantile = float(stdtrit(variance**2 / satterthwaite, 0.975)) if satterthwaite else 0.0
    value, half_width = float(means[0]), quantile * variance**0.5
    lowest, highest = bounds
    return Estimate(value=value, low=max(lowest, value - half_width), high=min(highest, value + half_width))


def _resampled(cell: Cell, metric: str) -> Floats:
    """Returns a metric over all items, then over resamples, the same for every cell; shape (1 + RESAMPLES,)."""
    rows = cell.result.metric_input
    return statistic(applicable(rows)[metric], rows)(resamples(len(rows)))
