"""The labeled rows of tuning are checked before the first request."""

from __future__ import annotations

from pathlib import Path

import pytest

import promptkit as pk
from promptkit.core.errors import TaskError
from promptkit.tasks.task import Task
from promptkit.tuning.rows import check_rows, labeled_rows, training_part
from tests.support.errors import refused


def task_of(folder: Path, *lines: str) -> Task:
    file = folder / "rows.csv"
    file.write_text("\n".join(["text,label", *lines]))
    return pk.task(file)


def checked(task: Task) -> None:
    check_rows(task, labeled_rows(task))


def test_a_label_with_one_row_is_refused(tmp_path: Path) -> None:
    task = task_of(tmp_path, "one,a", "two,a", "three,b", "four,b", "five,c")
    with refused(TaskError, "label-with-one-row", labels=("c",), needed=2):
        checked(task)


def test_equal_inputs_with_different_labels_are_counted(tmp_path: Path) -> None:
    task = task_of(tmp_path, "one,a", "one,b", "two,a", "two,a", "three,b", "three,a", "three,a", "four,b")
    with refused(TaskError, "conflicting-labels", inputs=2, rows=5):
        checked(task)


def test_equal_rows_with_one_label_are_accepted(tmp_path: Path) -> None:
    checked(task_of(tmp_path, "one,a", "one,a", "two,b", "three,b"))


def test_measurements_are_refused(tmp_path: Path) -> None:
    lines = [f"words {number},{number / 7:.3f}" for number in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines, *lines]))
    task = pk.task(tmp_path / "rows.csv", label="label")
    with refused(TaskError, "numeric-labels", labels=40):
        checked(task)


def test_a_few_numbers_are_labels(tmp_path: Path) -> None:
    checked(task_of(tmp_path, *(f"words {number},{number % 5}" for number in range(20))))


def test_the_rows_of_a_table_are_all_its_rows(tmp_path: Path) -> None:
    task = task_of(tmp_path, *(f"words {number},{'ab'[number % 2]}" for number in range(30)))
    assert len(labeled_rows(task)) == 30
    assert len(labeled_rows(task, limit=10)) == 10


def test_the_rows_of_a_task_with_a_train_split_are_not_evaluated() -> None:
    task = pk.task("sentiment")
    assert not {row.content for row in labeled_rows(task)} & {row.content for row in task.rows("test")}


@pytest.mark.parametrize("count", [2, 3, 5, 7, 20])
def test_the_training_part_has_no_more_rows_of_a_label_than_any_fold_leaves(tmp_path: Path, count: int) -> None:
    task = task_of(tmp_path, *(f"{label} {number},{label}" for number in range(count) for label in "ab"))
    rows = training_part(labeled_rows(task))
    folds = min(5, 2 * count)
    for label in "ab":
        assert sum(row.label == label for row in rows) == count - -(-count // folds)
