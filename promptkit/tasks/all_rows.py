"""A task whose train split is all of its labeled rows, to fit the predictor that is used after an evaluation by folds."""

from __future__ import annotations

from dataclasses import replace

from promptkit.tasks.folds import Fold
from promptkit.tasks.task import Task


def with_all_rows(task: Task, split: str, *, dev: bool) -> Task:
    """Returns the task with all rows that folds are made of as the train split.

    Args:
        task: The task.
        split: The split whose rows were divided into folds.
        dev: Whether some of the rows are dev rows if the task defines no division, as some selectors need.
    """
    everything = Fold(number=0, of=1, split=split, rows=(), others=task.labeled_rows(split), dev=dev)
    return replace(task, held_out=everything)
