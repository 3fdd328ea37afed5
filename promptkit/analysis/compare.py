"""The paired comparison of predictors, or of runs that were made before, over the same rows.

The difference of accuracies has its bootstrap interval over rows; p is McNemar's exact test (1947): of the rows that just
one of the two has right, each is as likely to be the one's as the other's if both are equally good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from promptkit.core.errors import InputError, RunError, unknown
from promptkit.display.text_table import as_text, new_table, with_interval
from promptkit.evaluation.evaluate import OUT, Progress, evaluate
from promptkit.metrics.intervals import Estimate, mcnemar, paired_difference, wilson
from promptkit.predictor.predictor import Predictor
from promptkit.runs.folder import damaged, read_finished
from promptkit.runs.run import Run
from promptkit.tasks.task import Task


class Predicted(NamedTuple):
    """One row of a branch."""

    gold: str
    said: str | None
    """None where a text held no answer."""
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What one branch of a finished run predicted."""

    name: str
    task: str
    split: str
    rows: Mapping[str, Predicted]
    """Row id -> what was predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A row that two branches predict differently."""

    id: str
    gold: str
    first: str | None
    other: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One branch against the first, over the rows that all branches hold."""

    name: str
    accuracy: Estimate
    difference: Estimate | None
    """Its accuracy less the first's, paired by row; None for the first itself."""
    p: float | None
    """McNemar's exact test, two-sided; None for the first itself."""
    flips: tuple[Flip, ...]
    """The rows that it predicts otherwise than the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Branches over the same rows."""

    task: str
    split: str
    n: int
    """How many rows all of them hold."""
    left_out: int
    """How many rows some of them hold and others do not."""
    branches: tuple[Compared, ...]
    runs: tuple[Run, ...] = ()
    """The runs that `compare` made."""

    def to_json(self) -> dict[str, object]:
        """What `promptkit compare --json` prints."""
        return {
            "task": self.task,
            "split": self.split,
            "n": self.n,
            "left_out": self.left_out,
            "branches": [
                {
                    "name": each.name,
                    "accuracy": asdict(each.accuracy),
                    "difference": None if each.difference is None else asdict(each.difference),
                    "p": each.p,
                    "flips": [asdict(flip) for flip in each.flips],
                }
                for each in self.branches
            ],
        }

    def __str__(self) -> str:
        """The table."""
        from rich.text import Text

        table = new_table(f"{self.task} · {self.split} · {self.n} rows")
        table.add_column("predictor", overflow="fold")
        table.add_column("accuracy, 95%", justify="right", no_wrap=True)
        table.add_column(Text(f"difference to {self.branches[0].name}, 95%"), justify="right")
        table.add_column("McNemar p", justify="right", no_wrap=True)
        for each in self.branches:
            accuracy = with_interval(asdict(each.accuracy))
            if each.difference is None or each.p is None:
                table.add_row(Text(each.name), accuracy)
            else:
                low, high = each.difference.low, each.difference.high
                difference = f"{each.difference.value:+.3f} {low:+.2f} to {high:+.2f}"
                table.add_row(Text(each.name), accuracy, difference, f"{each.p:.2g}")
        return as_text(table)

    __repr__ = __str__


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
    """Evaluate named predictors on the same rows; those that differ in calibration alone share one pass.

    Prints as a table of accuracy with 95% intervals, the paired difference to the first predictor and McNemar's p.
    """
    if not predictors:
        raise InputError(
            "There are no predictors to compare",
            code="no-predictors",
            hint="Give predictors by name: compare(task, plain=..., calibrated=...)",
        )
    passes: list[list[str]] = []
    for name, predictor in predictors.items():
        for names in passes:
            alike = predictor.shares_pass_with(predictors[names[0]])
            if alike and predictor.name not in {predictors[other].name for other in names}:
                names.append(name)
                break
        else:
            passes.append([name])
    branches: dict[str, Branch] = {}
    runs: list[Run] = []
    for names in passes:
        together = [predictors[name] for name in names]
        run = evaluate(together, task, split=split, limit=limit, out=out, cache=cache, progress=progress)
        branches |= {name: _branch(run.path, predictors[name].name, name) for name in names}
        runs.append(run)
    return _compared([branches[name] for name in predictors], tuple(runs))


def compare_runs(spellings: Sequence[str]) -> Comparison:
    """Finished runs side by side: each a run's folder, or RUN:BRANCH for one of its branches (`runs/sst2-1a2b3c4d:batch`).

    Rows are paired by id. Raises for a run that is not finished, for runs of different tasks, and for runs that have no
    row in common.
    """
    if len(spellings) < 2:
        hint = "Write promptkit compare RUN OTHER, or RUN RUN:BRANCH"
        raise InputError(
            "A comparison needs at least two runs",
            code="too-few-runs",
            got=", ".join(spellings) or "none",
            hint=hint,
            runs=tuple(spellings),
        )
    return _compared([read_branch(spelling) for spelling in spellings])


def read_branch(spelling: str) -> Branch:
    """A branch of a finished run by its spelling; a run's folder alone means its first branch."""
    return _branch(*located(spelling), spelling)


def located(spelling: str) -> tuple[Path, str | None]:
    """The folder and the branch, if one is named, that RUN or RUN:BRANCH means."""
    path = Path(spelling)
    if path.is_dir():
        return path, None
    for place in (index for index, character in enumerate(spelling) if character == ":"):
        path = Path(spelling[:place])
        if path.is_dir():
            return path, spelling[place + 1 :]
    raise RunError(
        f"There is no run folder {spelling}",
        code="no-such-folder",
        hint="Use a folder that promptkit eval printed, or RUN:BRANCH",
        folder=spelling,
    )


def _branch(path: Path, branch: str | None, name: str) -> Branch:
    summary, lines = read_finished(path)
    try:
        known = [str(result["align"]) for result in summary["results"]]
        chosen = known[0] if branch is None else branch
        if chosen not in known:
            raise unknown(f"branch of the run {path}", chosen, known)
        rows = {line["id"]: Predicted(line["gold"], line["predictions"][chosen], line["correct"][chosen]) for line in lines}
        return Branch(name=name, task=summary["task"], split=summary["split"], rows=rows)
    except (TypeError, LookupError, AttributeError):
        raise damaged(path / "summary.json", "it is not the summary of a run") from None


def _compared(branches: Sequence[Branch], runs: tuple[Run, ...] = ()) -> Comparison:
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
    every = set().union(*(branch.rows for branch in branches))
    return Comparison(
        task=first.task,
        split=first.split,
        n=len(shared),
        left_out=len(every) - len(shared),
        branches=tuple(_against(first, branch, shared) for branch in branches),
        runs=runs,
    )


def _against(first: Branch, other: Branch, rows: Sequence[str]) -> Compared:
    before, after = (np.array([branch.rows[row].right for row in rows], float) for branch in (first, other))
    accuracy = wilson(int(after.sum()), len(rows))
    if other is first:
        return Compared(name=other.name, accuracy=accuracy, difference=None, p=None, flips=())
    pairs = ((row, first.rows[row], other.rows[row]) for row in rows)
    flips = tuple(
        Flip(id=row, gold=one.gold, first=one.said, other=two.said) for row, one, two in pairs if one.said != two.said
    )
    return Compared(
        name=other.name,
        accuracy=accuracy,
        difference=paired_difference(after, before),
        p=mcnemar(int((after > before).sum()), int((before > after).sum())),
        flips=flips,
    )
