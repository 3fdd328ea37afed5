"""The tables and sentences of a run's report, from the figures of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.display.table import Entry, Table
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Estimate
from promptkit.runs.result import Result
from promptkit.runs.run import Run
from promptkit.runs.run_table import interval_methods, tabulated_metrics


def headline_table(run: Run) -> Table:
    """Returns the metrics of each branch and of each baseline with their intervals, as the table in the terminal shows them."""
    metrics = tabulated_metrics(run.results[0])
    best = None if run.baselines is None else run.baselines.best
    from_best = {} if run.baselines is None else run.baselines.differences_from_best()
    versus = [] if best is None else [f"vs. {best.name}"]
    main, *others = metrics
    lines: list[tuple[Entry, ...]] = []
    for result in run.results:
        figures = _estimates(metrics, result.metrics)
        difference: list[Entry] = [from_best[result.align].estimate] if from_best else [None] * len(versus)
        lines.append((result.align, figures[0], *difference, *figures[1:]))
    for baseline in () if run.baselines is None else run.baselines.results:
        figures = _estimates(metrics, baseline.metrics)
        lines.append((f"{baseline.name} (no model)", figures[0], *([None] * len(versus)), *figures[1:]))
    described = [] if run.baselines is None else run.baselines.describe()
    return Table(
        title=run.title,
        columns=("alignment", main.title, *versus, *(metric.title for metric in others)),
        rows=tuple(lines),
        names=1,
        caption="; ".join([f"below each figure its 95% interval ({interval_methods(run)})", *described]),
        signed=tuple(versus),
    )


def _estimates(metrics: Sequence[Metric], values: Mapping[str, Mapping[str, float]]) -> list[Entry]:
    return [Estimate(**values[metric.name]) if metric.name in values else None for metric in metrics]


def best_result(run: Run) -> Result:
    """Returns the branch with the best value of the main metric; the first of equal ones."""
    metric = run.main_metric
    sign = 1 if metric.higher_is_better else -1
    return max(run.results, key=lambda result: sign * result.metrics[metric.name]["value"])


def lead(run: Run) -> str:
    """Returns what is compared with what, and the result, in one or two sentences."""
    metric, best = run.main_metric, best_result(run)
    rows = f"{len(run.ids)} rows of {run.task} ({run.split})"
    if len(run.results) == 1:
        subject, of_best = f"{run.model} with {best.align}", "It"
    else:
        subject = f"{len(run.results)} alignments of the same answers of {run.model}"
        of_best = f"The best of them, {best.align},"
    figure = f"{of_best} has {metric.title} {_figure(Estimate(**best.metrics[metric.name]))}"
    if run.baselines is None:
        return f"{subject} on {rows}. {figure}."
    baseline = run.baselines.best
    difference = run.baselines.differences_from_best()[best.align]
    value = difference.estimate
    compared = f"{value.value:+.3f} (95% interval {value.low:+.3f} to {value.high:+.3f})"
    title = metric.title if run.baselines.metric is None else run.baselines.metric.title
    return (
        f"{subject} on {rows}, compared row by row with {baseline.name}, the best baseline without a model. "
        f"{figure}; its {title} minus that of {baseline.name} is {compared}."
    )


def _figure(value: Estimate) -> str:
    return f"{value.value:.3f} (95% interval {value.low:.3f} to {value.high:.3f})"
