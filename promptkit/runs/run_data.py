"""The contents of finished runs, which tables show and files store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from promptkit.runs.baselines import Baselines
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

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit eval --json` prints."""
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
            "results": [result.to_json() for result in self.results],
            "baselines": None if self.baselines is None else self.baselines.to_json(),
            "label_maps": {name: label_map.table() for name, label_map in named_label_maps(self.results).items()},
        }

    def with_baselines(self, baselines: Baselines | None) -> Self:
        """Returns the run with the results of baselines, and with the notes on them; the run itself for None."""
        if baselines is None:
            return self
        compared = baselines.compared_with(self.correct)
        return replace(self, baselines=compared, notes=(*self.notes, *compared.notes()))

    def without_baselines(self, reason: str) -> Self:
        """Returns the run with a note that says why it has no baselines."""
        return replace(self, notes=(*self.notes, f"no baseline without a model: {reason}"))

    @property
    def correct(self) -> dict[str, Floats]:
        """Branch -> 1.0 for each correct prediction, 0.0 for the others, shape (N,)."""
        return {result.align: result.correct for result in self.results}
