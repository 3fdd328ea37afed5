"""Paired comparison of predictors, or of finished runs, over the same rows.

The difference of two accuracies has a bootstrap interval over rows. The p-value is from McNemar's exact test (McNemar 1947): if
both predictors are equally good, a row that only one of them answers correctly is equally likely to be either's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from promptkit.analysis.branches import Branch, locate, read_branch
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, RunError
from promptkit.display.text_table import as_text, new_table, with_interval
from promptkit.evaluation.evaluate import OUT, evaluate
from promptkit.evaluation.execution import Progress
from promptkit.metrics.intervals import Estimate, mcnemar, paired_difference, wilson
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
        table.add_column(Text(f"difference to {self.branches[0].name}, 95%"), justify="right")
        table.add_column("McNemar p", justify="right", no_wrap=True)
        for branch in self.branches:
            accuracy = with_interval(asdict(branch.accuracy))
            if branch.difference is None or branch.p is None:
                table.add_row(Text(branch.name), accuracy)
            else:
                low, high = branch.difference.low, branch.difference.high
                difference = f"{branch.difference.value:+.3f} {low:+.2f} to {high:+.2f}"
                table.add_row(Text(branch.name), accuracy, difference, f"{branch.p:.2g}")
        return as_text(table)

    __repr__ = __str__


@check_arguments("compare")
def compare(
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
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
        out: The folder for run folders.
        cache: Whether to take answers from the score cache and to add new ones.
        progress: Called with the number of finished requests and the number of all requests of a run.
        predictors: Name -> predictor, as in `compare(task, plain=..., calibrated=...)`.

    Returns:
        The comparison: accuracies with 95% intervals, paired differences to the first predictor, and McNemar's p.
    """
    if not predictors:
        raise InputError(
            "There are no predictors to compare",
            code="no-predictors",
            hint="Give predictors by name: compare(task, plain=..., calibrated=...)",
            predictors=(),
        )
    branches: dict[str, Branch] = {}
    runs: list[Run] = []
    for names in _shared_passes(predictors):
        group = [predictors[name] for name in names]
        run = evaluate(group, task, split=split, limit=limit, out=out, cache=cache, progress=progress)
        branches |= {name: read_branch(run.path, predictors[name].name, name=name) for name in names}
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
        spellings: Run folders, or RUN:BRANCH for a branch of a run (`runs/sst2-1a2b3c4d:batch`); the first branch if only
            a folder is given.

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
    return _compare_branches([read_branch(*locate(spelling), name=spelling) for spelling in spellings])


def _compare_branches(branches: Sequence[Branch], runs: tuple[Run, ...] = ()) -> Comparison:
    first = branches[0]
    shared = _shared_rows(branches)
    return Comparison(
        task=first.task,
        split=first.split,
        n=len(shared),
        left_out=len(set().union(*(branch.rows for branch in branches))) - len(shared),
        branches=tuple(_against(first, branch, shared) for branch in branches),
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


def _against(first: Branch, other: Branch, rows: Sequence[str]) -> Compared:
    before, after = (np.array([branch.rows[row].correct for row in rows], float) for branch in (first, other))
    accuracy = wilson(int(after.sum()), len(rows))
    if other is first:
        return Compared(name=other.name, accuracy=accuracy, difference=None, p=None, flips=())
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
    )
