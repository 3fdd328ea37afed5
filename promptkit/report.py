"""The paired comparison of predictors over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptkit.errors import PromptkitError
from promptkit.evaluation import OUT, Progress, evaluate
from promptkit.metrics import Estimate, paired_difference
from promptkit.predictor import Predictor
from promptkit.run import Result, Run, as_text, new_table, with_interval
from promptkit.tasks import Task


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
        from rich.text import Text

        table = new_table(f"{self.runs[0].task} · {self.runs[0].split} · {len(self.runs[0].ids)} rows")
        table.add_column("predictor")
        table.add_column("accuracy, 95%", justify="right")
        table.add_column(Text(f"difference to {self.names[0]}, 95%"), justify="right")
        for name, result, difference in zip(self.names, self.results, self.differences, strict=True):
            told = "" if difference is None else f"{difference.value:+.3f} {difference.low:+.2f} to {difference.high:+.2f}"
            table.add_row(Text(name), with_interval(result.metrics["accuracy"]), told)
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


def _differences(results: Sequence[Result]) -> tuple[Estimate | None, ...]:
    first = results[0]
    return (None, *(paired_difference(result.correct, first.correct) for result in results[1:]))
