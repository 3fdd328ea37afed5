"""The charts of a run's report. Every number comes from the run, or from the functions that other figures use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptkit.analysis.reliability import confidence_bins
from promptkit.analysis.risk_coverage import risk_coverage
from promptkit.display.table import Entry, Table
from promptkit.metrics.intervals import Estimate
from promptkit.metrics.vote_accuracy import VoteAccuracy
from promptkit.reports import charts, heatmaps, line_charts
from promptkit.reports.blocks import Block, Chart, Paragraph, TableBlock
from promptkit.reports.run_tables import best_result
from promptkit.runs.by_label import confusion_table, label_table
from promptkit.runs.result import Result
from promptkit.runs.run import Run
from promptkit.runs.run_table import tabulated_sample_counts

MOST_LABELS = 100
"""With more labels than this, there are no charts with a row for each of them."""


def metric_chart(run: Run) -> Chart:
    """Returns the main metric of each branch and each baseline, with intervals."""
    metric = run.main_metric
    rows = [(result.align, Estimate(**result.metrics[metric.name]), False) for result in run.results]
    baselines = () if run.baselines is None else run.baselines.results
    rows += [(each.name, Estimate(**each.metrics[metric.name]), True) for each in baselines if metric.name in each.metrics]
    return charts.estimates(rows, metric=metric.title, title=f"{metric.title} by alignment")


def shown_results(run: Run) -> list[Result]:
    """Returns the branches with figures of each label: the first, and the best one if that is another."""
    best = best_result(run)
    return [run.results[0], *([best] if best is not run.results[0] else [])]


def label_blocks(run: Run) -> list[Block]:
    """Returns the confusion matrix and the figures of each label; empty if rows do not share their labels."""
    if not run.results[0].metric_input.labels:
        return []
    blocks: list[Block] = []
    shown = shown_results(run)
    if len(run.results) > len(shown):
        which = "first alignment, which is the best" if len(shown) == 1 else "first and for the best alignment"
        blocks.append(Paragraph(text=f"Shown for the {which}."))
    for result in shown:
        blocks += _confusion(result)
        blocks.append(TableBlock(table=label_table(result.metric_input, f"By label · {result.align}")))
    return blocks


def _confusion(result: Result) -> list[Block]:
    table = confusion_table(result.metric_input, f"Confusion matrix · {result.align}")
    if result.metric_input.kind == "label_sets":
        return [TableBlock(table=table)]
    labels, columns = [str(row[0]) for row in table.rows], list(table.columns[1:])
    if len(labels) > MOST_LABELS:
        return []
    cells: list[dict[str, object]] = []
    for label, row in zip(labels, table.rows, strict=True):
        counts = [int(str(count)) for count in row[1:]]
        total = sum(counts) or 1
        pairs = zip(columns, counts, strict=True)
        cells += [{"row": label, "column": column, "value": count / total, "text": count} for column, count in pairs]
    chart = heatmaps.heatmap(
        cells,
        rows=labels,
        columns=columns,
        y="gold",
        x="predicted",
        unit="rows",
        title=table.title,
        description=f"Number of rows by gold label and predicted label, for {len(labels)} labels, of {result.align}",
        note="Numbers are rows; colors are shares of the rows with a gold label.",
        number="d",
        domain=(0.0, 1.0),
        table=table,
    )
    return [chart]


def reliability_chart(run: Run) -> Chart | None:
    """Returns the reliability diagram of all branches; None if they have no probabilities of one answer."""
    results = [result for result in run.results if "ece" in result.metrics]
    if not results:
        return None
    values: list[dict[str, object]] = []
    lines: list[tuple[Entry, ...]] = []
    for result in results:
        for each in confidence_bins(result):
            accuracy = each.accuracy
            point = {"x": each.confidence, "y": accuracy.value, "low": accuracy.low, "high": accuracy.high, "rows": each.rows}
            values.append({"series": result.align, **point})
            lines.append((result.align, each.confidence, accuracy, each.rows))
    table = Table(
        title="Reliability",
        columns=("alignment", "mean confidence", "accuracy", "rows"),
        rows=tuple(lines),
        names=1,
        caption="One row for each bin of the expected calibration error; below accuracies their 95% Wilson intervals.",
    )
    ece = ", ".join(f"{result.align} {result.metrics['ece']['value']:.3f}" for result in results)
    return line_charts.lines(
        values,
        x="confidence",
        y="accuracy",
        series=[result.align for result in results],
        legend="alignment",
        title="Reliability: accuracy by confidence",
        description=f"Accuracy in bins of confidence; expected calibration error: {ece}",
        note=f"Calibrated probabilities lie on the dashed diagonal. Expected calibration error: {ece}. Select in the legend.",
        table=table,
        diagonal=True,
    )


def risk_coverage_chart(run: Run) -> Chart | None:
    """Returns the error rate by share of answered rows; None if the branches have no probabilities of one answer."""
    curves = {result.align: risk_coverage(result.metric_input) for result in run.results if "ece" in result.metrics}
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return None
    values = [
        {"series": name, "x": point.coverage, "y": point.risk, "threshold": point.threshold}
        for name, points in curves.items()
        for point in points
    ]
    shares = (0.25, 0.5, 0.75, 1.0)
    lines = [(name, *(_risk_at(points, share) for share in shares)) for name, points in curves.items()]
    table = Table(
        title="Error rate of answered rows",
        columns=("alignment", *(f"{share:.0%} answered" for share in shares)),
        rows=tuple(lines),
        names=1,
        caption="The first threshold that answers at least this share of the rows.",
    )
    return line_charts.lines(
        values,
        x="share of rows that are answered",
        y="error rate among them",
        series=list(curves),
        legend="alignment",
        title="Risk and coverage: what abstention gains",
        description="Error rate among answered rows, by the share of rows that are answered, most confident first",
        note="Rows are answered in the order of the probability of their predicted label. Select in the legend.",
        table=table,
        points=False,
        zero=True,
    )


def _risk_at(points: Sequence[tuple[float, float, float]], share: float) -> float | None:
    return next((risk for coverage, risk, _ in points if coverage >= share - 1e-9), None)


def prediction_chart(run: Run) -> Chart | None:
    """Returns how often each label is correct and predicted; None without labels, or with very many of them."""
    results = [result for result in run.results if result.predicted]
    gold = Counter(run.results[0].metric_input.gold_counts)
    labels = list(run.labels or (sorted(gold.keys() | results[0].predicted.keys()) if results else ()))
    if not results or not 1 < len(labels) <= MOST_LABELS:
        return None
    shown = [result for result in shown_results(run) if result.predicted]
    counts = {"gold": dict(gold), **{f"predicted by {result.align}": dict(result.predicted) for result in shown}}
    values = [{"name": label, "series": name, "value": each.get(label, 0)} for label in labels for name, each in counts.items()]
    least = min(labels, key=lambda label: shown[-1].predicted.get(label, 0))
    return charts.bars(
        values,
        names=labels,
        series=list(counts),
        x="rows",
        title="How often each label is predicted",
        description=f"Rows by gold label and by predicted label; predicted least often by {shown[-1].align}: {least}",
    )


def samples_chart(run: Run) -> Chart | None:
    """Returns the accuracy of a vote among 1, 2, 4, ... sampled texts; None without samples."""
    values: list[dict[str, object]] = []
    for result in run.results:
        for k in tabulated_sample_counts(result.metrics):
            found = result.metrics[f"{VoteAccuracy.prefix}{k}"]
            values.append({"series": result.align, "x": k, "y": found["value"], "low": found["low"], "high": found["high"]})
    if not values:
        return None
    return line_charts.lines(
        values,
        x="samples that vote",
        y="accuracy",
        series=[result.align for result in run.results],
        legend="alignment",
        title="Accuracy by number of samples",
        description="Accuracy of the majority answer by the number of sampled texts",
    )
