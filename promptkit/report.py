"""Tables from runs, and the paired comparison of predictors."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.errors import PromptkitError
from promptkit.evaluation import OUT, Progress, Result, Run, evaluate
from promptkit.metrics import Estimate, paired_difference
from promptkit.predictor import Predictor
from promptkit.tasks import Task

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100
FEW_LABELS = 6
_CAPTION = "below each figure its 95% interval (accuracy: Wilson; others: bootstrap)"
_TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "ece": "ECE", "brier": "Brier"}


def run_table(run: Run) -> Table:
    """One line a branch: each figure with its 95% interval, and how often each label was predicted."""
    table = _table(f"{run.task} · {run.split} · {len(run.ids)} rows · {run.model}", caption=_CAPTION)
    few = len(run.labels) <= FEW_LABELS
    table.add_column("alignment", no_wrap=True)
    for title in _TITLES.values():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("predicted/gold" if few else "predicted", no_wrap=True)
    gold = [int((run.gold == index).sum()) for index in range(len(run.labels))]
    for result in run.results:
        figures = [_interval(result.metrics[name], "\n") for name in _TITLES]
        counts = list(result.predicted.values())
        shares = [f"{said}/{held} {label}" for label, said, held in zip(run.labels, counts, gold, strict=True)]
        used = f"{sum(map(bool, counts))} of {len(counts)} labels"
        table.add_row(result.align, *figures, "\n".join(shares) if few else used)
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Predictors over the same rows."""

    names: tuple[str, ...]
    results: tuple[Result, ...]
    differences: tuple[Estimate | None, ...]
    """Of each predictor's accuracy to the first's, paired by row; None for the first."""
    runs: tuple[Run, ...]

    def __str__(self) -> str:
        """The table."""
        table = _table(f"{self.runs[0].task} · {self.runs[0].split} · {len(self.runs[0].ids)} rows")
        table.add_column("predictor")
        table.add_column("accuracy, 95%", justify="right")
        table.add_column(f"difference to {self.names[0]}, 95%", justify="right")
        for name, result, difference in zip(self.names, self.results, self.differences, strict=True):
            told = "" if difference is None else f"{difference.value:+.3f} {difference.low:+.2f} to {difference.high:+.2f}"
            table.add_row(name, _interval(result.metrics["accuracy"]), told)
        return as_text(table)


def compare(
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
    out: str | Path = OUT,
    progress: Progress | None = None,
    **predictors: Predictor,
) -> Comparison:
    """Evaluate named predictors on the same rows; those that differ in calibration alone share one pass.

    Prints as a table of accuracy with 95% intervals and the paired difference to the first predictor.
    """
    if not predictors:
        raise PromptkitError(
            "There is nothing to compare", hint="Give predictors by name: compare(task, plain=..., calibrated=...)"
        )
    passes: list[list[str]] = []
    for name, predictor in predictors.items():
        for names in passes:
            if predictor.shares_pass_with(predictors[names[0]]):
                names.append(name)
                break
        else:
            passes.append([name])
    results: dict[str, Result] = {}
    runs: list[Run] = []
    for names in passes:
        run = evaluate([predictors[name] for name in names], task, split=split, limit=limit, out=out, progress=progress)
        results |= dict(zip(names, run.results, strict=True))
        runs.append(run)
    ordered = [results[name] for name in predictors]
    return Comparison(names=tuple(predictors), results=tuple(ordered), differences=_differences(ordered), runs=tuple(runs))


def as_text(table: Table) -> str:
    """A table as plain text, for print and for notebooks."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.rstrip("\n")


def _table(title: str, caption: str | None = None) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        title=title,
        caption=caption,
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )


def _differences(results: Sequence[Result]) -> tuple[Estimate | None, ...]:
    first = results[0]
    return (None, *(paired_difference(result.correct, first.correct) for result in results[1:]))


def _interval(metric: Mapping[str, float], gap: str = " ") -> str:
    return f"{metric['value']:.3f}{gap}{metric['low']:.2f}–{metric['high']:.2f}"
