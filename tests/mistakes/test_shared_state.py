"""What public methods hand out, and what they are given, cannot be used to change an object afterwards."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.errors import InputError
from tests.mistakes.calls import INLINE, PROMPT, ROWS, WORDS, heads, out_of_fold, predictor, task
from tests.support.errors import refused


def parts_of(value: Any, depth: int = 3) -> Iterator[Any]:
    """A value, and what it contains."""
    yield value
    if depth and isinstance(value, Mapping):
        for item in [*value.values()]:
            yield from parts_of(item, depth - 1)
    elif depth and isinstance(value, tuple | list):
        for item in [*value]:
            yield from parts_of(item, depth - 1)
    elif depth and isinstance(value, pk_example()):
        yield from parts_of(value.inputs, depth - 1)
        yield from parts_of(value.rationale, depth - 1)


def pk_example() -> type:
    from promptkit.core.examples import LabeledExample

    return LabeledExample


def damage(value: Any) -> None:
    """Changes everything in a value that can be changed."""
    for part in [*parts_of(value)]:
        with suppress(InputError, ValueError, TypeError):
            if isinstance(part, MutableSequence | MutableMapping):
                part.clear()
            elif isinstance(part, np.ndarray):
                part[...] = 7


def one_task() -> pk.Task:
    return pk.task([dict(row) for row in ROWS], label="kind", inputs=["text"], labels=["a", "b"], template=INLINE)


GETTERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "Task.rows": (task, lambda each: each.rows("test")),
    "Task.rows, train": (task, lambda each: each.rows("train")),
    "Task.labeled_rows": (one_task, lambda each: each.labeled_rows()),
    "Task.rows of a fold": (lambda: one_task().fold(1, 2), lambda each: each.rows("test")),
    "Task.part": (task, lambda each: each.part("pool")),
    "Task.part of a fold": (lambda: one_task().fold(1, 2), lambda each: each.part("pool")),
    "Task.pool": (task, lambda each: each.pool()),
    "Task.identity": (task, lambda each: each.identity()),
    "Task.labels": (task, lambda each: each.labels),
    "Verbalizer.words": (lambda: pk.Verbalizer(WORDS), lambda each: each.words()),
    "Verbalizer.settings": (lambda: pk.Verbalizer(WORDS), lambda each: each.settings()),
    "Classes.settings": (lambda: pk.Classes(["a", "b"], classes={"a": "x", "b": "y"}), lambda each: each.settings()),
    "Prompt.settings": (lambda: pk.Prompt(PROMPT), lambda each: each.settings()),
    "Prompt.rows": (lambda: predictor().fit(task()).manipulate, lambda each: each.settings()),
    "Template.variables": (lambda: pk.Template.load(PROMPT), lambda each: each.variables),
    "OutOfFold.probabilities": (out_of_fold, lambda each: each.probabilities),
    "OutOfFold.gold": (out_of_fold, lambda each: each.gold),
    "Drift.counts": (lambda: pk.Drift(out_of_fold()), lambda each: each.counts()),
    "HeadEffects.best": (heads, lambda each: each.best(2)),
    "StudyConfig.changed": (lambda: pk.StudyConfig(task="x", grid={"shots": [0]}), lambda each: each.changed()),
}
"""What is handed out -> the object, and how it is read."""


@pytest.mark.parametrize("name", GETTERS)
def test_changing_what_is_handed_out_changes_nothing(name: str) -> None:
    make, read = GETTERS[name]
    value = make()
    before = repr(read(value))
    assert before not in ("", "()", "[]") or name == "Drift.counts"
    damage(read(value))
    assert repr(read(value)) == before


def test_changing_what_was_given_changes_nothing() -> None:
    words, classes, rows, gold = {"no": ["bad"], "yes": ["good"]}, {"a": ["x"], "b": ["y"]}, [dict(row) for row in ROWS], [0, 1]
    probabilities = np.ones((2, 2)) / 2
    objects: list[tuple[Any, Callable[[Any], Any]]] = [
        (pk.Verbalizer(words), lambda each: each.settings()),
        (pk.Classes(["a", "b"], classes=classes), lambda each: each.settings()),
        (pk.task(rows, label="kind", inputs=["text"], labels=["a", "b"]), lambda each: each.rows("test")),
        (pk.OutOfFold(labels=("a", "b"), gold=np.array(gold), probabilities=probabilities), lambda each: each.probabilities),
    ]
    before = [repr(read(value)) for value, read in objects]
    damage([words, classes, rows, probabilities])
    assert [repr(read(value)) for value, read in objects] == before


def test_rows_are_read_only_and_can_be_pickled_and_copied() -> None:
    row = task().rows("test")[0]
    with refused(InputError, "read-only", keys=("text",)):
        row.inputs["text"] = "other"  # type: ignore[index]
    assert pickle.loads(pickle.dumps(row)) == row
    changed = dict(row.inputs)
    changed["text"] = "other"
    assert row.inputs != changed


def test_a_slice_of_predictions_are_the_predictions_of_these_rows() -> None:
    fitted = predictor().fit(task())
    predictions = fitted.predict(["a", "b", "c"])
    part = predictions[1:]
    assert (len(part), [*part]) == (2, [predictions[1], predictions[2]])
    assert part.probabilities.tolist() == predictions.probabilities[1:].tolist()
