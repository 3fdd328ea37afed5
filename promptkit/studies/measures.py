"""The mean of a study's cells, or of the difference of pairs of them, with its 95% interval.

Items and seeds are samples of what there could have been; the other dimensions are averaged over as they stand. With v_s
the figure of seed s over all items, and * a bootstrap resample of the items, the same for every cell,

    variance of the mean = Var*(mean_s v_s) + Var_s(v_s) / S - sum_s Var*(v_s - mean_s v_s) / (S (S - 1)),

not less than either of the first two terms: what the items add, what the seeds add, and their interaction, which both of
these hold. For a share of rows this is the variance of a mean over two crossed random factors; a bootstrap of both factors
(Owen 2007, 10.1214/07-AOAS122) keeps the interaction twice and is too wide where seeds hardly matter. The interval is
Student's t, its degrees of freedom by Satterthwaite: with three seeds that differ it is wide, as it must be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.errors import TaskError, unknown
from promptkit.display.table import Plain
from promptkit.metrics.classification import BOUNDS, STATISTICS
from promptkit.metrics.intervals import Estimate, mean_of, resamples
from promptkit.studies.cells import SEED, Cell

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


def check_metric(cells: Sequence[Cell], metric: str | None) -> str:
    """The metric, or the first that the runs have: accuracy, or exact_match; raises for one that they have not."""
    known = cells[0].result.metrics
    if metric is not None and metric not in known:
        raise unknown("metric of the study", metric, known)
    return metric or next(iter(known))


def mean(cells: Sequence[Cell], metric: str) -> Estimate:
    """The mean over cells; of one run alone its own figure, with its own interval."""
    first = cells[0].result
    if all(cell.result is first for cell in cells):
        return Estimate(**first.metrics[metric])
    values = by_seed((cell.values.get(SEED), resampled(cell, metric)) for cell in cells)
    return interval(values, len(first.correct), BOUNDS.get(metric, (0.0, 1.0)))


def difference(pairs: Sequence[tuple[Cell, Cell]], metric: str) -> Estimate:
    """The mean over pairs of the first's figure less the other's, paired by item; the seed is the first's."""
    one, _ = pairs[0]
    _, most = BOUNDS.get(metric, (0.0, 1.0))
    values = by_seed((a.values.get(SEED), resampled(a, metric) - resampled(b, metric)) for a, b in pairs)
    return interval(values, len(one.result.correct), (-most, most))


def less(cells: Sequence[Cell], correct: Floats) -> Estimate:
    """The mean accuracy of cells less that of a control, shape (N,), paired by item."""
    control = mean_of(correct)(resamples(len(correct)))
    values = by_seed((cell.values.get(SEED), mean_of(cell.result.correct)(resamples(len(correct))) - control) for cell in cells)
    return interval(values, len(correct), (-1.0, 1.0))


def by_seed(figures: Iterable[tuple[Plain, Floats]]) -> Floats:
    """The mean of those of each seed: shape (S, 1 + RESAMPLES)."""
    groups: dict[Plain, list[Floats]] = {}
    for seed, values in figures:
        groups.setdefault(seed, []).append(values)
    return np.array([np.mean(group, axis=0) for group in groups.values()])


def interval(values: Floats, items: int, within: tuple[float, float]) -> Estimate:
    """The mean and its interval; `values` has shape (S, 1 + R): each seed's figure, over the items and over resamples."""
    from scipy.special import stdtrit

    seeds = len(values)
    means = values.mean(0)
    of_items, of_seeds, of_both = float(means[1:].var(ddof=1)), 0.0, 0.0
    if seeds > 1:
        of_seeds = float(values[:, 0].var(ddof=1)) / seeds
        of_both = float((values - means)[:, 1:].var(axis=1, ddof=1).sum()) / (seeds * (seeds - 1))
    variance = max(of_items + of_seeds - of_both, of_items, of_seeds)
    spread = of_items**2 / max(items - 1, 1) + of_seeds**2 / max(seeds - 1, 1)
    half = float(stdtrit(variance**2 / spread, 0.975)) * variance**0.5 if spread else 0.0
    value, (lowest, highest) = float(means[0]), within
    return Estimate(value=value, low=max(lowest, value - half), high=min(highest, value + half))


def resampled(cell: Cell, metric: str) -> Floats:
    """A figure over the items, and over each resample of them, the same for every cell: shape (1 + RESAMPLES,)."""
    result, labels = cell.result, cell.run.labels
    weights = resamples(len(result.correct))
    if metric in result.shares:
        return mean_of(result.shares[metric])(weights)
    if not labels:
        raise TaskError(
            f"The mean of {metric} over runs needs a task with labels that are the same for every row",
            code="no-fixed-labels",
            hint="Use accuracy, or a single run",
            metric=metric,
        )
    gold = np.array([labels.index(label) for label in cell.run.gold])
    return STATISTICS[metric](gold, result.logprobs)(weights)
