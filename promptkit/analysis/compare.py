"""Paired comparison of predictors, or of finished runs, over the same rows.

The difference of a metric between two predictors has a bootstrap interval over rows. The p-value is from McNemar's exact test
(McNemar 1947): if both predictors are equally good, a row that only one of them answers correctly is equally likely to be
either's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from promptkit.analysis.branches import Branch, locate, read_baseline, read_branch, read_metric_input
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, RunError
from promptkit.core.metric_input import MetricInput
from promptkit.core.paths import OUT
from promptkit.display.text_table import as_text, new_table, signed, with_interval
from promptkit.evaluation.evaluate import evaluate
from promptkit.evaluation.execution import Progress
from promptkit.metrics.intervals import Estimate, mcnemar, paired_difference, wilson
from promptkit.metrics.table import METRICS, applicable, difference, estimate
from promptkit.predictor.predictor import Predictor
from promptkit.runs.run import Run
from promptkit.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A row that two branches predict differently."""

    id: str
    gold: str
    first: str | None
    """Prediction of the first branch; None if it found no answer."""
    other: str | None
    """Prediction of the other branch; None if it found no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMetric:
    """A metric of a branch, over the rows that all branches have."""

    value: Estimate
    difference: Estimate | None
    """Its value minus the value of the first branch, paired by row; None for the first branch, or if it lacks the metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One branch compared with the first branch, over the rows that all branches have."""

    name: str
    accuracy: Estimate
    difference: Estimate | None
    """Its accuracy minus the accuracy of the first branch, paired by row; None for the first branch."""
    p: float | None
    """p of McNemar's exact two-sided test; None for the first branch."""
    flips: tuple[Flip, ...]
    """The rows that the branch and the first branch predict differently."""
    metrics: Mapping[str, ComparedMetric]
    """All metrics of the branch, by name."""
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

    def __str__(self) -> str:
        from rich.text import Text

        table = new_table(f"{self.task} · {self.split} · {self.n} rows")
        table.add_column("predictor", overflow="fold")
        table.add_column("accuracy, 95%", justify="right", no_wrap=True)
        table.add_column(Text(f"difference from {self.branches[0].name}, 95%"), justify="right")
        table.add_column("McNemar p", justify="right", no_wrap=True)
        for branch in self.branches:
            accuracy = with_interval(asdict(branch.accuracy))
            if branch.difference is None or branch.p is None:
                table.add_row(Text(branch.title), accuracy)
            else:
                table.add_row(Text(branch.title), accuracy, signed(branch.difference), f"{branch.p:.2g}")
        return "\n".join([as_text(table), *self._metrics_tables()])

    def _metrics_tables(self) -> list[str]:
        """The table of the metrics besides the main one, which is the accuracy; no table if there are none."""
        from rich.text import Text

        _, *others = (metric for name, metric in METRICS.items() if name in self.branches[0].metrics)
        if not others:
            return []
        table = new_table("other metrics")
        table.add_column("metric")
        table.add_column("predictor", overflow="fold")
        table.add_column("value, 95%", justify="right", no_wrap=True)
        table.add_column(Text(f"difference from {self.branches[0].name}, 95%"), justify="right")
        for metric in others:
            title = f"{metric.title} ({'higher' if metric.higher_is_better else 'lower'} is better)"
            for branch in self.branches:
                if compared := branch.metrics.get(metric.name):
                    value, change = with_interval(asdict(compared.value)), compared.difference
                    table.add_row(Text(title), Text(branch.name), value, "" if change is None else signed(change))
                    title = ""
        return ["", as_text(table)]

    __repr__ = __str__


@check_arguments("compare")
def compare(
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | None = None,
    **predictors: Predictor,
) -> Comparison:
    """Evaluates named predictors on the same rows and compares them with the first one.

    Predictors that differ only in calibration share one pass of the model.

    Args:
        task: The task.
        split: The split to evaluate; the task's default if None.
        limit: Evaluate only the `limit` rows with the smallest hash of id.
        allow_seen: Whether to evaluate rows that the predictors were fitted on; the figures are then marked.
        folds: The number of folds, as for `evaluate`.
        out: The folder for run folders.
        cache: Whether to take answers from the score cache and to add new ones.
        progress: Called with the number of finished requests and the number of all requests of a run.
        predictors: Name -> predictor, as in `compare(task, plain=..., calibrated=...)`.

    Returns:
        The comparison: metrics with 95% intervals, paired differences from the first predictor, and McNemar's p.
    """
    if not predictors:
        raise InputError(
            "There are no predictors to compare",
            code="no-predictors",
            hint="Give predictors by name: compare(task, plain=..., calibrated=...)",
            predictors=(),
        )
    branches: dict[str, tuple[Branch, MetricInput]] = {}
    runs: list[Run] = []
    for names in _shared_passes(predictors):
        group = [predictors[name] for name in names]
        run = evaluate(
            group, task, split=split, limit=limit, folds=folds, allow_seen=allow_seen, out=out, cache=cache, progress=progress
        )
        metric_inputs = {result.align: result.metric_input for result in run.results}
        for name in names:
            branch = read_branch(run.path, predictors[name].name, name=name)
            branches[name] = branch, metric_inputs[branch.align]
        runs.append(run)
    return _compare_branches([branches[name] for name in predictors], tuple(runs))


def _shared_passes(predictors: Mapping[str, Predictor]) -> list[list[str]]:
    """The names of predictors that one run can evaluate together, for each run."""
    passes: list[list[str]] = []
    for name, predictor in predictors.items():
        for names in passes:
            repeated = any(predictor.name == predictors[other].name for other in names)
            if predictor.shares_pass_with(predictors[names[0]]) and not repeated:
                names.append(name)
                break
        else:
            passes.append([name])
    return passes


def compare_runs(spellings: Sequence[str]) -> Comparison:
    """Compares finished runs with the first one. Rows are paired by id.

    Args:
        spellings: Run folders, or RUN:BRANCH for a branch of a run (`runs/sst2-1a2b3c4d:batch`) or a baseline without a model
            (`runs/sst2-1a2b3c4d:tfidf`); the first branch if only a folder is given.

    Raises:
        InputError: If there are fewer than two runs, or a run has no such branch.
        RunError: If a run is not finished, or the runs are of different tasks or have no row in common.
    """
    if len(spellings) < 2:
        raise InputError(
            "A comparison needs at least two runs",
            code="too-few-runs",
            got=", ".join(spellings) or "none",
            hint="Write promptkit compare RUN OTHER, or RUN RUN:BRANCH",
            runs=tuple(spellings),
        )
    return _compare_branches([_read_compared(spelling) for spelling in spellings])


def _read_compared(spelling: str) -> tuple[Branch, MetricInput]:
    """Reads a branch of a run, or a baseline that was evaluated on its rows."""
    path, branch = locate(spelling)
    baseline = read_baseline(path, branch, name=spelling)
    if baseline is not None:
        return baseline
    found = read_branch(path, branch, name=spelling)
    return found, read_metric_input(path, found.align)


def _compare_branches(compared: Sequence[tuple[Branch, MetricInput]], runs: tuple[Run, ...] = ()) -> Comparison:
    branches = [branch for branch, _ in compared]
    first, shared = branches[0], _shared_rows(branches)
    metric_inputs = [_rows_of(branch, metric_input, shared) for branch, metric_input in compared]
    return Comparison(
        task=first.task,
        split=first.split,
        n=len(shared),
        left_out=len(set().union(*(branch.rows for branch in branches))) - len(shared),
        branches=tuple(
            _against(first, branch, shared, _compared_metrics(metric_inputs[0], metric_input, is_first=branch is first))
            for branch, metric_input in zip(branches, metric_inputs, strict=True)
        ),
        runs=runs,
    )


def _shared_rows(branches: Sequence[Branch]) -> list[str]:
    """The ids of the rows that all branches have, after a check that these are rows of the same data."""
    first = branches[0]
    for other in branches[1:]:
        if other.task != first.task:
            raise RunError(
                "Runs of different tasks cannot be compared",
                code="different-tasks",
                got=f"{first.task} and {other.task}",
                tasks=(first.task, other.task),
            )
    shared = [row for row in first.rows if all(row in branch.rows for branch in branches)]
    if not shared:
        raise RunError(
            "The runs have no rows in common",
            code="no-common-rows",
            got=", ".join(branch.name for branch in branches),
            hint="Compare runs of the same split",
            runs=tuple(branch.name for branch in branches),
        )
    for other in branches[1:]:
        changed = next((row for row in shared if other.rows[row].gold != first.rows[row].gold), None)
        if changed is not None:
            raise RunError(
                f"The row {changed} has different labels in {first.name} and {other.name}",
                code="label-changed",
                hint="The data changed between the runs: run both again",
                row=changed,
                runs=(first.name, other.name),
            )
    return shared


def _rows_of(branch: Branch, metric_input: MetricInput, rows: Sequence[str]) -> MetricInput:
    """The part of a branch's metric input for some rows, in their order."""
    index = {row: number for number, row in enumerate(branch.rows)}
    return metric_input.take([index[row] for row in rows])


def _compared_metrics(first: MetricInput, other: MetricInput, *, is_first: bool) -> dict[str, ComparedMetric]:
    paired = () if is_first else applicable(first)
    return {
        name: ComparedMetric(
            value=estimate(metric, other), difference=difference(metric, other, first) if name in paired else None
        )
        for name, metric in applicable(other).items()
    }


def _against(first: Branch, other: Branch, rows: Sequence[str], metrics: Mapping[str, ComparedMetric]) -> Compared:
    before, after = (np.array([branch.rows[row].correct for row in rows], float) for branch in (first, other))
    accuracy = wilson(int(after.sum()), len(rows))
    if other is first:
        return Compared(
            name=other.name, accuracy=accuracy, difference=None, p=None, flips=(), metrics=metrics, seen_rows=other.seen_rows
        )
    pairs = ((row, first.rows[row], other.rows[row]) for row in rows)
    flips = tuple(
        Flip(id=row, gold=one.gold, first=one.predicted, other=two.predicted)
        for row, one, two in pairs
        if one.predicted != two.predicted
    )
    return Compared(
        name=other.name,
        accuracy=accuracy,
        difference=paired_difference(after, before),
        p=mcnemar(int((after > before).sum()), int((before > after).sum())),
        flips=flips,
        metrics=metrics,
        seen_rows=other.seen_rows,
    )
