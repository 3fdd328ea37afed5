"""Stratified folds: every label is spread evenly, and rows with equal inputs stay together."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample
from promptkit.tuning.folds import FOLDS, stratified
from tests.support.errors import refused

TASK = pk.task("sentiment")
ROWS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), min_size=2, max_size=60)


def examples(values: list[tuple[int, str]]) -> list[LabeledExample]:
    """Returns a row for each text and label; equal texts have the label of the first one."""
    labels: dict[int, str] = {}
    rows = []
    for number, (text, label) in enumerate(values):
        rows.append(LabeledExample(id=str(number), inputs={"text": f"text {text}"}, label=labels.setdefault(text, label)))
    return rows


@given(ROWS)
def test_every_label_is_spread_evenly_and_equal_rows_share_a_fold(values: list[tuple[int, str]]) -> None:
    rows = examples(values)
    distinct = {row.inputs["text"] for row in rows}
    if len(distinct) < 2:
        with refused(TaskError, "too-few-distinct-rows"):
            stratified(TASK, rows)
        return
    found = stratified(TASK, rows)
    folds = defaultdict(set)
    for row, fold in zip(found.rows, found.folds, strict=True):
        folds[row.inputs["text"]].add(fold)
    assert all(len(each) == 1 for each in folds.values())
    if len(distinct) == len(rows):
        for label in "ab":
            counts = Counter(fold for row, fold in zip(found.rows, found.folds, strict=True) if row.label == label)
            sizes = [counts[number] for number in range(1, found.of + 1)]
            assert max(sizes) - min(sizes) <= 1


@given(ROWS, st.randoms(use_true_random=False))
def test_the_folds_do_not_depend_on_the_order_of_the_rows(values: list[tuple[int, str]], random: object) -> None:
    rows = examples(sorted(set(values)))
    if len({row.inputs["text"] for row in rows}) < 2:
        return
    assert stratified(TASK, rows) == stratified(TASK, rows[::-1])


@pytest.mark.parametrize("number", range(1, FOLDS + 1))
def test_the_pool_of_a_fold_is_the_other_folds(number: int) -> None:
    found = stratified(TASK, TASK.rows("test")[:40])
    task = found.task_of_fold(number)
    evaluated = {row.id for row in task.rows("test")}
    assert evaluated == {row.id for row, fold in zip(found.rows, found.folds, strict=True) if fold == number}
    assert {row.id for row in task.pool()} == {row.id for row in found.rows} - evaluated
    assert {row.id for row in found.task_of_all().pool()} == {row.id for row in found.rows}
