"""A study as its user holds it: what can be asked of the evaluated cells of a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from promptkit.core.errors import PromptkitError, RunError
from promptkit.core.model import Model
from promptkit.display import plots
from promptkit.display.table import Table, to_dataframe
from promptkit.manipulate.demos import Selector
from promptkit.studies import baselines as without
from promptkit.studies import figures as pictures
from promptkit.studies import measures, tables
from promptkit.studies.baselines import Baselines
from promptkit.studies.cells import SEED, Evaluated, Names
from promptkit.studies.grid import listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Study(Evaluated):
    """What `pk.study` gives. Prints as a table, and shows itself in a notebook as a table and a plot.

    A method averages over the dimensions that it does not name, and its caption says so; `where` takes a part of the study.
    A metric is accuracy, or exact match, unless one is named. How intervals are come by: `promptkit.studies.measures`.
    """

    def table(
        self,
        rows: Names | None = None,
        columns: str | None = None,
        metric: str | None = None,
        baselines: Baselines | None = None,
    ) -> Table:
        """The mean of a metric for the values of `rows` and of `columns`, with its 95% interval.

        Unless either is given, the dimension that counts demonstrations goes across, and the others but seeds go down.
        """
        return tables.means(self, rows, columns, metric, baselines)

    def plot(
        self, x: str | None = None, color: str | None = None, metric: str | None = None, baselines: Baselines | None = None
    ) -> Figure:
        """The mean of a metric along `x`, a line for each value of `color`, with 95% intervals."""
        return pictures.plot(self, x, color, metric, baselines)

    def heatmap(self, rows: str = "template", columns: str = "order", metric: str | None = None) -> Figure:
        """The mean of a metric for each value of `rows` and of `columns`, in colors and in figures."""
        return pictures.heatmap(self, rows, columns, metric)

    def spread(self, over: str = SEED, by: Names | None = None, metric: str | None = None) -> Figure:
        """Every value of `over` a dot, in a row for each combination of `by`: of all other dimensions unless given."""
        return pictures.spread(self, over, by, metric)

    def variance(self) -> Table:
        """How the variance of right and wrong answers splits over the items and the dimensions that have several values.

        The estimator: `promptkit.studies.variance`. Raises unless every combination of them was evaluated. A seed means
        other demonstrations to every selector and k: narrow the study to one of each with `where` first.
        """
        return tables.split(self)

    def best(self, over: Names = SEED) -> Table:
        """The mean, worst and best accuracy over the values of `over`, and the optimism of reporting the best.

        A line for each combination of the other dimensions, seeds averaged. The estimator: `promptkit.studies.selection`.
        """
        return tables.best(self, over)

    def compare(self, on: str, to: object, by: Names = (), metric: str | None = None) -> Table:
        """The difference of every other value of `on` to the value `to`, paired by item, with its 95% interval.

        A line for each of them, and for each combination of the dimensions `by`.
        """
        return tables.compare(self, on, to, by, metric)

    def baselines(self, *selectors: Selector, model: Model | None = None) -> Baselines:
        """What no language model would get on the same items, and the mean accuracy of these cells less it.

        See `pk.controls`; `where` says which cells it is set against.
        """
        found = without.baselines(self.task, *selectors, model=model, split=self.split, limit=self.limit)
        if len(found.baselines[0].correct) != self.n:
            raise RunError(
                f"The data of the task {self.task.name} have changed since the study was made",
                code="data-changed",
                got=f"{len(found.baselines[0].correct)} rows instead of {self.n}",
                hint="Run the study again",
                task=self.task.name,
                rows=len(found.baselines[0].correct),
                expected=self.n,
            )
        fixed = {name: values[0] for name, values in self.dimensions.items() if len(values) == 1}
        return replace(
            found,
            baselines=tuple(replace(each, difference=measures.less(self.cells, each.correct)) for each in found.baselines),
            against="; ".join(filter(None, [listed(fixed) if fixed else "", self.averaged(fixed)])) or "the only cell",
        )

    def to_pandas(self, *, items: bool = False) -> Any:
        """A frame with a line for each cell; with `items`, for each cell and item."""
        if items:
            return to_dataframe([line for cell in self.cells for line in tables.item_lines(cell)])
        return to_dataframe([tables.cell_line(cell) for cell in self.cells])

    def to_json(self) -> dict[str, object]:
        """What `promptkit study --json` prints."""
        return {
            "task": self.task.name,
            "split": self.split,
            "n": self.n,
            "seconds": round(self.seconds, 3),
            "dimensions": {name: list(values) for name, values in self.dimensions.items()},
            "cells": [
                {"values": dict(cell.values), "model": cell.run.model, "run": str(cell.run.path), **cell.result.to_json()}
                for cell in self.cells
            ],
            "failures": [{"values": dict(failure.values), "reason": failure.reason} for failure in self.failures],
        }

    def __str__(self) -> str:
        """Its table, and what is missing in it."""
        return "\n".join(filter(None, [str(self.table()), self.trouble]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from base64 import b64encode

        shown = self.table()._repr_html_() + (f"<p>{escape(self.trouble)}</p>" if self.trouble else "")
        try:
            figure = pictures.by_itself(self)
        except PromptkitError:  # without matplotlib the table is all
            return shown
        if figure is None:
            return shown
        picture = b64encode(plots.png(figure)).decode()
        return f'{shown}<img width="{round(figure.get_figwidth() * 100)}" src="data:image/png;base64,{picture}">'
