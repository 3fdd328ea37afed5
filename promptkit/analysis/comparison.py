"""The result of a paired comparison: branches with their metrics, differences and p-values, as tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import unknown
from promptkit.display.table import Entry, Table
from promptkit.metrics.intervals import Estimate
from promptkit.metrics.paired_tests import TITLES, TestName
from promptkit.runs.run import Run

if TYPE_CHECKING:
    from pandas import DataFrame

DIFFERENCE, P, HOLM = "difference", "p", "p Holm"
"""The columns of differences, their p-values, and these adjusted for several comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A row that two branches predict differently."""

    id: str
    row_id: str | None = None
    """The row's id in the column that the user named; None if none was named."""
    gold: str
    first: str | None
    """Prediction of the first branch; None if it found no answer."""
    other: str | None
    """Prediction of the other branch; None if it found no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMetric:
    """A metric of a branch, over the rows that all branches have."""

    title: str
    higher_is_better: bool
    value: Estimate
    difference: Estimate | None
    """Its value minus the value of the first branch, paired by row; None for the first branch, or if it lacks the metric."""
    p: float | None = None
    """The two-sided p-value of the difference; None without one."""
    p_holm: float | None = None
    """The p-value adjusted for the number of comparisons, by the method of Holm."""
    test: TestName | None = None
    """The test of the p-value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One branch compared with the first branch, over the rows that all branches have."""

    name: str
    accuracy: Estimate
    metrics: Mapping[str, ComparedMetric]
    """All metrics of the branch, by name."""
    difference: Estimate | None = None
    """Its accuracy minus the accuracy of the first branch, paired by row; None for the first branch."""
    p: float | None = None
    """p of McNemar's exact two-sided test; None for the first branch."""
    p_holm: float | None = None
    """p adjusted for the number of comparisons, by the method of Holm."""
    flips: tuple[Flip, ...] = ()
    """The rows that the branch and the first branch predict differently."""
    seen_rows: int = 0
    """Number of the rows of its run that its predictor was fitted on, so that its figures are no estimate for new rows."""

    @property
    def title(self) -> str:
        """Its name in tables, with a mark if its predictor was fitted on evaluated rows."""
        return f"{self.name}\n({self.seen_rows} evaluated rows used for fitting)" if self.seen_rows else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Branches compared over the same rows. `print(comparison)` shows a table."""

    task: str
    split: str
    n: int
    """Number of rows that all branches have."""
    left_out: int
    """Number of rows that only some branches have."""
    branches: tuple[Compared, ...]
    """The first one is the one that the others are compared with."""
    runs: tuple[Run, ...] = ()
    """The runs that `compare` evaluated."""

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit compare --json` prints."""
        return {
            "task": self.task,
            "split": self.split,
            "n": self.n,
            "left_out": self.left_out,
            "branches": [asdict(branch) for branch in self.branches],
        }

    @property
    def main_metric(self) -> str:
        """The metric that the table shows: accuracy, or exact_match for generated texts."""
        return next(iter(self.branches[0].metrics))

    @check_arguments("Comparison.table")
    def table(self, metric: str | None = None) -> Table:
        """Returns a metric of each branch, its difference from the first branch, and p-values.

        Args:
            metric: The metric; by default the main one.

        Raises:
            InputError: If the first branch has no such metric.
        """
        name = self.main_metric if metric is None else metric
        if name not in self.branches[0].metrics:
            raise unknown("metric of the comparison", name, self.branches[0].metrics)
        rows = [(branch.title, *self._figures(branch.metrics[name])) for branch in self.branches if name in branch.metrics]
        direction = "" if self.branches[0].metrics[name].higher_is_better else "; lower is better"
        return Table(
            title=f"{self.task} · {self.split} · {self.n} rows",
            columns=("predictor", self.branches[0].metrics[name].title, *self._columns),
            rows=tuple(rows),
            names=1,
            caption=f"{self._caption}{direction}; p: {self._tests(name)}",
            signed=(DIFFERENCE,),
            p_values=(P, HOLM),
        )

    def metrics_table(self) -> Table | None:
        """Returns a table of the metrics besides the main one; None if there are none."""
        others = {name: each for name, each in self.branches[0].metrics.items() if name != self.main_metric}
        rows: list[tuple[Entry, ...]] = []
        for name, each in others.items():
            title = f"{each.title} ({'higher' if each.higher_is_better else 'lower'} is better)"
            for branch in self.branches:
                if name in branch.metrics:
                    rows.append((title, branch.name, *self._figures(branch.metrics[name])))
                    title = ""
        return (
            Table(
                title="other metrics",
                columns=("metric", "predictor", "value", *self._columns),
                rows=tuple(rows),
                names=2,
                caption="p: " + "; ".join(f"{each.title}: {self._tests(name)}" for name, each in others.items()),
                signed=(DIFFERENCE,),
                p_values=(P, HOLM),
            )
            if others
            else None
        )

    @property
    def _several(self) -> bool:
        """Whether p-values are adjusted, because there are several comparisons."""
        return len(self.branches) > 2

    @property
    def _columns(self) -> tuple[str, ...]:
        return (DIFFERENCE, P, HOLM) if self._several else (DIFFERENCE, P)

    def _figures(self, compared: ComparedMetric) -> tuple[Entry, ...]:
        figures = compared.value, compared.difference, compared.p
        return (*figures, compared.p_holm) if self._several else figures

    @property
    def _caption(self) -> str:
        adjusted = f"; {HOLM}: adjusted for {len(self.branches) - 1} comparisons" if self._several else ""
        reference = self.branches[0].name
        return f"{DIFFERENCE}: from {reference}, paired by row; below figures their 95% intervals{adjusted}"

    def _tests(self, name: str) -> str:
        """The tests of a metric, as captions name them."""
        compared = (branch.metrics[name] for branch in self.branches if name in branch.metrics)
        return " or ".join(dict.fromkeys(TITLES[each.test] for each in compared if each.test is not None)) or "none"

    def to_pandas(self) -> DataFrame:
        """Returns the table of the main metric as a pandas DataFrame."""
        return self.table().to_pandas()

    def to_csv(self) -> str:
        """Returns the table of the main metric as comma-separated values."""
        return self.table().to_csv()

    def to_markdown(self) -> str:
        """Returns the table of the main metric in Markdown."""
        return self.table().to_markdown()

    def to_latex(self) -> str:
        """Returns the table of the main metric as a LaTeX tabular."""
        return self.table().to_latex()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __str__(self) -> str:
        others = self.metrics_table()
        return str(self.table()) if others is None else f"{self.table()}\n\n{others}"

    __repr__ = __str__
