"""Paired comparison of predictors, or of finished runs, over the same rows.

The difference of a metric between two predictors has a bootstrap interval over rows, and a p-value of a paired test, which
`promptkit.metrics.paired_tests` describes: McNemar's exact test for the accuracy. The p-values of each metric are also adjusted
for the number of comparisons, by the method of Holm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, overload

import numpy as np

from promptkit.analysis.branches import Branch, branch_of, locate
from promptkit.analysis.comparison import Compared, ComparedMetric, Comparison, Flip
from promptkit.analysis.run_names import short_names
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, RunError
from promptkit.core.metric_input import MetricInput
from promptkit.core.paths import OUT
from promptkit.display.progress import Progress
from promptkit.evaluation.checks import share_pass
from promptkit.evaluation.evaluate import evaluate
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import mcnemar, mean_share, paired_difference
from promptkit.metrics.paired_tests import holm, paired_test
from promptkit.metrics.requested import MetricLike, RequestedMetric, chosen, parse_metrics
from promptkit.metrics.table import difference, estimate
from promptkit.predictor.predictor import Predictor
from promptkit.runs.run import Run
from promptkit.tasks.task import Task


@overload
def compare(
    first: Task,
    /,
    *,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | Literal[False] | None = None,
    **predictors: Predictor,
) -> Comparison: ...
@overload
def compare(
    first: Run | str | Path, /, *others: Run | str | Path, metrics: Sequence[MetricLike] | MetricLike | None = None
) -> Comparison: ...
@check_arguments("compare")
def compare(
    first: Task | Run | str | Path,
    /,
    *others: Run | str | Path,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | Literal[False] | None = None,
    **predictors: Predictor,
) -> Comparison:
    """Compares predictors on the rows of a task, or finished runs, with the first one.

    `compare(task, plain=..., calibrated=...)` evaluates named predictors on the same rows. `compare(run, other)` compares
    finished runs, whose rows are paired by id; a run is an object, its folder, or `RUN:BRANCH` for one of its branches or
    baselines, such as `runs/sst2-1a2b3c4d:batch`. Without a branch it is the first one.

    Args:
        first: The task, or the first run.
        others: The other runs.
        split: With a task: the split to evaluate; the task's default if None.
        limit: With a task: evaluate only the `limit` rows with the smallest hash of id.
        allow_seen: With a task: whether to evaluate rows that the predictors were fitted on; the figures are then marked.
        folds: With a task: the number of folds, as for `evaluate`; `out`, `cache` and `progress` are also as there.
        metrics: Metrics besides the default ones, as for `evaluate`; the first is the main metric.
        out: The folder for run folders.
        cache: Whether to use the score cache.
        progress: Called with the numbers of finished and of all requests.
        predictors: With a task: name -> predictor.

    Returns:
        The comparison: metrics with 95% intervals, paired differences from the first predictor or run, and p-values.

    Raises:
        InputError: There are no predictors, fewer than two runs, or both, or a run has no such branch.
        RunError: A run is not finished, or the runs are of different tasks or have no row in common.
    """
    if not isinstance(first, Task):
        options = {"split": split, "limit": limit, "folds": folds}
        _check_only_runs((*predictors, *(name for name, value in options.items() if value is not None)))
        return compare_runs([first, *others], metrics)
    _check_predictors(others, predictors)
    evaluated = partial(
        evaluate,
        task=first,
        split=split,
        limit=limit,
        folds=folds,
        allow_seen=allow_seen,
        metrics=metrics,
        baselines=False,
        out=out,
        cache=cache,
        progress=progress,
    )
    return _compare_predictors(predictors, evaluated)


def _compare_predictors(predictors: Mapping[str, Predictor], evaluated: Callable[[Sequence[Predictor]], Run]) -> Comparison:
    """Compares named predictors, given a function that evaluates those that share a pass."""
    branches: dict[str, Branch] = {}
    runs: list[Run] = []
    for names in _shared_passes(predictors):
        run = evaluated([predictors[name] for name in names])
        branches |= {name: branch_of(run, predictors[name].name, name=name) for name in names}
        runs.append(run)
    return _compare_branches([branches[name] for name in predictors], tuple(runs), requested=runs[0].results[0].requested)


def _shared_passes(predictors: Mapping[str, Predictor]) -> list[list[str]]:
    """The names of predictors that one run can evaluate together, for each run."""
    passes: list[list[str]] = []
    for name, predictor in predictors.items():
        for names in passes:
            repeated = any(predictor.name == predictors[other].name for other in names)
            if share_pass(predictor, predictors[names[0]]) and not repeated:
                names.append(name)
                break
        else:
            passes.append([name])
    return passes


def _check_predictors(others: Sequence[Run | str | Path], predictors: Mapping[str, Predictor]) -> None:
    """Raises InputError if there are no predictors to compare on a task, or runs beside them."""
    if others:
        raise _conflicting(tuple(map(_name, others)), "Predictors are compared on a task without other runs")
    if not predictors:
        raise InputError(
            "There are no predictors to compare",
            code="no-predictors",
            hint="Give predictors by name: compare(task, plain=..., calibrated=...)",
            predictors=(),
        )


def _check_only_runs(given: tuple[str, ...]) -> None:
    """Raises InputError if arguments for the comparison of predictors are given."""
    if given:
        raise _conflicting(given, "Finished runs are compared as they are, without predictors and options for an evaluation")


def _conflicting(given: tuple[str, ...], reason: str) -> InputError:
    hint = "Give a task and predictors, compare(task, plain=..., calibrated=...), or runs only, compare(run, other)"
    return InputError(reason, code="conflicting-options", got=", ".join(given), hint=hint, options=given)


def compare_runs(runs: Sequence[Run | str | Path], metrics: Sequence[MetricLike] | MetricLike | None = None) -> Comparison:
    """Compares finished runs with the first one; see `compare`."""
    if len(runs) < 2:
        raise InputError(
            "A comparison needs at least two runs",
            code="too-few-runs",
            got=", ".join(map(_name, runs)) or "none",
            hint="Write promptkit compare RUN OTHER, or RUN RUN:BRANCH",
            runs=tuple(map(_name, runs)),
        )
    located = [(run.path, None) if isinstance(run, Run) else locate(str(run)) for run in runs]
    branches = [
        branch_of(run if isinstance(run, Run) else Run.load(path), branch, name=name)
        for run, (path, branch), name in zip(runs, located, short_names(located), strict=True)
    ]
    return _compare_branches(branches, requested=parse_metrics(metrics) or branches[0].requested)


def _name(run: Run | str | Path) -> str:
    return str(run.path if isinstance(run, Run) else run)


def _compare_branches(
    branches: Sequence[Branch], runs: tuple[Run, ...] = (), *, requested: Sequence[RequestedMetric] = ()
) -> Comparison:
    first, shared = branches[0], _shared_rows(branches)
    metric_inputs = [_rows_of(branch, shared) for branch in branches]
    return Comparison(
        task=first.task,
        split=first.split,
        n=len(shared),
        left_out=len(set().union(*(branch.rows for branch in branches))) - len(shared),
        branches=_adjusted(
            [
                _against(first, branch, shared, _compared_metrics(metric_inputs[0], rows, requested, is_first=branch is first))
                for branch, rows in zip(branches, metric_inputs, strict=True)
            ]
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


def _rows_of(branch: Branch, rows: Sequence[str]) -> MetricInput:
    """The part of a branch's metric input for some rows, in their order."""
    index = {row: number for number, row in enumerate(branch.rows)}
    return branch.metric_input.take([index[row] for row in rows])


def _compared_metrics(
    first: MetricInput, other: MetricInput, requested: Sequence[RequestedMetric], *, is_first: bool
) -> dict[str, ComparedMetric]:
    paired, metrics = () if is_first else chosen(requested, first), chosen(requested, other)
    return {name: _compared_metric(metric, other, first if name in paired else None) for name, metric in metrics.items()}


def _compared_metric(metric: Metric, rows: MetricInput, first: MetricInput | None) -> ComparedMetric:
    """Returns a metric, and its difference from that of the first branch if there is one to compare with."""
    compared = ComparedMetric(
        title=metric.title, higher_is_better=metric.higher_is_better, value=estimate(metric, rows), difference=None
    )
    if first is None:
        return compared
    tested = paired_test(metric, first, rows)
    return replace(compared, difference=difference(metric, rows, first), p=tested.p, test=tested.test)


def _adjusted(branches: Sequence[Compared]) -> tuple[Compared, ...]:
    """Returns the branches with their p-values adjusted for the number of comparisons, each metric by itself."""
    first, *others = branches
    of_correct = _holm([branch.p for branch in others])
    adjusted = [replace(branch, p_holm=p) for branch, p in zip(others, of_correct, strict=True)]
    for name in first.metrics:
        having = [index for index, branch in enumerate(adjusted) if name in branch.metrics]
        p_values = _holm([adjusted[index].metrics[name].p for index in having])
        for index, p in zip(having, p_values, strict=True):
            metrics = adjusted[index].metrics
            adjusted[index] = replace(adjusted[index], metrics={**metrics, name: replace(metrics[name], p_holm=p)})
    return (first, *adjusted)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusts the p-values that there are."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _against(first: Branch, other: Branch, rows: Sequence[str], metrics: Mapping[str, ComparedMetric]) -> Compared:
    before, after = (np.array([branch.rows[row].correct for row in rows], float) for branch in (first, other))
    accuracy = mean_share(after, _rows_of(other, rows).folds)
    if other is first:
        return Compared(name=other.name, accuracy=accuracy, metrics=metrics, seen_rows=other.seen_rows)
    pairs = ((row, first.rows[row], other.rows[row]) for row in rows)
    flips = tuple(
        Flip(id=row, row_id=one.row_id or two.row_id, gold=one.gold, first=one.predicted, other=two.predicted)
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
