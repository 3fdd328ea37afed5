"""A study: the evaluated cells of a grid, with tables, plots and statistics of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Self

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import PromptkitError, RunError
from promptkit.core.model import Model
from promptkit.core.paths import expanded
from promptkit.core.reporting import write_report
from promptkit.display import plots
from promptkit.display.table import Table, to_dataframe
from promptkit.manipulate.demos import Selector
from promptkit.studies import baselines as study_baselines
from promptkit.studies import comparisons, figures, measures, tables
from promptkit.studies.baselines import Baselines
from promptkit.studies.cells import SEED, TASK, EvaluatedGrid, Names, StudiedTask
from promptkit.studies.comparisons import BEST
from promptkit.studies.folder import read_study, write_study
from promptkit.studies.grid import format_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Study(EvaluatedGrid):
    """The result of `pk.study`. Prints as a table, and displays in a notebook as a table and a plot.

    Methods average over the dimensions that they do not name, and the caption lists these; `where` selects a part of the study.
    Rows of different tasks are never pooled: the mean over tasks is a macro average, the mean of the figures of each task.
    The default metric is the main one of the runs, such as accuracy, or exact match for tasks without labels.
    `promptkit.studies.measures` describes the intervals and p-values.
    """

    @check_arguments("Study.table")
    def table(
        self,
        rows: Names | None = None,
        columns: str | None = None,
        metric: str | None = None,
        baselines: Baselines | None = None,
    ) -> Table:
        """Returns the mean of a metric with its 95% interval, for each value of `rows` and `columns`.

        Args:
            rows: One or several dimensions; by default all that vary except seeds and `columns`.
            columns: One dimension; if `rows` is also omitted, the tasks, with their macro average, or the dimension that counts
                demonstrations.
            metric: The metric.
            baselines: Baselines to append as rows.

        Raises:
            InputError: If a dimension or the metric is not part of the study.
        """
        return tables.means(self, rows, columns, metric, baselines)

    @check_arguments("Study.plot")
    def plot(
        self, x: str | None = None, color: str | None = None, metric: str | None = None, baselines: Baselines | None = None
    ) -> Figure:
        """Plots the mean of a metric along a dimension, with 95% intervals.

        Args:
            x: The dimension of the x axis; by default the one that counts demonstrations.
            color: The dimension with a line for each value; by default the first other one that varies, except seeds.
            metric: The metric.
            baselines: Baselines to draw as lines in gray.

        Raises:
            InputError: If no dimension is numeric and `x` is not given, or a name is not part of the study.
        """
        return figures.plot(self, x, color, metric, baselines)

    @check_arguments("Study.heatmap")
    def heatmap(self, rows: str = "template", columns: str = "order", metric: str | None = None) -> Figure:
        """Plots the mean of a metric for each pair of values of two dimensions, as colors and numbers."""
        return figures.heatmap(self, rows, columns, metric)

    @check_arguments("Study.spread")
    def spread(self, over: str = SEED, by: Names | None = None, metric: str | None = None) -> Figure:
        """Plots a dot for each value of a dimension, in a row for each combination of others.

        Args:
            over: The dimension with a dot for each value.
            by: The dimensions with a row for each combination; by default all others that vary.
            metric: The metric.
        """
        return figures.spread(self, over, by, metric)

    def variance(self) -> Table:
        """Decomposes the variance of correctness into components of the items and of each dimension that varies.

        `promptkit.studies.variance` describes the estimator. A seed selects different demonstrations for each selector and k:
        use `where` to keep one of each first.

        Raises:
            InputError: If there are fewer than two items, or some combination of values was not evaluated.
        """
        return tables.variance_components(self)

    @check_arguments("Study.best")
    def best(self, over: Names = SEED, metric: str | None = None) -> Table:
        """Returns the mean, worst and best of a metric over the values of some dimensions, and that of the best on new items.

        The best figure is better than that on new items, because it was chosen by the same items; the difference is its
        optimism. `promptkit.metrics.selection` describes the estimator. Has a row for each combination of the other
        dimensions; seeds are averaged.

        Args:
            over: One or several dimensions.
            metric: The metric.
        """
        return tables.best(self, over, metric)

    @check_arguments("Study.compare")
    def compare(self, on: Names | None = None, to: object = BEST, by: Names = (), metric: str | None = None) -> Table:
        """Returns differences from reference cells, paired by item, with 95% intervals and p-values.

        The p-values are also adjusted for the number of differences in the table, by the method of Holm.
        `promptkit.studies.measures` describes the intervals and tests.

        Args:
            on: One or several dimensions; by default all that vary except seed and task, that is, every cell is compared.
            to: The reference, which is subtracted from the others: a value of `on`, a mapping with a value for each of several
                dimensions, or `best`. The best is chosen on the same rows, which makes its advantage look more certain than
                it is.
            by: Dimensions with a row for each combination of their values, such as `task` for differences within each task.
            metric: The metric.

        Raises:
            InputError: If a name or value is not part of the study, or the reference lacks the value of a dimension.
            RunError: If the values of `on` are tasks, whose rows cannot be paired.
        """
        return comparisons.compare(self, on, to, by, metric)

    @check_arguments("Study.baselines")
    def baselines(self, *selectors: Selector, model: Model | None = None) -> Baselines:
        """Evaluates baselines without a language model on the study's items, and subtracts them from the study's cells.

        The main metric of the runs is compared. Use `where` to select the cells whose mean is compared. Each task has its own
        baselines.

        Args:
            selectors: Selectors of demonstrations; see `promptkit.baselines`.
            model: The model for selectors that query one.

        Raises:
            RunError: If the data of a task have changed since the study.
        """
        fixed = {name: values[0] for name, values in self.dimensions.items() if len(values) == 1}
        averaged = self.averaged_over([*fixed, TASK])
        reference = "; ".join(filter(None, [format_values(fixed) if fixed else "", averaged]))
        of_tasks = [self._baselines_of(studied, selectors, model) for studied in self.tasks if studied.name in self.items]
        return Baselines(
            title=" + ".join(each.title for each in of_tasks),
            baselines=tuple(baseline for each in of_tasks for baseline in each.baselines),
            reference=reference or "the only cell",
        )

    def _baselines_of(self, studied: StudiedTask, selectors: Sequence[Selector], model: Model | None) -> Baselines:
        """Evaluates the baselines of one task."""
        task = studied.task
        cells = [cell for cell in self.cells if cell.task == task.name]
        folds = cells[0].run.folds or 1
        main = cells[0].result.chosen[measures.main_metrics(cells)[task.name]]
        evaluated = study_baselines.baselines(
            task, *selectors, model=model, split=studied.split, limit=self.limit, folds=folds, metrics=main
        )
        items, expected = len(evaluated.baselines[0].correct), self.items[task.name]
        if items != expected:
            raise RunError(
                f"The data of the task {task.name} have changed since the study was made",
                code="data-changed",
                got=f"{items} rows instead of {expected}",
                hint="Run the study again",
                task=task.name,
                rows=items,
                expected=expected,
            )
        compared = (
            replace(baseline, difference=measures.difference_to_baseline(cells, main, baseline.metric_input))
            for baseline in evaluated.baselines
        )
        return replace(evaluated, baselines=tuple(compared))

    @classmethod
    @check_arguments("Study.load")
    def load(cls, folder: str | Path) -> Self:
        """Reads a study from the folder that `study` or `promptkit study` wrote; no model is loaded.

        Args:
            folder: The folder, such as `runs/study-sst2-1a2b3c4d`, beside the folders of its runs.

        Raises:
            RunError: The folder contains no study, or a run of it is missing or was changed.
        """
        return read_study(cls, expanded(folder))

    @check_arguments("Study.report")
    def report(self, path: str | Path, *, text: bool = True) -> Path:
        """Writes an HTML page with the table, the lines, the heat map and the variance of the study.

        Args:
            path: The file to write.
            text: Whether the page contains instructions and templates that are values of a dimension.

        Returns:
            The path of the file.

        Raises:
            MissingPackage: The package that draws charts is not installed.
        """
        return write_report(write_study(self), path, text=text)

    @check_arguments("Study.to_pandas")
    def to_pandas(self, *, items: bool = False) -> DataFrame:
        """Returns a data frame with a row for each cell, or with `items` for each cell and item."""
        if items:
            return to_dataframe([record for cell in self.cells for record in tables.item_records(cell)])
        return to_dataframe([tables.cell_record(cell) for cell in self.cells])

    def to_json(self) -> dict[str, object]:
        """Returns the study as `promptkit study --json` prints it."""
        return {
            "tasks": [{"task": each.name, "split": each.split, "n": self.items.get(each.name, 0)} for each in self.tasks],
            "seconds": round(self.seconds, 3),
            "dimensions": {name: list(values) for name, values in self.dimensions.items()},
            "cells": [
                {
                    "values": dict(cell.values),
                    "task": cell.task,
                    "model": cell.run.model,
                    "run": str(cell.run.path),
                    "too_long": dict(cell.run.too_long),
                    "no_answer": cell.run.no_answer,
                    **cell.result.to_json(),
                }
                for cell in self.cells
            ],
            "failures": [{"values": dict(failure.values), "reason": failure.reason} for failure in self.failures],
        }

    def __str__(self) -> str:
        """Returns the table and a summary of failed cells, as text."""
        return "\n".join(filter(None, [str(self.table()), self.failure_summary]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from base64 import b64encode

        summary = f"<p>{escape(self.failure_summary)}</p>" if self.failure_summary else ""
        html = self.table()._repr_html_() + summary
        try:
            figure = figures.default_figure(self)
        except PromptkitError:  # matplotlib is not installed
            return html
        if figure is None:
            return html
        image = b64encode(plots.png(figure)).decode()
        return f'{html}<img width="{round(figure.get_figwidth() * 100)}" src="data:image/png;base64,{image}">'
