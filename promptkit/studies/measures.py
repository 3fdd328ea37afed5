"""Means over a study's cells, and means of paired differences, with 95% intervals.

Items and seeds are samples of larger populations; the values of other dimensions are fixed. Let v_s be the metric of seed s
over all items, S the number of seeds, and * a bootstrap resample of the items, the same for every cell. The variance of the
mean is estimated by

    Var*(mean_s v_s) + Var_s(v_s) / S - sum_s Var*(v_s - mean_s v_s) / (S (S - 1)),

but not less than either of its first two terms. The first is the contribution of the items, the second that of the seeds; both
contain the interaction of items and seeds, which is therefore subtracted once. For a proportion, this is the variance of a mean
over two crossed random factors. A bootstrap of both factors (Owen 2007, 10.1214/07-AOAS122) counts the interaction twice, and
its intervals are too wide if seeds hardly matter. The interval is Student's t with degrees of freedom by Satterthwaite's
approximation: it is wide for three seeds that differ, as it must be. A share of items without any variance, such as an accuracy
of 0 with every seed, has Wilson's interval for its number of items.

Rows of different tasks are never pooled. The mean over several tasks is a macro average: the mean of the tasks' means, whose
variance is the sum of theirs, because their rows and demonstrations are independent, divided by the square of their number.

The p-value of a difference is that of a paired test of its rows, if there is one task and no more than one seed; see
`promptkit.metrics.paired_tests`. Otherwise it is that of Student's t with the variance and the degrees of freedom of the
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from promptkit.core.errors import unknown
from promptkit.core.metric_input import MetricInput
from promptkit.display.table import Plain
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Estimate, Statistic, resamples, wilson
from promptkit.metrics.paired_tests import PValue, bootstrap_test, sign_flip_test
from promptkit.metrics.table import estimate, statistic
from promptkit.studies.cells import SEED, Cell

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


MAIN = "main metric"
"""Stands for the main metric of each cell, if these differ because the study has tasks of several kinds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over items and seeds, as the module describes it."""

    value: float
    variance: float
    degrees: float
    """The degrees of freedom of the variance; 0 if the variance is 0."""

    def estimate(self, bounds: tuple[float, float]) -> Estimate:
        """Returns the 95% interval.

        Args:
            bounds: The smallest and the largest value possible, at which the interval is cut.
        """
        from scipy.special import stdtrit

        half_width = float(stdtrit(self.degrees, 0.975)) * self.variance**0.5 if self.degrees else 0.0
        lowest, highest = bounds
        return Estimate(value=self.value, low=max(lowest, self.value - half_width), high=min(highest, self.value + half_width))

    def test(self, items: int) -> PValue:
        """Returns the p-value of Student's t.

        Args:
            items: The number of items. If all of them have the same difference, the p-value is that of a sign-flip test.
        """
        from scipy.special import stdtr

        if self.variance:
            p = 2 * float(stdtr(self.degrees, -abs(self.value) / self.variance**0.5))
        else:
            p = 2.0 ** (1 - items) if self.value else 1.0
        return PValue(p=p, test="t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference of a metric, with its interval and its p-value."""

    estimate: Estimate
    test: PValue


def check_metric(cells: Sequence[Cell], metric: str | None) -> str:
    """Returns the metric, or the default one of the runs: accuracy, or exact_match, or `MAIN` if the runs have different ones.

    Raises:
        InputError: If not all runs have the metric.
    """
    known = [name for name in cells[0].result.metrics if all(name in cell.result.metrics for cell in cells)]
    if metric is not None and metric not in (*known, MAIN):
        raise unknown("metric of the study", metric, known)
    mains = dict.fromkeys(next(iter(cell.result.metrics)) for cell in cells)
    return metric or (MAIN if len(mains) > 1 else next(iter(mains)))


def main_metrics(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns the main metric of each task."""
    return {cell.task: next(iter(cell.result.metrics)) for cell in cells}


def metric_of(cell: Cell, name: str) -> Metric:
    """Returns the metric with this name, or the main one of the cell for `MAIN`."""
    return cell.result.chosen[_own_name(cell, name)]


def direction(cells: Sequence[Cell], name: str) -> str:
    """Says that a lower value is better, for a metric of which this holds; otherwise an empty text."""
    metrics = [metric_of(cell, name) for cell in {cell.task: cell for cell in cells}.values()]
    lower = dict.fromkeys(metric.title for metric in metrics if not metric.higher_is_better)
    return f"lower is better ({', '.join(lower)})" if lower else ""


def _own_name(cell: Cell, name: str) -> str:
    return next(iter(cell.result.metrics)) if name == MAIN else name


def mean(cells: Sequence[Cell], metric: str) -> Estimate:
    """Returns the mean of a metric over cells; for the cells of a single run, the run's metric and interval."""
    first = cells[0]
    if all(cell.result is first.result for cell in cells):
        return Estimate(**first.result.metrics[_own_name(first, metric)])
    averaged = _macro([_mean_of_task(group, metric) for group in _by_task(cells, lambda cell: cell)])
    if not averaged.variance and metric_of(first, metric).interval == "wilson":
        items = min(len(cell.result.correct) for cell in cells)
        return wilson(averaged.value * items, items)
    return averaged.estimate(_bounds(cells, metric))


def _mean_of_task(cells: Sequence[Cell], metric: str) -> Mean:
    values = _by_seed((cell.values.get(SEED), _resampled(cell, metric)) for cell in cells)
    return moments(values, len(cells[0].result.correct))


def difference(pairs: Sequence[tuple[Cell, Cell]], metric: str) -> Difference:
    """Returns the mean difference of a metric over pairs of cells, first minus second, paired by item.

    A pair belongs to the seed of its first cell. Both cells of a pair belong to the same task.
    """
    by_task = _by_task(pairs, lambda pair: pair[0])
    values = [_by_seed(_differences(group, metric)) for group in by_task]
    items = [len(group[0][0].result.correct) for group in by_task]
    averaged = _macro(list(map(moments, values, items)))
    low, high = _bounds([cell for pair in pairs for cell in pair], metric)
    of_one_run = len({(id(first.result), id(other.result)) for first, other in pairs}) == 1  # no seed changes the prompts
    one_sample = len(values) == 1 and (len(values[0]) == 1 or of_one_run)
    return Difference(
        estimate=averaged.estimate((low - high, high - low)),
        test=_paired_test(pairs, metric, values[0][0]) if one_sample else averaged.test(sum(items)),
    )


def _differences(pairs: Sequence[tuple[Cell, Cell]], metric: str) -> Iterable[tuple[Plain, Floats]]:
    """Yields the seed of each pair, and its difference over all items, then over resamples."""
    return ((first.values.get(SEED), _resampled(first, metric) - _resampled(other, metric)) for first, other in pairs)


def _paired_test(pairs: Sequence[tuple[Cell, Cell]], metric: str, resampled: Floats) -> PValue:
    """Tests a difference between cells of one task and one seed: by its rows, or by its resamples."""
    of_rows = [_row_values(first, metric) - _row_values(other, metric) for first, other in pairs if _has_rows(first, metric)]
    return sign_flip_test(np.mean(of_rows, axis=0)) if of_rows else bootstrap_test(resampled)


def _has_rows(cell: Cell, metric: str) -> bool:
    return isinstance(metric_of(cell, metric).values(cell.result.metric_input), np.ndarray)


def _row_values(cell: Cell, metric: str) -> Floats:
    values = metric_of(cell, metric).values(cell.result.metric_input)
    assert isinstance(values, np.ndarray)
    return values


def mean_over_tasks(predicted: Sequence[tuple[Metric, MetricInput]]) -> Estimate:
    """Returns a metric of a predictor: that of one task with its own interval, or the macro average over several.

    Args:
        predicted: For each task, the metric and the predictions.
    """
    if len(predicted) == 1:
        return estimate(*predicted[0])
    means = [moments(statistic(metric, rows)(resamples(len(rows)))[None], len(rows)) for metric, rows in predicted]
    return _macro(means).estimate(_united([metric.bounds for metric, _ in predicted]))


def difference_to_baseline(cells: Sequence[Cell], metric: Metric, baseline: MetricInput) -> Estimate:
    """Returns the mean of a metric over cells of one task minus that of a baseline, paired by item.

    Args:
        cells: The cells.
        metric: The metric, which the cells have.
        baseline: The predictions of the baseline.
    """
    subtracted = statistic(metric, baseline)(resamples(len(baseline)))
    values = _by_seed((cell.values.get(SEED), _resampled(cell, metric.name) - subtracted) for cell in cells)
    low, high = metric.bounds
    return interval(values, len(baseline), (low - high, high - low))


def mean_statistic(cells: Sequence[Cell], metric: str) -> Statistic:
    """Returns the mean of a metric over cells of the same items, as a statistic of resampled items."""
    statistics = [statistic(metric_of(cell, metric), cell.result.metric_input) for cell in cells]

    def mean_over_cells(weights: Floats) -> Floats:
        means: Floats = np.mean([each(weights) for each in statistics], axis=0)
        return means

    return mean_over_cells


def _by_task(items: Sequence[T], cell_of: Callable[[T], Cell]) -> list[list[T]]:
    """Groups cells, or pairs of cells, by their task."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(cell_of(item).task, []).append(item)
    return list(groups.values())


def _bounds(cells: Sequence[Cell], metric: str) -> tuple[float, float]:
    """The smallest and the largest value of a metric in cells."""
    return _united([metric_of(cell, metric).bounds for cell in cells])


def _united(bounds: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _macro(means: Sequence[Mean]) -> Mean:
    """Returns the mean of the means of independent tasks."""
    count = len(means)
    variances = [each.variance / count**2 for each in means]
    satterthwaite = sum(variance**2 / each.degrees for variance, each in zip(variances, means, strict=True) if each.degrees)
    return Mean(
        value=sum(each.value for each in means) / count,
        variance=sum(variances),
        degrees=sum(variances) ** 2 / satterthwaite if satterthwaite else 0.0,
    )


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
    return moments(values, items).estimate(bounds)


def moments(values: Floats, items: int) -> Mean:
    """Returns the mean over seeds and items with its variance. The arguments are as for `interval`."""
    seeds = len(values)
    means = values.mean(0)
    item_variance, seed_variance, interaction = float(means[1:].var(ddof=1)), 0.0, 0.0
    if seeds > 1:
        seed_variance = float(values[:, 0].var(ddof=1)) / seeds
        interaction = float((values - means)[:, 1:].var(axis=1, ddof=1).sum()) / (seeds * (seeds - 1))
    variance = max(item_variance + seed_variance - interaction, item_variance, seed_variance)
    satterthwaite = item_variance**2 / max(items - 1, 1) + seed_variance**2 / max(seeds - 1, 1)
    degrees = variance**2 / satterthwaite if satterthwaite else 0.0
    return Mean(value=float(means[0]), variance=variance, degrees=degrees)


def _resampled(cell: Cell, metric: str) -> Floats:
    """Returns a metric over all items, then over resamples, the same for every cell; shape (1 + RESAMPLES,)."""
    rows = cell.result.metric_input
    return statistic(metric_of(cell, metric), rows)(resamples(len(rows)))
