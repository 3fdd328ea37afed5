"""The contents of finished runs, which tables show and files store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import unknown
from promptkit.core.metric_input import MetricInput
from promptkit.display.table import Table
from promptkit.metrics.base import Metric
from promptkit.metrics.requested import MetricLike, parse_metrics
from promptkit.runs.baselines import Baselines
from promptkit.runs.by_label import confusion_table, label_table
from promptkit.runs.result import Result, named_label_maps
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.schema import TooLongCounts

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """The contents of a finished run: its rows, results and notes."""

    task: str
    split: str
    model: str
    path: Path
    labels: tuple[str, ...]
    """The labels in the declared order; empty if rows have different answer choices, and for free texts."""
    evaluated: tuple[EvaluatedRow, ...]
    """The evaluated rows, in the run's order."""
    results: tuple[Result, ...]
    """The results of each branch."""
    seconds: float
    """Duration of this call, including loading."""
    examples_per_second: float
    """Newly computed rows per second of model time; 0 if none was computed.

    Model time excludes loading and rendering, and includes the further rows that aligners need."""
    resumed: int
    """Number of rows that an earlier execution had computed."""
    too_long: TooLongCounts
    """Number of rows that lost demonstrations or were skipped because their prompts do not fit the model's context."""
    no_answer: int
    """Number of rows that were sent to the model and have no answer: no label in a reply, or no answer in generated texts."""
    seen_rows: int
    """Number of rows that the predictors were fitted on, so that the metrics are no estimate for new rows."""
    notes: tuple[str, ...]
    """Warnings and remarks about the run."""
    baselines: Baselines | None = None
    """The results of baselines without a pretrained model on the same rows; None if none were evaluated."""
    folds: int = 0
    """Number of folds, each of which is predicted from the rows of the other folds; 0 if no row was used to predict others."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each row."""
        return tuple(row.id for row in self.evaluated)

    @property
    def gold(self) -> tuple[str, ...]:
        """The label or a correct answer of each row."""
        return tuple(row.gold for row in self.evaluated)

    @check_arguments("Run.to_json")
    def to_json(self, *, by_label: bool = False) -> dict[str, object]:
        """Returns what `promptkit eval --json` prints.

        Args:
            by_label: Whether each result also has the figures of each label and the confusion matrix.
        """
        return {
            "task": self.task,
            "split": self.split,
            "n": len(self.evaluated),
            **({"folds": self.folds} if self.folds else {}),
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(self.examples_per_second, 3),
            "resumed": self.resumed,
            "run": str(self.path),
            "too_long": self.too_long,
            "no_answer": self.no_answer,
            "seen_rows": self.seen_rows,
            "notes": list(self.notes),
            "main_metric": self.main_metric.name,
            "results": [result.to_json() | (_labels_json(result) if by_label else {}) for result in self.results],
            "baselines": None if self.baselines is None else self.baselines.to_json(),
            "label_maps": {name: label_map.table() for name, label_map in named_label_maps(self.results).items()},
        }

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the run: those that were requested, then the default ones."""
        return tuple(self.results[0].chosen.values())

    @property
    def main_metric(self) -> Metric:
        """The metric that tables show first and by which the run is compared."""
        return self.metrics[0]

    @property
    def metric_inputs(self) -> dict[str, MetricInput]:
        """Branch -> the input of its metrics."""
        return {result.align: result.metric_input for result in self.results}

    @check_arguments("Run.by_label")
    def by_label(self, branch: str | None = None) -> Table:
        """Returns the precision, the recall and the F1 of each label, with 95% intervals.

        Args:
            branch: The branch; the first one if None.

        Raises:
            InputError: There is no such branch, or the rows do not share their labels.
        """
        result = self.result_of(branch)
        return label_table(result.metric_input, f"{self.title} · {result.align}")

    @check_arguments("Run.confusion")
    def confusion(self, branch: str | None = None) -> Table:
        """Returns how often each label is predicted for the rows of each gold label; the argument is that of `by_label`."""
        result = self.result_of(branch)
        return confusion_table(result.metric_input, f"{self.title} · {result.align}")

    @check_arguments("Run.result_of")
    def result_of(self, branch: str | None) -> Result:
        """Returns the result of a branch; of the first one if None.

        Raises:
            InputError: There is no such branch.
        """
        results = {result.align: result for result in self.results}
        if branch is not None and branch not in results:
            raise unknown(f"branch of the run {self.path}", branch, results)
        return self.results[0] if branch is None else results[branch]

    @property
    def title(self) -> str:
        """The title of tables: the task, the split, the number of rows and the model."""
        return f"{self.task} · {self.split} · {len(self.ids)} rows · {self.model}"

    def with_metrics(self, *metrics: MetricLike) -> Self:
        """Returns the run with further metrics before the default ones; the first is the main metric.

        Args:
            metrics: Names such as `token_f1`, `FILE.py:NAME`, metrics, their classes, or functions of a prediction and the
                accepted answers.

        Raises:
            InputError: There is no such metric, or it does not apply to the predictions.
        """
        requested = parse_metrics(metrics)
        results = tuple(result.with_metrics(requested) for result in self.results)
        run = replace(self, results=results, baselines=None)
        if self.baselines is None:
            return run
        notes = self.baselines.notes()
        return replace(run, notes=tuple(note for note in self.notes if note not in notes)).with_baselines(self.baselines)

    @check_arguments("Run.with_baselines")
    def with_baselines(self, baselines: Baselines | None) -> Self:
        """Returns the run with the results of baselines, and with the notes on them; the run itself for None."""
        if baselines is None:
            return self
        compared = baselines.compared_with(self.metric_inputs, self.results[0].requested, self.metrics)
        return replace(self, baselines=compared, notes=(*self.notes, *compared.notes()))

    @check_arguments("Run.without_baselines")
    def without_baselines(self, reason: str) -> Self:
        """Returns the run with a note that says why it has no baselines."""
        return replace(self, notes=(*self.notes, f"no baseline without a model: {reason}"))

    @property
    def correct(self) -> dict[str, Floats]:
        """Branch -> 1.0 for each correct prediction, 0.0 for the others, shape (N,)."""
        return {result.align: result.correct for result in self.results}


def _labels_json(result: Result) -> dict[str, object]:
    rows = result.metric_input
    return {"by_label": label_table(rows, "").to_json(), "confusion": confusion_table(rows, "").to_json()}
