"""Choices and labels read from the columns of a row."""

import pytest

from promptkit.core.errors import TaskError
from promptkit.manipulate import demos
from promptkit.tasks.columns import read_choices, read_correct_choice
from promptkit.tasks.source import ChoicesSource, Source
from tests.support.errors import refused


def source(**choices):
    return Source.model_validate({"mirror": "m", "inputs": {"q": "q"}, "label": "answer", "choices": choices})


@pytest.mark.parametrize(
    ("choices", "answer", "expected"),
    [
        (["4", "2", "0", "6"], 2, "0"),
        (["1", "2", "3", "4"], 2, "3"),
        (["4", "2", "0", "6"], "2", "2"),
        (["a", "b", "c"], "2", "c"),
        (["a", "b", "c"], "b", "b"),
    ],
)
def test_an_integer_label_is_an_index_and_a_text_label_is_a_choice(choices, answer, expected):
    spec = source(column="opts")
    row = {"q": "q", "opts": choices, "answer": answer}
    assert read_correct_choice(row, spec, read_choices(row, spec.choices, {}, "row 1"), "row 1") == expected


@pytest.mark.parametrize("answer", ["5", 7, "d"])
def test_a_label_that_is_not_a_choice_is_refused(answer):
    row = {"q": "q", "opts": ["1", "2", "3"], "answer": answer}
    with refused(TaskError, "label-not-in-choices", label=str(answer), where="row 1"):
        read_correct_choice(row, source(column="opts"), ("1", "2", "3"), "row 1")


@pytest.mark.parametrize("bad", [None, {"x": 1}, ["a"]])
def test_a_choice_that_is_not_text_is_refused(bad):
    with refused(TaskError, "choice-not-text", column="opts", where="row 1"):
        read_choices({"opts": ["a", bad]}, ChoicesSource(column="opts"), {}, "row 1")


def test_duplicate_choice_names_are_refused():
    row = {"opts": ["x", "y"], "names": ["A", "A"], "answer": "A"}
    with refused(TaskError, "label-not-in-choices", label="A"):
        read_correct_choice(row, source(column="opts", names="names"), ("x", "y"), "row 1")


def test_balanced_demonstrations_without_labels_are_refused(context, make_rows):
    with refused(TaskError, "no-fixed-labels", selector="balanced"):
        demos.Balanced(k=2).bind(context(make_rows(6)))
