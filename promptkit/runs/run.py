"""Finished runs: their results, tables and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.core.metric_input import MetricInput
from promptkit.display.text_table import FEW_LABELS, NAME_WIDTH, as_text, new_table, one_keyword_per_line, signed, with_interval
from promptkit.metrics.base import Metric
from promptkit.metrics.table import METRICS, applicable, row_values
from promptkit.metrics.vote_accuracy import VoteAccuracy
from promptkit.runs.baselines import Baselines, difference_from
from promptkit.runs.schema import TooLongCounts

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from promptkit.align.labelmap.mapping import LabelMap
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The results of one branch of a run, that is, of one chain of aligners."""

    align: str
    """Name of the branch, such as `contextual`."""
    metrics: Mapping[str, Mapping[str, float]]
    """Metric -> `value`, and `low` and `high` of its 95% interval."""
    predicted: Mapping[str, int]
    """Label or choice -> number of rows that it is predicted for; empty for generated texts."""
    predictions: tuple[str | None, ...]
    """The prediction for each row; None if no answer was found in the reply or the generated text, or the row was skipped."""
    metric_input: MetricInput
    """The input of the metrics; rows and labels are in the run's order."""
    label_maps: Mapping[int, LabelMap] = field(default_factory=dict)
    """The label map of each fold, if the branch has label maps; the key is 0 for a run without folds."""

    @property
    def logprobs(self) -> Floats:
        """Calibrated log-probabilities, shape (N, K); -inf where a row has fewer than K choices and for rows
        without an answer; K is 0 for generated texts."""
        return self.metric_input.logprobs

    @property
    def correct(self) -> Floats:
        """1.0 for each correct prediction, 0.0 for the others, shape (N,)."""
        return self.metric_input.correct

    @property
    def shares(self) -> dict[str, Floats]:
        """The value of each row, shape (N,), by metric, for metrics that are a share of rows."""
        values = {name: row_values(metric, self.metric_input) for name, metric in applicable(self.metric_input).items()}
        return {name: shares for name, shares in values.items() if shares is not None}

    def to_json(self) -> dict[str, object]:
        """Returns the metrics and the number of predictions of each label."""
        return {"align": self.align, "metrics": self.metrics, "predicted": self.predicted}


def named_label_maps(results: Sequence[Result]) -> dict[str, LabelMap]:
    """Returns the label maps of results by the names of their branches, and of their folds if there are folds."""
    return {
        f"{result.align}, fold {fold}" if fold else result.align: label_map
        for result in results
        for fold, label_map in result.label_maps.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: its rows, results and notes. `print(run)` shows a table of its metrics."""

    task: str
    split: str
    model: str
    path: Path
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    gold: tuple[str, ...]
    """The label or a correct answer of each row."""
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

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit eval --json` prints."""
        return {
            "task": self.task,
            "split": self.split,
            "n": len(self.ids),
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
            "results": [result.to_json() for result in self.results],
            "baselines": None if self.baselines is None else self.baselines.to_json(self.correct),
            "label_maps": {name: label_map.table() for name, label_map in named_label_maps(self.results).items()},
        }

    @property
    def correct(self) -> dict[str, Floats]:
        """Branch -> 1.0 for each correct prediction, 0.0 for the others, shape (N,)."""
        return {result.align: result.correct for result in self.results}

    def __str__(self) -> str:
        return as_text(run_table(self))

    __repr__ = __str__


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRun:
    """A finished shard of a run. Its metrics are computed when all shards are merged."""

    task: str
    split: str
    model: str
    path: Path
    shard: str
    """The shard as `1/3`."""
    rows: int
    """Number of rows in the shard."""
    n: int
    """Number of rows in the run."""
    seconds: float
    examples_per_second: float
    resumed: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit eval --shard --json` prints."""
        return {
            "task": self.task,
            "split": self.split,
            "n": self.n,
            "model": self.model,
            "shard": self.shard,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(self.examples_per_second, 3),
            "resumed": self.resumed,
            "run": str(self.path),
        }


def run_table(run: Run) -> Table:
    """Returns a table with one line per branch and per baseline.

    The lines have the metrics with 95% intervals, and how often each label is predicted. Branches have their difference from
    the best baseline.
    """
    from rich.text import Text

    metrics = [metric for name, metric in METRICS.items() if name in run.results[0].metrics]
    best = None if run.baselines is None else run.baselines.best
    caption = [f"below each figure its 95% interval ({_interval_methods(metrics)})"]
    caption += [] if run.baselines is None else run.baselines.describe(metrics[0].title)
    rows = f"{len(run.ids)} rows" + (f" in {run.folds} folds" if run.folds else "")
    rows += f", {run.seen_rows} of them used for fitting" if run.seen_rows else ""
    table = new_table(f"{run.task} · {run.split} · {rows} · {run.model}", caption="\n".join(caption))
    count = _PredictionCounts(run)
    titles = [metric.title for metric in metrics]
    table.add_column("alignment", overflow="fold", max_width=NAME_WIDTH)
    for title in titles if best is None else [titles[0], f"vs. {best.name}", *titles[1:]]:
        table.add_column(Text(title), justify="right", no_wrap=True)
    if run.results[0].predicted:
        table.add_column("predicted/gold" if count.few else "predicted", no_wrap=True)
    for result in run.results:
        main, *others = _figures(metrics, result.metrics)
        differences = [] if best is None else [signed(difference_from(best, result.align, result.correct).estimate, "\n")]
        name = Text(one_keyword_per_line(result.align))
        table.add_row(name, main, *differences, *others, *count.cells(result.predicted, result.predictions))
        for k in tabulated_sample_counts(result.metrics):
            table.add_row(f"  of {k}", with_interval(result.metrics[f"{VoteAccuracy.prefix}{k}"], "\n"))
    if run.baselines is not None:
        table.add_row("no model:")
        for baseline in run.baselines.results:
            main, *others = _figures(metrics, baseline.metrics)
            table.add_row(f"  {baseline.name}", main, "", *others, *count.cells(baseline.predicted, baseline.predictions))
    return table


def _figures(metrics: Sequence[Metric], values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The cells of metrics; empty for a metric that does not apply."""
    return [with_interval(values[metric.name], "\n") if metric.name in values else "" for metric in metrics]


class _PredictionCounts:
    """Describes how often each answer is predicted."""

    def __init__(self, run: Run) -> None:
        self._gold = Counter(run.gold)
        self._answers = run.labels or tuple(sorted(self._gold.keys() | run.results[0].predicted.keys()))
        self.few = len(self._answers) <= FEW_LABELS

    def cells(self, predicted: Mapping[str, int], predictions: Sequence[str | None]) -> list[Text]:
        """Returns the cell with the number of predictions of each answer, or of different answers if there are many.

        Free answers have no such cell.
        """
        from rich.text import Text

        if not predicted:
            return []
        if not self.few:
            return [Text(f"{sum(map(bool, predicted.values()))} of {len(self._answers)} labels")]
        unanswered = sum(prediction is None for prediction in predictions)
        counts = [f"{predicted.get(answer, 0)}/{self._gold[answer]} {answer}" for answer in self._answers]
        return [Text("\n".join([*counts, *[f"{unanswered} without an answer"] * bool(unanswered)]))]


def _interval_methods(metrics: Sequence[Metric]) -> str:
    """The method of the intervals of metrics: `Wilson`, or `accuracy: Wilson; others: bootstrap`."""
    wilson = [metric.title for metric in metrics if metric.interval == "wilson"]
    if len(wilson) == len(metrics):
        return "Wilson"
    return f"{', '.join(wilson)}: Wilson; others: bootstrap" if wilson else "bootstrap"


def tabulated_sample_counts(metrics: Mapping[str, object]) -> list[int]:
    """Returns the numbers of samples whose accuracy is tabulated: the powers of two and the largest."""
    most = sum(name.startswith(VoteAccuracy.prefix) for name in metrics)
    return [k for k in range(1, most + 1) if k & (k - 1) == 0 or k == most]
