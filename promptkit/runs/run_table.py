"""The table of a run's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from promptkit.core.shown_text import escaped, label_text
from promptkit.display.text_table import FEW_LABELS, NAME_WIDTH, new_table, one_keyword_per_line, signed, with_interval
from promptkit.metrics.base import Metric
from promptkit.metrics.table import METRICS
from promptkit.metrics.vote_accuracy import VoteAccuracy
from promptkit.runs.result import Result

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from promptkit.runs.run_data import RunData


def run_table(run: RunData) -> Table:
    """Returns a table with one line per branch and per baseline.

    The lines have the metrics with 95% intervals, and how often each label is predicted. Branches have their difference from
    the best baseline.
    """
    from rich.text import Text

    metrics = tabulated_metrics(run.results[0])
    best = None if run.baselines is None else run.baselines.best
    from_best = {} if run.baselines is None else run.baselines.differences_from_best()
    caption = [f"below each figure its 95% interval ({interval_methods(run)})"]
    caption += [] if run.baselines is None else run.baselines.describe()
    rows = f"{len(run.ids)} rows" + (f" in {run.folds} folds" if run.folds else "")
    rows += f", {run.seen_rows} of them used for fitting" if run.seen_rows else ""
    table = new_table(escaped(f"{run.task} · {run.split} · {rows} · {run.model}"), caption="\n".join(caption))
    count = _PredictionCounts(run)
    titles = [metric.title for metric in metrics]
    table.add_column("alignment", overflow="fold", max_width=NAME_WIDTH)
    for title in titles if best is None else [titles[0], f"vs. {best.name}", *titles[1:]]:
        table.add_column(Text(title), justify="right", no_wrap=True)
    if run.results[0].predicted:
        table.add_column("predicted/gold" if count.few else "predicted", no_wrap=True)
    for result in run.results:
        main, *others = _figures(metrics, result.metrics)
        differences = [signed(from_best[result.align].estimate, "\n")] if from_best else []
        name = Text(one_keyword_per_line(result.align))
        table.add_row(name, main, *differences, *others, *count.cells(result.predicted, result.predictions))
        for k in tabulated_sample_counts(result.metrics):
            table.add_row(f"  of {k}", with_interval(result.metrics[f"{VoteAccuracy.prefix}{k}"], "\n"))
    if run.baselines is not None:
        table.add_row("no model:")
        for baseline in run.baselines.results:
            main, *others = _figures(metrics, baseline.metrics)
            table.add_row(f"  {baseline.name}", main, "", *others, *count.cells(baseline.predicted, baseline.predictions))
    return table


def tabulated_metrics(result: Result) -> list[Metric]:
    """Returns the metrics that have a column: those that were requested, then the default ones outside of families."""
    requested = {metric.name for metric in result.requested}
    return [metric for name, metric in result.chosen.items() if name in requested or name in METRICS]


def _figures(metrics: Sequence[Metric], values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The cells of metrics; empty for a metric that does not apply."""
    return [with_interval(values[metric.name], "\n") if metric.name in values else "" for metric in metrics]


class _PredictionCounts:
    """Describes how often each answer is predicted."""

    def __init__(self, run: RunData) -> None:
        self._gold = Counter(run.results[0].metric_input.gold_counts)
        self._answers = run.labels or tuple(sorted(self._gold.keys() | run.results[0].predicted.keys()))
        self.few = len(self._answers) <= FEW_LABELS

    def cells(self, predicted: Mapping[str, int], predictions: Sequence[str | None]) -> list[Text]:
        """Returns the cell with the number of predictions of each answer, or of different answers if there are many.

        Free answers have no such cell.
        """
        from rich.text import Text

        if not predicted:
            return []
        if not self.few:
            return [Text(f"{sum(map(bool, predicted.values()))} of {len(self._answers)} labels")]
        unanswered = sum(prediction is None for prediction in predictions)
        counts = [f"{predicted.get(answer, 0)}/{self._gold[answer]} {label_text(answer)}" for answer in self._answers]
        return [Text("\n".join([*counts, *[f"{unanswered} without an answer"] * bool(unanswered)]))]


def interval_methods(run: RunData) -> str:
    """Returns the methods of the intervals in a run's table: `Wilson`, or `accuracy: Wilson; others: bootstrap`."""
    metrics = tabulated_metrics(run.results[0])
    wilson = [metric.title for metric in metrics if metric.interval == "wilson"]
    if len(wilson) == len(metrics):
        methods = "Wilson"
    else:
        methods = f"{', '.join(wilson)}: Wilson; others: bootstrap" if wilson else "bootstrap"
    differ = any(result.metric_input.folds is not None for result in run.results)
    return methods + ("; wider by the variance between folds" if differ else "")


def tabulated_sample_counts(metrics: Mapping[str, object]) -> list[int]:
    """Returns the numbers of samples whose accuracy is tabulated: the powers of two and the largest."""
    most = sum(name.startswith(VoteAccuracy.prefix) for name in metrics)
    return [k for k in range(1, most + 1) if k & (k - 1) == 0 or k == most]
