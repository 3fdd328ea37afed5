"""Selects the rows that a training run may see: rows to train on, and dev rows to select the best step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample, Part, rows_hash
from promptkit.core.shown_text import label_text
from promptkit.needs.labeled_rows import draw_per_class
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task, untested
from promptkit.training.config import TrainingConfig

PARTS: tuple[Part, Part] = ("pool", "dev")
"""The parts of the train split that a training run uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRows:
    """The rows of a training run."""

    pool: Sequence[LabeledExample]
    """The rows that are trained on."""
    dev: Sequence[LabeledExample]
    """The rows that select the best step."""

    @classmethod
    def from_task(cls, task: Task, split: str | None, config: TrainingConfig) -> TrainingRows:
        """Returns the rows of the pool and dev parts without those whose inputs are in the evaluated split.

        Args:
            task: The task.
            split: The split that will be evaluated; the task's default split if None.
            config: Its `per_class`, `seed` and `dev` limit the rows.

        Raises:
            TaskError: If a part has no rows left, or `per_class` is set for a task without labels.
        """
        if config.per_class is not None and not task.labels:
            raise TaskError(
                f"per_class needs a task with labels, and {task.name} declares none",
                code="no-fixed-labels",
                got=f"per_class={config.per_class}",
                hint="Leave it out",
                task=task.name,
                per_class=config.per_class,
            )
        evaluated = task.rows(task.spec.split if split is None else split)
        pool, dev = (by_hash(untested(task.part(part), evaluated), None) for part in PARTS)
        for part, rows in zip(PARTS, (pool, dev), strict=True):
            if not rows:
                raise task.no_rows_error("to train on" if part == "pool" else "to select the best step by", part)
        return cls(pool=_sampled(pool, config), dev=dev[: config.dev])

    def row_warnings(self, labels: Sequence[str], per_class: int | None) -> tuple[str, ...]:
        """Returns a warning if labels have fewer rows than `per_class`."""
        counts = Counter(row.label for row in self.pool)
        fewer = [f"{label_text(label)} ({counts[label]})" for label in labels if counts[label] < (per_class or 0)]
        if not fewer:
            return ()
        listed = ", ".join(fewer[:5]) + (", ..." if len(fewer) > 5 else "")
        return (f"{len(fewer)} of {len(labels)} labels have fewer than {per_class} rows to train on: {listed}",)

    def skipped_warnings(self, sent: TrainingRows) -> tuple[str, ...]:
        """Returns a warning for each part that lost rows, given the remaining rows."""
        parts = (("to train on", self.pool, sent.pool), ("to select the best step by", self.dev, sent.dev))
        return tuple(
            f"{len(rows) - len(left)} of {len(rows)} rows {purpose} were skipped because the prompt would not fit the model's "
            "context"
            for purpose, rows, left in parts
            if len(left) < len(rows)
        )

    def digests(self) -> dict[str, str]:
        """Returns a hash of the rows of each part."""
        return {"pool": rows_hash(self.pool), "dev": rows_hash(self.dev)}


def _sampled(rows: Sequence[LabeledExample], config: TrainingConfig) -> list[LabeledExample]:
    """Returns at most `per_class` rows of each label, drawn by the seed, in the order given."""
    if config.per_class is None:
        return [*rows]
    labels = [(row.id, row.label) for row in rows]
    return [rows[index] for index in draw_per_class(config.per_class, config.seed, labels)]
