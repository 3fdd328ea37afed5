"""Labeled rows divided into folds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample, Part
from promptkit.tasks.division import DEFAULT
from promptkit.tasks.folds import fold_of, make_fold
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.single_table import (
    evaluated_rows,
    fitting_task,
    number_of_folds,
    rows_of_run,
    training_task,
    uses_all_rows,
)
from promptkit.tasks.splits import with_ids
from tests.support.errors import refused

TEXTS = st.lists(st.text("abcdef ", max_size=3), min_size=8, max_size=60)


def examples(texts: list[str], labels: str = "no") -> list[LabeledExample]:
    return with_ids([LabeledExample(id="", inputs={"text": text}, label=labels) for text in texts])


def write_task(folder: Path, rows: int = 40, **source: object) -> pk.Task:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": f"row {i} is {'fine' if i % 2 else 'awful'}", "label": i % 2}) for i in range(rows)]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    spec = {
        "description": "d",
        "template": "sentiment/review",
        "labels": {"no": "bad", "yes": "good"},
        "sources": [{"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", **source}],
    }
    (folder / "task.yaml").write_text(json.dumps(spec))
    return pk.task(folder / "task.yaml")


@given(TEXTS, st.integers(2, 7))
def test_equal_rows_are_in_one_fold_which_does_not_depend_on_labels_or_other_rows(texts: list[str], of: int) -> None:
    rows = examples(texts)
    numbers = {row.id: fold_of(row, of) for row in rows}
    assert set(numbers.values()) <= set(range(1, of + 1))
    assert all(fold_of(row, of) == numbers[row.id] for row in examples(texts[::-1], "yes"))
    by_text: dict[str, set[int]] = {}
    for row in rows:
        by_text.setdefault(str(row.inputs["text"]), set()).add(numbers[row.id])
    assert all(len(folds) == 1 for folds in by_text.values())
    if len(set(numbers.values())) > 1:
        folds = [make_fold(rows, number, of, "test") for number in range(1, of + 1)]
        assert Counter(row.id for fold in folds for row in fold.rows) == Counter(row.id for row in rows)
        assert all(len(fold.rows) + len(fold.others) == len(rows) for fold in folds)
        assert all({row.id for row in fold.rows}.isdisjoint(row.id for row in fold.others) for fold in folds)


def test_folds_are_about_equal() -> None:
    counts = Counter(fold_of(row, 5) for row in examples([f"row {i}" for i in range(2000)]))
    assert set(counts) == {1, 2, 3, 4, 5}
    assert all(320 < count < 480 for count in counts.values())


def test_the_folds_of_a_task_have_the_other_folds_as_their_train_split(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    everything = {row.id for row in task.labeled_rows()}
    assert len(everything) == 40
    evaluated = []
    for number in range(1, 6):
        fold = task.fold(number, 5)
        held_out = {row.id for row in fold.rows("test")}
        parts = [{row.id for row in fold.part(part)} for part in ("pool", "fit", "dev")]
        assert set.union(*parts) | held_out == everything
        assert sum(map(len, parts)) + len(held_out) == 40
        evaluated += [*held_out]
    assert Counter(evaluated) == Counter(everything)


def test_rows_that_are_held_out_for_training_are_labeled_rows_too(tmp_path: Path) -> None:
    task = write_task(tmp_path, hold_out=0.5)
    assert {row.id for row in task.labeled_rows()} == {row.id for row in (*task.rows("test"), *task.rows("train"))}
    assert {row.id for row in task.labeled_rows("train")} == {row.id for row in task.rows("train")}


def test_impossible_folds_are_refused(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    for number, of in ((0, 5), (6, 5), (1, 1)):
        with refused(InputError, "out-of-range", fold=number, folds=of):
            task.fold(number, of)
    with refused(TaskError, "too-few-distinct-rows", rows=1):
        write_task(tmp_path / "one", rows=1).fold(1, 5)


def test_a_single_table_of_few_rows_has_folds_by_default(tmp_path: Path) -> None:
    few, many = write_task(tmp_path / "few", rows=499), write_task(tmp_path / "many", rows=500)
    assert (number_of_folds(few, "test"), number_of_folds(many, "test")) == (5, 0)
    assert len(many.rows("test")) + len(many.rows("train")) == 500
    assert 200 < len(many.rows("train")) < 300
    declared = write_task(tmp_path / "declared", hold_out=0.5)
    assert number_of_folds(declared, "test") == 0
    assert number_of_folds(few.fold(1, 5), "test") == 0
    assert number_of_folds(write_task(tmp_path / "one", rows=1), "test") == 0


def test_all_rows_are_train_rows_of_the_last_fit(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    whole = task.with_all_rows()
    assert {row.id for row in (*whole.part("pool"), *whole.part("fit"))} == {row.id for row in task.labeled_rows()}
    parts = [
        {row.id for row in task.with_all_rows(split="test", division=DEFAULT).part(part)} for part in ("pool", "fit", "dev")
    ]
    assert all(parts)
    assert set.union(*parts) == {row.id for row in task.labeled_rows()}


@pytest.mark.parametrize("parts", [(), ("pool",), ("pool", "dev")])
def test_a_predictor_is_fitted_on_all_rows_that_are_evaluated_by_folds(tmp_path: Path, parts: tuple[Part, ...]) -> None:
    few, many = write_task(tmp_path / "few", rows=100), write_task(tmp_path / "many", rows=500)
    task = fitting_task(few, parts=parts)
    used = [row.id for part in ("pool", "fit", "dev") for row in task.part(part)]
    assert sorted(used) == sorted(row.id for row in few.labeled_rows())
    assert bool(task.part("dev")) == ("dev" in parts)
    assert bool(task.part("pool")) == ("pool" in parts)
    assert (fitting_task(few, folds=1, parts=parts), fitting_task(many, parts=parts)) == (few, many)
    fold = few.fold(1, 5, parts=parts)
    in_parts = {row.id for part in ("pool", "fit", "dev") for row in fold.part(part)}
    assert in_parts == {row.id for row in few.labeled_rows()} - {row.id for row in fold.rows("test")}


def test_training_uses_the_rows_that_are_not_evaluated(tmp_path: Path) -> None:
    few, many = write_task(tmp_path / "few", rows=100), write_task(tmp_path / "many", rows=500)
    everything = training_task(few, "test")
    assert uses_all_rows(everything)
    assert not everything.rows("test")
    assert {row.id for row in (*everything.part("pool"), *everything.part("dev"))} == {row.id for row in few.labeled_rows()}
    assert training_task(few, "test", fits=True).part("fit")
    assert training_task(everything, "test") == everything
    assert training_task(few.fold(1, 5), "test").rows("test") == few.fold(1, 5).rows("test")
    assert training_task(few.fold(1, 5), "test").part("dev")
    for task, folds in ((few, 1), (many, None)):
        assert training_task(task, "test", folds) is task
    with refused(InputError, "out-of-range", folds=5):
        training_task(few, "test", 5)


def test_evaluated_rows_are_those_of_a_run(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    by_fold = evaluated_rows(task, "test", limit=20)
    assert rows_of_run(by_fold) == by_hash(task.labeled_rows(), 20)
    for fold in by_fold:
        assert {row.id for row in fold.rows} <= {row.id for row in fold.task.rows("test")}
    (held_out,) = evaluated_rows(task, "test", folds=1)
    assert (held_out.number, {row.id for row in held_out.rows}) == (0, {row.id for row in task.rows("test")})
