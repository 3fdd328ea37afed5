"""A finished run and how it is shown. Knows nothing of how it was computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.display.text_table import FEW_LABELS, as_text, new_table, with_interval
from promptkit.metrics.classification import AT

if TYPE_CHECKING:
    from rich.table import Table

    from promptkit.core.arrays import Floats


_CAPTION = "below each figure its 95% interval ({}: Wilson; others: bootstrap)"


TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "brier": "Brier",
    "exact_match": "exact match",
    "no_answer": "no answer found",
    "no_answer_samples": "no answer in a text",
}
"""How each metric is called where it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One branch of a run: one chain of aligners over the run's rows."""

    align: str
    metrics: Mapping[str, Mapping[str, float]]
    """Name -> value, low, high (95%)."""
    predicted: Mapping[str, int]
    """How many rows each label, or each answer that rows offer, was predicted for; empty for texts."""
    predictions: tuple[str | None, ...]
    """Of each row; None where a text holds no answer."""
    logprobs: Floats
    """Shape (N, K), rows and labels in the run's order; -inf where a row offers fewer than K; K is 0 for texts."""
    correct: Floats
    """Shape (N,): 1.0 or 0.0."""
    shares: Mapping[str, Floats]
    """Of the metrics that are a mean over rows, each row's part, shape (N,)."""

    def to_json(self) -> dict[str, object]:
        """Its figures."""
        return {"align": self.align, "metrics": self.metrics, "predicted": self.predicted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run."""

    task: str
    split: str
    model: str
    path: Path
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    gold: tuple[str, ...]
    """The label, or an answer that is right, of each row."""
    results: tuple[Result, ...]
    seconds: float
    """Of this call, loading included."""
    examples_per_second: float
    """New rows of the run per second of the model's work; 0 if none was new.

    Loading and rendering do not count as work; the rows that aligners needed besides do."""
    resumed: int
    """How many rows were there already."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """What `promptkit eval --json` prints."""
        return {
            "task": self.task,
            "split": self.split,
            "n": len(self.ids),
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(self.examples_per_second, 3),
            "resumed": self.resumed,
            "run": str(self.path),
            "notes": list(self.notes),
            "results": [result.to_json() for result in self.results],
        }

    def __str__(self) -> str:
        """The run's table."""
        return as_text(run_table(self))

    __repr__ = __str__


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRun:
    """A finished shard of a run: its rows, and as yet no figures."""

    task: str
    split: str
    model: str
    path: Path
    shard: str
    """As the command line spells it: `1/3`."""
    rows: int
    """Of the shard."""
    n: int
    """Of the run."""
    seconds: float
    examples_per_second: float
    resumed: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """What `promptkit eval --shard --json` prints."""
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
    """One line a branch: each figure with its 95% interval, and how often each label was predicted."""
    from rich.text import Text

    titles = {name: title for name, title in TITLES.items() if name in run.results[0].metrics}
    caption = _CAPTION.format("accuracy") if "ece" in titles else "below each figure its 95% interval (Wilson)"
    table = new_table(f"{run.task} · {run.split} · {len(run.ids)} rows · {run.model}", caption=caption)
    held = Counter(run.gold)
    answers = run.labels or tuple(sorted(held.keys() | run.results[0].predicted.keys()))
    few = len(answers) <= FEW_LABELS
    table.add_column("alignment", overflow="fold", max_width=12)
    for title in titles.values():
        table.add_column(title, justify="right", no_wrap=True)
    if run.results[0].predicted:
        table.add_column("predicted/gold" if few else "predicted", no_wrap=True)
    for result in run.results:
        row: list[Text | str] = [Text(result.align), *(with_interval(result.metrics[name], "\n") for name in titles)]
        if result.predicted:
            shares = [f"{result.predicted.get(answer, 0)}/{held[answer]} {answer}" for answer in answers]
            used = f"{sum(map(bool, result.predicted.values()))} of {len(answers)} labels"
            row.append(Text("\n".join(shares) if few else used))
        table.add_row(*row)
        for k in shown_at(result.metrics):
            table.add_row(f"  of {k}", with_interval(result.metrics[f"{AT}{k}"], "\n"))
    return table


def shown_at(metrics: Mapping[str, object]) -> list[int]:
    """Of the numbers of texts that an accuracy is of: one, the powers of two, and all."""
    most = sum(name.startswith(AT) for name in metrics)
    return [k for k in range(1, most + 1) if k & (k - 1) == 0 or k == most]
