"""The tables of a study: means, the best of several options, variance components, and records for frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from promptkit.core.errors import InputError
from promptkit.display.table import Entry, Plain, Table, text_of
from promptkit.metrics.intervals import Estimate
from promptkit.metrics.selection import corrected_best_statistic
from promptkit.studies import measures, variance
from promptkit.studies.baselines import Baseline, Baselines
from promptkit.studies.cells import SEED, TASK, Cell, EvaluatedGrid, Names, as_names
from promptkit.studies.grid import format_values

MACRO = "macro average"
"""The column with the mean over tasks."""
SHOTS = ("k", "shots")
"""The dimensions whose values are numbers of demonstrations."""


def mean_of(study: EvaluatedGrid, metric: str, values: Mapping[str, Plain]) -> Estimate | None:
    """Returns the mean of a metric over the cells with these values.

    The mean over tasks is a macro average. None if there is no such cell, or not one of every task that is averaged over.
    """
    cells = study.having(values)
    return measures.mean(cells, metric) if cells and (TASK in values or study.of_every_task(cells)) else None


def numeric_dimension(study: EvaluatedGrid) -> str | None:
    """Returns the dimension for the columns of a table or the x axis of a plot, or None if none is numeric.

    Prefers a number of demonstrations to other numbers. Seeds do not count as numbers.
    """
    numeric = [
        name
        for name in study.varying([SEED])
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in study.dimensions[name])
    ]
    return next((name for name in SHOTS if name in numeric), numeric[0] if numeric else None)


def means(
    study: EvaluatedGrid, rows: Names | None, columns: str | None, metric: str | None, baselines: Baselines | None
) -> Table:
    """Returns a table of means; see `Study.table`."""
    metric = measures.check_metric(study.cells, metric)
    if rows is None and columns is None:
        columns = TASK if TASK in study.varying() else numeric_dimension(study)
    column_names = as_names([] if columns is None else columns)
    row_names = study.varying([SEED, *column_names]) if rows is None else as_names(rows)
    study.check(*row_names, *column_names)
    column_values = study.combinations(column_names)
    headers = [_header(column, metric) for column in column_values]
    if column_names == [TASK] and len(column_values) > 1:
        column_values, headers = [*column_values, {}], [*headers, MACRO]
    lines: list[tuple[Entry, ...]] = [
        (*(values.values() or [metric]), *(mean_of(study, metric, values | column) for column in column_values))
        for values in study.combinations(row_names)
    ]
    lines += _baseline_lines(study, baselines, metric, row_names, column_values)
    return Table(
        title=study.title,
        columns=(*(row_names or ["figure"]), *headers),
        rows=tuple(lines),
        names=max(len(row_names), 1),
        caption=_caption(study, metric, [*row_names, *column_names]),
    )


def _header(column: Mapping[str, Plain], metric: str) -> str:
    names = (text_of(value) if name == TASK else f"{name}={text_of(value)}" for name, value in column.items())
    return ", ".join(names) or metric


def _caption(study: EvaluatedGrid, metric: str, names: Sequence[str]) -> str:
    """Returns the caption: the dimensions a table averages over, and the sources of variation in its intervals."""
    over = "items and seeds" if SEED in study.varying(names) else "items"
    mains = ", ".join(f"{name} ({task})" for task, name in measures.main_metrics(study.cells).items())
    parts = (
        study.averaged_over(names),
        f"{MACRO}: mean over tasks, each with equal weight" if TASK in names and TASK in study.varying() else "",
        f"{metric}: {mains}" if metric == measures.MAIN else "",
        measures.direction(study.cells, metric),
        f"below each figure its 95% interval over {over}",
    )
    return "; ".join(filter(None, parts))


def _baseline_lines(
    study: EvaluatedGrid,
    baselines: Baselines | None,
    metric: str,
    row_names: Sequence[str],
    columns: Sequence[Mapping[str, Plain]],
) -> list[tuple[Entry, ...]]:
    """Returns the rows of baselines: one for each, or one for each task if the tasks are in rows."""
    tasks = study.dimensions[TASK] if TASK in row_names and len(study.tasks) > 1 else [None]
    lines: list[tuple[Entry, ...]] = []
    for task in tasks:
        at = [column if task is None else {**column, TASK: task} for column in columns]
        for name, cells in baseline_rows(study, baselines, metric, at).items():
            blank = [task if other == TASK else "" for other in row_names[1:]]
            first = f"{name}, {task}" if task is not None and row_names[0] == TASK else name
            lines.append((first, *blank, *cells))
    return lines


def baseline_rows(
    study: EvaluatedGrid, baselines: Baselines | None, metric: str, columns: Sequence[Mapping[str, Plain]]
) -> dict[str, list[Estimate | None]]:
    """Returns a metric of each baseline in each column of a table, by the name of its row.

    A baseline that uses k demonstrations appears in the columns with that number of demonstrations, one that uses the whole
    pool in all columns. In a column that is not of one task, it is the macro average over tasks.

    Raises:
        InputError: If the metric does not apply to the baselines.
    """
    metrics = {cell.task: measures.metric_of(cell, metric) for cell in study.cells}
    for baseline in baselines.baselines if baselines else ():
        if baseline.task in metrics and not metrics[baseline.task].applies_to(baseline.metric_input):
            raise InputError(
                f"The metric {metric} does not apply to the baselines",
                code="baselines-without-metric",
                got=f"predictions of {baseline.metric_input.kind}",
                hint=f"Leave out the baselines, or use another metric, such as {baseline.metric.name}",
                metric=metric,
            )
    shots = [[value for name, value in column.items() if name in SHOTS] for column in columns]
    rows: dict[str, list[Estimate | None]] = {}
    for baseline in baselines.baselines if baselines else ():
        rows.setdefault(_row_name(baseline, shots_in_columns=any(shots)), [None] * len(columns))
    every = tuple(dict.fromkeys(baseline.task for baseline in baselines.baselines)) if baselines else ()
    for name, row in rows.items():
        for index, (counts, column) in enumerate(zip(shots, columns, strict=True)):
            tasks = [task for task in every if column.get(TASK, task) == task]
            predicted = {
                baseline.task: (metrics[baseline.task], baseline.metric_input)
                for baseline in (baselines.baselines if baselines else ())
                if _row_name(baseline, shots_in_columns=any(shots)) == name
                and baseline.task in tasks
                and (baseline.k is None or not counts or baseline.k in counts)
            }
            if tasks and len(predicted) == len(tasks):
                row[index] = measures.mean_over_tasks([*predicted.values()])
    return rows


def _row_name(baseline: Baseline, *, shots_in_columns: bool) -> str:
    return baseline.name if baseline.k is None or shots_in_columns else f"{baseline.name}, k={baseline.k}"


def best(study: EvaluatedGrid, over: Names, metric: str | None) -> Table:
    """Returns a table with the best of several options; see `Study.best`."""
    metric = measures.check_metric(study.cells, metric)
    option_names = as_names(over)
    study.check(*option_names)
    if TASK in option_names:
        study.check_one_task("The best of several options")
    row_names = study.varying([SEED, *option_names])
    lines = [(*values.values(), *_best_of(study, values, option_names, metric)) for values in study.combinations(row_names)]
    parts = (
        study.averaged_over([*row_names, *option_names]),
        _metric_caption(study, metric),
        "new items: the figure of the best on new items, estimated by the bootstrap, with its 95% interval; "
        "optimism: by how much the best is better than that",
    )
    return Table(
        title=f"{study.title} · the best over {' × '.join(option_names)}",
        columns=(*row_names, "N", "mean", "worst", "best", "new items", "optimism", "the best is"),
        rows=tuple(line for line in lines if len(line) > len(row_names)),
        names=len(row_names),
        caption="; ".join(filter(None, parts)),
    )


def _metric_caption(study: EvaluatedGrid, metric: str) -> str:
    """Returns the names of the metrics in a table, with their direction if lower is better."""
    mains = measures.main_metrics(study.cells) if metric == measures.MAIN else {"": metric}
    cells = {cell.task: cell for cell in study.cells}
    named = []
    for task, name in mains.items():
        higher = measures.metric_of(cells[task] if task else study.cells[0], name).higher_is_better
        named.append(f"{name}{f' ({task})' if task else ''}{'' if higher else ', lower is better'}")
    return f"figures: {'; '.join(named)}"


def _best_of(study: EvaluatedGrid, values: dict[str, Plain], option_names: Sequence[str], metric: str) -> tuple[Entry, ...]:
    """Returns the number of options, and the figures and the name of the best; empty without options."""
    options = {
        format_values(option): cells for option in study.combinations(option_names) if (cells := study.having(values | option))
    }
    if not options:
        return ()
    first = next(iter(options.values()))[0]
    kind, items = measures.metric_of(first, metric), len(first.result.metric_input)
    higher = kind.higher_is_better
    statistics = {name: measures.mean_statistic(cells, metric) for name, cells in options.items()}
    figures = {name: float(each(np.ones((1, items)))[0]) for name, each in statistics.items()}
    choose, worst = (max, min) if higher else (min, max)
    found = corrected_best_statistic([*statistics.values()], items, higher_is_better=higher, is_share=kind.interval == "wilson")
    name = choose(figures, key=figures.__getitem__)
    mean = float(np.mean([*figures.values()]))
    return (
        len(figures),
        mean,
        worst(figures.values()),
        figures[name],
        found.estimate,
        found.optimism if higher else -found.optimism,
        name,
    )


def variance_components(study: EvaluatedGrid) -> Table:
    """Returns a table of variance components; see `Study.variance`."""
    study.check_one_task("The variance decomposition")
    factors = study.varying()
    cells_of = [study.having(values) for values in study.combinations(factors)]
    if study.n < 2 or not all(cells_of):
        raise InputError(
            "The variance decomposition needs at least two items and every combination of the values",
            code="too-few-items" if study.n < 2 else "missing-combinations",
            got=f"{study.n} items, {sum(map(bool, cells_of))} of {len(cells_of)} combinations",
            hint="Use where() to select values so that every combination of them was evaluated",
            items=study.n,
            combinations=len(cells_of),
            evaluated=sum(map(bool, cells_of)),
        )
    shape = [*(len(study.dimensions[name]) for name in factors), study.n]
    correct = np.array([cells[0].result.correct for cells in cells_of]).reshape(shape)
    parts = variance.components(correct, [*factors, "items"])
    return Table(
        title=f"{study.title} · variance of right and wrong answers",
        columns=("part", "variance", "share", "standard deviation", "degrees of freedom"),
        rows=tuple((p.name, p.variance, p.share, max(0.0, p.variance) ** 0.5, p.degrees_of_freedom) for p in parts),
        names=1,
        decimals=4,
        caption="random effects, estimated by the method of moments, which may be negative near 0; "
        f"{variance.RESIDUAL}: all higher interactions, and noise",
    )


def cell_record(cell: Cell) -> dict[str, object]:
    """Returns the values, the run and the metrics of a cell, by column."""
    metrics: dict[str, object] = {}
    for name, metric in cell.result.metrics.items():
        metrics |= {name: metric["value"], f"{name} low": metric["low"], f"{name} high": metric["high"]}
    return {**cell.values, "run": str(cell.run.path), **metrics}


def item_records(cell: Cell) -> list[dict[str, object]]:
    """Returns the values of a cell with the prediction for each item, by column."""
    run, result = cell.run, cell.result
    return [
        {**cell.values, "id": row_id, "gold": gold, "prediction": prediction, "correct": bool(correct)}
        for row_id, gold, prediction, correct in zip(run.ids, run.gold, result.predictions, result.correct, strict=True)
    ]
